//! Where metrics and health are served.

use std::fmt;
use std::net::SocketAddr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

/// Why an address is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TelemetryAddressError {
    /// Not `ADDRESS:PORT`.
    #[error("telemetry {given:?}: use ADDRESS:PORT, for example 127.0.0.1:9101")]
    Form {
        /// What was given.
        given: String,
    },
    /// Reachable from other machines, which nobody asked for.
    #[error(
        "telemetry {address}: not a loopback address, and whoever reaches it reads it without a certificate; listen on \
         127.0.0.1, or write telemetry = {{ listen = \"{address}\", beyond_loopback = true }} if a firewall guards it"
    )]
    Exposed {
        /// The address.
        address: SocketAddr,
    },
}

/// An address that serves metrics and health in plain HTTP: on loopback, unless the configuration says otherwise.
///
/// In `config.toml`: `telemetry = "127.0.0.1:9101"`, or
/// `telemetry = { listen = "10.0.0.5:9101", beyond_loopback = true }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TelemetryAddress {
    listen: SocketAddr,
    #[serde(skip_serializing_if = "is_false")]
    beyond_loopback: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_false(value: &bool) -> bool {
    !value
}

impl TelemetryAddress {
    /// An address on loopback.
    ///
    /// # Errors
    /// [`TelemetryAddressError::Exposed`].
    pub fn loopback(listen: SocketAddr) -> Result<Self, TelemetryAddressError> {
        Self::new(listen, false)
    }

    /// The address.
    #[must_use]
    pub const fn listen(&self) -> SocketAddr {
        self.listen
    }

    fn new(listen: SocketAddr, beyond_loopback: bool) -> Result<Self, TelemetryAddressError> {
        if beyond_loopback || listen.ip().to_canonical().is_loopback() {
            Ok(Self { listen, beyond_loopback })
        } else {
            Err(TelemetryAddressError::Exposed { address: listen })
        }
    }
}

/// The table form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    listen: String,
    #[serde(default)]
    beyond_loopback: bool,
}

impl TryFrom<Table> for TelemetryAddress {
    type Error = TelemetryAddressError;

    fn try_from(table: Table) -> Result<Self, TelemetryAddressError> {
        let Table { listen, beyond_loopback } = table;
        let parsed = listen.parse();
        let address = parsed.map_err(|_| TelemetryAddressError::Form { given: listen })?;
        Self::new(address, beyond_loopback)
    }
}

impl<'de> Deserialize<'de> for TelemetryAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Table;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("ADDRESS:PORT, or a table with `listen` and `beyond_loopback`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Table, E> {
                Ok(Table { listen: text.to_owned(), beyond_loopback: false })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Table, A::Error> {
                Table::deserialize(MapAccessDeserializer::new(map))
            }
        }

        let table = deserializer.deserialize_any(Either)?;
        Self::try_from(table).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<TelemetryAddress, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn loopback_is_taken_and_anything_else_must_be_asked_for() {
        for loopback in ["\"127.0.0.1:9101\"", "\"127.8.8.8:1\"", "\"[::1]:9101\""] {
            assert!(parse(loopback).is_ok(), "{loopback}");
        }
        for exposed in ["\"0.0.0.0:9101\"", "\"10.0.0.5:9101\"", "\"[::]:9101\""] {
            let refused = parse(exposed).unwrap_err();
            assert!(refused.contains("beyond_loopback = true"), "{refused}");
        }
        let asked = parse("{\"listen\": \"10.0.0.5:9101\", \"beyond_loopback\": true}").unwrap();
        assert_eq!(asked.listen(), "10.0.0.5:9101".parse().unwrap());
        assert!(parse("{\"listen\": \"10.0.0.5:9101\"}").is_err());
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(parse("\"localhost\"").unwrap_err().contains("ADDRESS:PORT"));
        assert!(parse("{\"lissen\": \"127.0.0.1:1\"}").unwrap_err().contains("lissen"));
        assert!(parse("9101").unwrap_err().contains("ADDRESS:PORT"));
    }
}
