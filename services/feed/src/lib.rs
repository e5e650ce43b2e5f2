//! Verified mirrors of authorities' directories: stored, followed and served.
//!
//! One protocol runs from authority to mirror to mirror to gate. Whoever receives verifies all of it, keeps it, and only
//! then uses and serves it, so mirrors need no trust and chain in a tree.
//!
//! | part | does |
//! | --- | --- |
//! | [`Mirror`] | holds one authority's directories on disk and in memory; reading is [`Mirror::read`] |
//! | [`Intake`] | takes the updates of one stream from a sender who may lie |
//! | [`Mirror::prepare`], [`Mirror::publish`] | the authority's own way in |
//! | [`FeedServer`] | `Follow` and `Lookup` over the mirrors of a party |
//! | [`follow()`] | keeps a mirror up to date from a list of upstreams |
//!
//! Invariants:
//! - Nothing unverified is visible or served. An error changes nothing that is visible.
//! - A mirror never goes back: not in size, not in epoch, not in manifest.
//! - What is visible is on disk and survives a crash at any moment; a restart needs no network.
//! - A stop is visible as soon as it is signed ([`DirectoryView::lookup_signed`]), whatever witnesses do.

mod beside;
mod clock;
mod commit;
mod cosign;
mod error;
mod events;
mod evidence;
mod follow;
mod frame;
mod handover;
mod incoming;
mod intake;
mod manifests;
mod mirror;
mod observe;
mod overlay;
mod plan;
mod prove;
mod publish;
mod receive;
mod replay;
mod route;
mod serve;
mod server;
mod stage;
mod state;
mod store;
mod upstreams;
mod view;

pub use clock::{KeptClock, WitnessedClock};
pub use error::{FeedError, ManifestRefused};
pub use evidence::{Evidence, Misdeed};
pub use follow::{
    FollowError, MAX_MESSAGE_BYTES, Standing, SyncProblem, SyncState, Upstream, UpstreamState,
    catch_up, follow,
};
pub use frame::Frames;
pub use handover::PreparedTick;
pub use intake::{Applied, Intake};
pub use manifests::ManifestSource;
pub use mirror::{Mirror, MirrorConfig, Recipient, held_by};
pub use prove::Proven;
pub use publish::{Content, DirectoryDraft, Draft};
pub use serve::BEHIND;
pub use server::{FeedRoutes, FeedServer, MAX_LOOKUP_ROWS};
pub use state::{DirectoryKey, QuorumHead, SignedHead};
pub use store::newest_checkpoint;
pub use upstreams::{UpstreamError, inspect_upstreams, upstreams};
pub use view::{DirectoryView, Lookup, View};
