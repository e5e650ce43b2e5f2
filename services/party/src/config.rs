//! `config.toml`: what all parties configure alike, and each party's own section.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use lanyard_env::Files;
use lanyard_telemetry::TelemetryAddress;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::DeTable;
use url::Host;

use crate::toml_file::{Source, TomlError, read_text};

/// What every party configures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommonConfig {
    /// The name in the SPIFFE id of this party's service: `committee`, `gate-1`.
    pub name: String,
    /// Where the service listens, for example `127.0.0.1:7001`.
    pub listen: SocketAddr,
    /// Where metrics and health are served in plain HTTP, for example `127.0.0.1:9101`; nowhere if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<TelemetryAddress>,
    /// Where acts and refusals are written for a SIEM; nowhere if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_stream: Option<AuditStreamConfig>,
    /// Where the other parties' services listen, by name.
    #[serde(default)]
    pub peers: BTreeMap<String, PeerAddress>,
}

/// The fields of [`CommonConfig`]; all others are the party's own.
const COMMON_FIELDS: [&str; 5] = ["name", "listen", "telemetry", "audit_stream", "peers"];

/// The audit stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditStreamConfig {
    /// Where it goes.
    pub to: AuditStreamTarget,
    /// Days after which its files are deleted.
    #[serde(default = "thirty")]
    pub keep_days: u32,
}

const fn thirty() -> u32 {
    30
}

/// Where the audit stream goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditStreamTarget {
    /// To `data/audit/`.
    Files,
    /// To `data/audit/`, and then to stdout.
    Stdout,
}

/// `HOST:PORT` of a peer; an address of IPv6 stands in brackets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerAddress(String);

impl PeerAddress {
    /// `HOST:PORT`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PeerAddress {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let refused = |problem: &str| Err(format!("{problem}; use HOST:PORT"));
        if text.contains("://") {
            return refused("it is an URL");
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return refused("it has no port");
        };
        let Ok(host) = Host::parse(host) else {
            return refused("what is before the port is no host");
        };
        match port.parse::<u16>() {
            Ok(1..) if !port.starts_with('+') => Ok(Self(format!("{host}:{port}"))),
            _ => refused("its port is no number from 1 to 65535"),
        }
    }
}

impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> Self {
        Self(address.to_string())
    }
}

