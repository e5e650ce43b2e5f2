//! How a witness is reached.

use std::fmt;

use lanyard_env::{Env, StartError};
use lanyard_transport::http1::{self, PostError};
use lanyard_transport::policy::ADD_CHECKPOINT;
use lanyard_transport::{Expected, Tls};
use thiserror::Error;
use url::{ParseError, Url};

/// Why a URL is no route to a witness. Nothing of the URL is repeated: a password may stand in it.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{problem}; use http://HOST:PORT or http://HOST:PORT/PREFIX")]
pub struct RouteError {
    problem: &'static str,
}

impl StartError for RouteError {
    fn is_permanent(&self) -> bool {
        true
    }
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
        let refused = |problem| Err(RouteError { problem });
        let url = match Url::parse(url) {
            Ok(url) => url,
            Err(ParseError::InvalidPort) => {
                return refused("its port is no number from 1 to 65535");
            }
            Err(ParseError::RelativeUrlWithoutBase) => return refused("it is no URL"),
            Err(_) => return refused("what stands at the place of its host is none"),
        };
        let (Some(host), "http") = (url.host_str(), url.scheme()) else {
            return refused("it is none of plain HTTP");
        };
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() || url.fragment().is_some() {
            return refused("it has a user, a query or a fragment");
        }
        let port = url.port_or_known_default().filter(|port| *port > 0);
        let Some(port) = port else { return refused("its port is no number from 1 to 65535") };
        let prefix = url.path().trim_end_matches('/');
        Ok(Self::Foreign {
            address: format!("{host}:{port}"),
            path: format!("{prefix}/add-checkpoint"),
        })
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
        for (bad, problem) in [
            ("", "no URL"),
            ("w.example", "no URL"),
            ("w.example:80", "none of plain HTTP"),
            ("https://w.example", "none of plain HTTP"),
            ("http://", "host"),
            ("http://a b", "host"),
            ("http://w.example:99999/x", "1 to 65535"),
            ("http://w.example:0/x", "1 to 65535"),
            ("http://w.example:x/x", "1 to 65535"),
            ("http://u:hunter2@w.example/", "a user"),
            ("http://w.example/?key=hunter2", "a query"),
            ("http://w.example/#x", "a fragment"),
        ] {
            let refused = Route::foreign(bad).unwrap_err().to_string();
            assert!(refused.contains(problem) && refused.contains("HOST:PORT"), "{bad}: {refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }
}
