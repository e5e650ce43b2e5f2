//! The list of upstreams that a party configures.

use std::collections::BTreeSet;

use lanyard_core::ids::Audience;
use lanyard_env::StartError;
use lanyard_party::{Inspected, PeerError, Peers, Report};
use lanyard_transport::PartyName;
use thiserror::Error;

use crate::follow::Upstream;

/// What is wrong with a list of upstreams.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// One stands there twice.
    #[error("config.toml: upstreams: {name} stands there twice; take one out")]
    Twice {
        /// Which one.
        name: String,
    },
    /// The service would follow itself.
    #[error("config.toml: upstreams: {name} is this service itself; take it out")]
    Itself {
        /// Its name.
        name: String,
    },
    /// The trustee mirrors nothing.
    #[error("config.toml: upstreams: the trustee serves no feed; take it out")]
    Trustee,
    /// A gate has not all that this party mirrors.
    #[error(
        "config.toml: upstreams: {name} mirrors directories for gates only, which is not enough here; \
         use committee, police or sponsor"
    )]
    GateOnly {
        /// Its name.
        name: String,
    },
    /// It is not among the peers.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

impl StartError for UpstreamError {
    fn is_permanent(&self) -> bool {
        !matches!(self, Self::Peer(error) if !error.is_permanent())
    }
}

/// Looks at the upstreams of these names as [`upstreams`] does. `has_others` if there is something else to follow.
pub fn inspect_upstreams(
    inspected: &Inspected,
    own: &str,
    audiences: &[Audience],
    names: &[String],
    has_others: bool,
    report: &mut Report,
) {
    let item = "config.toml upstreams";
    let listed = upstreams(&inspected.peers, own, audiences, names.iter().map(String::as_str));
    report.read(item, listed, names.join(", "));
    if names.is_empty() && !has_others {
        let detail = "none: nothing is learned of what authorities publish; name peers to follow";
        report.warning(item, detail);
    }
}

/// The upstreams of these names, in this order, for the service `own` that mirrors directories for `audiences`.
///
/// # Errors
/// [`UpstreamError`] if one cannot serve that.
pub fn upstreams<'a>(
    peers: &Peers,
    own: &str,
    audiences: &[Audience],
    names: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<Upstream>, UpstreamError> {
    let mut seen = BTreeSet::new();
    let upstream = |name: &'a str| {
        check(own, audiences, name)?;
        if !seen.insert(name) {
            return Err(UpstreamError::Twice { name: name.to_owned() });
        }
        Ok(Upstream { name: name.to_owned(), channel: peers.channel(name)? })
    };
    names.into_iter().map(upstream).collect()
}

fn check(own: &str, audiences: &[Audience], name: &str) -> Result<(), UpstreamError> {
    let named = || name.to_owned();
    if name == own {
        return Err(UpstreamError::Itself { name: named() });
    }
    if name == PartyName::Trustee.name() {
        return Err(UpstreamError::Trustee);
    }
    let needs_all = audiences.iter().any(|audience| *audience != Audience::Gate);
    if needs_all && name.starts_with("gate-") {
        return Err(UpstreamError::GateOnly { name: named() });
    }
    Ok(())
}
