//! How a witness is reached.

use std::fmt;

use lanyard_env::Env;
use lanyard_transport::http1::{self, PostError};
use lanyard_transport::policy::ADD_CHECKPOINT;
use lanyard_transport::{Expected, Tls};
use thiserror::Error;

/// Why a URL is no route to a witness.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("witness {given:?}: expected http://HOST:PORT or http://HOST:PORT/PREFIX")]
pub struct RouteError {
    given: String,
}

/// How a witness is reached.
#[derive(Clone)]
pub enum Route {
    /// A party of the event, over mTLS.
    Party {
        /// The own identity and whom to trust.
        tls: Tls,
        /// `HOST:PORT`.
        address: String,
        /// Who must be there.
        expected: Expected,
    },
    /// A foreign witness, over plain HTTP: nothing secret is sent, and only its cosignature counts.
    Foreign {
        /// `HOST:PORT`.
        address: String,
        /// The path of `add-checkpoint`.
        path: String,
    },
}

impl Route {
    /// A foreign witness by its submission prefix, `http://HOST:PORT/PREFIX`; the port is 80 if none is given.
    ///
    /// # Errors
    /// [`RouteError`].
    pub fn foreign(url: &str) -> Result<Self, RouteError> {
        let rest = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let plain =
            |rest: &&str| rest.bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#');
        let rest = rest.filter(plain).ok_or_else(|| RouteError { given: url.to_owned() })?;
        let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() || host.contains('@') {
            return Err(RouteError { given: url.to_owned() });
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = if has_port { host.to_owned() } else { format!("{host}:80") };
        let slash = if prefix.is_empty() { "" } else { "/" };
        Ok(Self::Foreign { address, path: format!("{slash}{prefix}/add-checkpoint") })
    }

    pub(super) async fn post(&self, env: &Env, body: String) -> Result<http1::Answer, PostError> {
        match self {
            Self::Party { tls, address, expected } => {
                http1::post(env, tls, address, expected, ADD_CHECKPOINT, body).await
            }
            Self::Foreign { address, path } => http1::post_plain(env, address, path, body).await,
        }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Party { address, expected, .. } => write!(f, "{expected} at {address}"),
            Self::Foreign { address, path } => write!(f, "http://{address}{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_become_addresses_and_paths() {
        for (url, expected) in [
            ("http://w.example", "http://w.example:80/add-checkpoint"),
            ("http://w.example:8080/", "http://w.example:8080/add-checkpoint"),
            ("http://w.example/a/b", "http://w.example:80/a/b/add-checkpoint"),
            ("http://[::1]:80/w/", "http://[::1]:80/w/add-checkpoint"),
        ] {
            assert_eq!(format!("{:?}", Route::foreign(url).unwrap()), expected);
        }
        for bad in ["", "w.example", "https://w.example", "http://", "http://a b", "http://u@h/"] {
            assert!(Route::foreign(bad).is_err(), "{bad:?}");
        }
    }
}