impl From<PeerAddress> for String {
    fn from(address: PeerAddress) -> Self {
        address.0
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A whole `config.toml`: the folder that it stands in, the common fields, and the section `S` of one kind of party.
#[derive(Debug, Clone)]
pub struct PartyConfig<S> {
    /// The party's folder: the one that holds the file.
    pub folder: PathBuf,
    /// What all parties configure.
    pub common: CommonConfig,
    /// What this kind of party configures; `S` denies unknown fields.
    pub section: S,
}

/// The section of a party that configures nothing of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSection {}

impl<S: DeserializeOwned> PartyConfig<S> {
    /// Reads `config.toml`.
    ///
    /// # Errors
    /// [`TomlError`], naming file, line, column and the unknown or bad field.
    pub fn read(files: &dyn Files, path: &Path) -> Result<Self, TomlError> {
        Self::parse(path, &read_text(files, path)?)
    }

    /// The names of the fields that every party has.
    #[must_use]
    pub const fn common_fields() -> &'static [&'static str] {
        &COMMON_FIELDS
    }

    /// Parses the text of `config.toml`; the folder is that of `path`.
    ///
    /// # Errors
    /// [`TomlError::Malformed`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, TomlError> {
        let source = Source::new(path, text);
        // Both parts deny unknown fields, so each must see its own only.
        let table = source.table()?;
        let span = table.span();
        let (common, section): (Vec<_>, Vec<_>) = table
            .into_inner()
            .into_iter()
            .partition(|(key, _)| COMMON_FIELDS.contains(&key.get_ref().as_ref()));
        let part = |fields: Vec<_>| Spanned::new(span.clone(), DeTable::from_iter(fields));
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        // The section first: a misspelt common field is then called unknown, not missing.
        let section = source.value(part(section)).map_err(|mut error| {
            if let TomlError::Malformed { problem, .. } = &mut error
                && problem.starts_with("unknown field")
            {
                problem.push_str(
                    "; every party also has `name`, `listen`, `telemetry`, `[audit_stream]` and `[peers]`",
                );
            }
            error
        })?;
        Ok(Self { folder, common: source.value(part(common))?, section })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Section {
        upstreams: Vec<String>,
    }

    const GOOD: &str = "name = \"gate-1\"\nlisten = \"127.0.0.1:7005\"\nupstreams = [\"sponsor\"]\n\
        [peers]\nsponsor = \"sponsor.example:7003\"\n";

    fn parse(text: &str) -> Result<PartyConfig<Section>, TomlError> {
        PartyConfig::parse(Path::new("/event/gate-1/config.toml"), text)
    }

    #[test]
    fn both_parts_are_read() {
        let config = parse(GOOD).unwrap();
        assert_eq!(config.folder, Path::new("/event/gate-1"));
        assert_eq!(config.common.name, "gate-1");
        assert_eq!(config.common.peers["sponsor"].as_str(), "sponsor.example:7003");
        assert_eq!(config.section.upstreams, ["sponsor"]);
    }

    #[test]
    fn an_address_is_a_host_and_a_port_and_nothing_else() {
        let address = |text: &str| PeerAddress::try_from(text.to_owned());
        for good in
            ["sponsor.example:7003", "lanyard_police:1", "192.0.2.1:65535", "[2001:db8::1]:7003"]
        {
            assert_eq!(address(good).unwrap().as_str(), good);
        }
        for (bad, problem) in [
            ("https://sponsor.example:7003", "it is an URL"),
            ("sponsor.example", "no port"),
            (":7003", "no host"),
            ("sponsor.example/feed:7003", "no host"),
            ("user@sponsor.example:7003", "no host"),
            ("2001:db8::1:7003", "no host"),
            ("192.0.2.256:7003", "no host"),
            ("sponsor.example:0", "1 to 65535"),
            ("sponsor.example:65536", "1 to 65535"),
            ("sponsor.example:+7003", "1 to 65535"),
            ("sponsor.example:", "1 to 65535"),
        ] {
            let refused = address(bad).unwrap_err();
            assert!(
                refused.contains(problem) && refused.contains("use HOST:PORT"),
                "{bad}: {refused}"
            );
        }
    }

    #[test]
    fn what_is_shown_to_operators_is_optional_and_stays_on_loopback() {
        let config = parse(GOOD).unwrap();
        assert_eq!((config.common.telemetry, config.common.audit_stream), (None, None));
        let fuller = format!(
            "telemetry = \"127.0.0.1:9101\"\n{GOOD}[audit_stream]\nto = \"stdout\"\nkeep_days = 7\n"
        );
        let config = parse(&fuller).unwrap();
        assert_eq!(config.common.telemetry.unwrap().listen().port(), 9101);
        let stream = AuditStreamConfig { to: AuditStreamTarget::Stdout, keep_days: 7 };
        assert_eq!(config.common.audit_stream, Some(stream));
        let exposed = parse(&fuller.replace("127.0.0.1:9101", "0.0.0.0:9101")).unwrap_err();
        let exposed = exposed.to_string();
        assert!(exposed.contains(":1:13: ") && exposed.contains("beyond_loopback"), "{exposed}");
    }

    #[test]
    fn errors_name_file_line_column_and_field() {
        for (from, to, place, problem) in [
            ("upstreams", "upstream", ":3:1: ", "unknown field `upstream`"),
            ("listen = \"127.0.0.1:7005\"", "listen = 7005", ":2:10: ", "invalid type"),
            ("listen", "lissen", ":2:1: ", "unknown field `lissen`"),
            ("example:7003", "example", ":5:11: ", "use HOST:PORT"),
            ("\"gate-1\"", "\"gate-1", ":1:", "string"),
        ] {
            let error = parse(&GOOD.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.starts_with("/event/gate-1/config.toml:"), "{error}");
            assert!(error.contains(place) && error.contains(problem), "{error}");
        }
        let missing = parse("listen = \"127.0.0.1:1\"\nupstreams = []\n").unwrap_err().to_string();
        assert!(missing.contains("missing field `name`"), "{missing}");
    }
}
