//! mTLS between parties: identities, policy, acceptor, limits, channels.
//!
//! A caller is the one URI in its certificate, `spiffe://PARTY/ROLE/NAME` ([`PeerId`]), and the certificate must chain
//! to the authority that the manifest names for exactly that party ([`TrustAnchors`]). What it may call stands in one
//! table ([`policy::RULES`]); everything else is denied.
//!
//! A service binds an [`Acceptor`] and hands it to [`serve()`] with its routes. A client makes a channel with
//! [`connect`]. Both take a [`Tls`]: the own [`Identity`] and the anchors, which can be replaced while running.

mod acceptor;
mod anchors;
pub mod certificates;
mod channel;
mod guard;
pub mod http1;
mod identity;
mod limits;
mod observe;
mod peer;
mod pending;
pub mod policy;
mod serve;
pub mod status;
mod tls;
mod verify;

#[cfg(test)]
mod tests;

pub use acceptor::{Acceptor, AcceptorError, Connection};
pub use anchors::{Admission, AnchorError, TrustAnchors};
pub use channel::{ConnectError, connect, connect_within};
pub use guard::{Hangup, REQUEST_ID, caller};
pub use identity::{Identity, IdentityError};
pub use limits::Limits;
pub use observe::{CallEnded, CallObserver};
pub use peer::{PartyName, PeerId, PeerIdError, Role};
pub use serve::serve;
pub use tls::{OwnCertificateRefused, Tls};
pub use verify::{CertificateRefused, Expected};
