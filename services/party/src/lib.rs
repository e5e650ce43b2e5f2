//! What every party's process shares: configuration, folder, keys, manifest, run loop.
//!
//! A party is one folder, laid out by the ceremony and read here: [`Folder`] loads its keys, [`PartyConfig`] its
//! configuration, [`ManifestStore`] the manifests that it has accepted. [`main`] is the whole of a service's `main`,
//! [`Started`] what `serve` goes on with.

mod audit;
mod config;
mod folder;
mod inspection;
mod issuing;
mod key_file;
mod manifest_store;
mod observe;
mod peers;
mod process;
mod public_shares;
mod share_store;
mod start;
mod store_key;
mod toml_file;

pub use audit::{Act, AuditStream, TRAIL_PAGE, TrailSource};
pub use config::{
    AuditStreamConfig, AuditStreamTarget, CommonConfig, NoSection, PartyConfig, PeerAddress,
};
pub use folder::{DataLock, Folder, IdentityFileError};
pub use inspection::{Finding, Found, Inspected, Report, item_of};
pub use issuing::{MIN_PASSPHRASE, SealIssuingKeyError, read_issuing_key, write_issuing_key};
pub use key_file::{KeyFileError, read_private, read_private_text};
pub use manifest_store::{ManifestStore, ManifestStoreError};
pub use observe::{follow_folder, observe_party};
pub use peers::{PeerError, Peers, expected, trust_anchors};
pub use process::{
    Arguments, EXIT_CONFIG, EXIT_FAILURE, EXIT_OK, ReportFormat, chain, init_logging, main, run,
    run_in,
};
pub use public_shares::{NamedShare, PublicSharesError};
pub use share_store::{Generation, HeldShare, ShareStore};
pub use start::{NotStarted, Started};
pub use store_key::{Cell, SEAL_OVERHEAD, SealedBlobError, StoreKey};
pub use toml_file::{MAX_TOML_BYTES, TomlError, parse_toml, read_toml};
