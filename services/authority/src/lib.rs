//! The publisher: from desired records to signed, cosigned ticks and epochs.
//!
//! A party's store says what each print of a badge should read ([`Registry`]). Every tick the publisher re-seals a fixed number
//! of rows, the real changes among them, has the own feed prepare the tick, signs its checkpoint and publishes it; witnesses'
//! cosignatures follow as they come. Epochs are published whole before they start.
//!
//! [`Station`] is all that the services of both authorities share around it.

mod epochs;
mod error;
mod examine;
mod keys;
mod publication;
mod publisher;
mod recovery;
mod registry;
mod reign;
mod sealer;
mod shared_files;
mod station;
mod witnesses;

pub use epochs::Asked;
pub use error::PublishError;
pub use examine::{Examined, examine};
pub use publisher::{LogKeySource, PublicationStatus, Waits};
pub use recovery::{Held, mark_restored};
pub use registry::{Changes, Entry, Registry};
pub use station::{
    Duty, LEASE, OwnAudienceKeys, Station, StationConfig, StationError, StoreUrl,
    inspect as inspect_station,
};
pub use witnesses::{WitnessSource, Witnesses};
