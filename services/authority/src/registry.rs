//! What an authority wants to say of each print of a badge: read from its store, page by page.

use std::future::Future;

use lanyard_core::badge::Seed;
use lanyard_core::binding::Binding;
use lanyard_core::ids::{Audience, Timestamp};
use lanyard_core::profile::ProfileTable;
use lanyard_core::record::{Minutes, ProfileId, Record, Status};
use lanyard_env::StartError;

use crate::recovery::Held;

/// One print of one badge, and what the authority wants its record to say.
pub struct Entry {
    /// The authority's own number of the print, stable.
    pub id: u64,
    /// The seeds that the authority publishes under, one an audience.
    pub seeds: Vec<(Audience, Seed)>,
    /// What gates and police are to read.
    pub record: Record,
}

impl Entry {
    pub(crate) fn seed(&self, audience: Audience) -> Option<&Seed> {
        self.seeds.iter().find(|(of, _)| *of == audience).map(|(_, seed)| seed)
    }

    /// What `audience` is to read at `now`: the sponsor learns valid or not, and nothing else.
    pub(crate) fn record_for(&self, audience: Audience, now: Timestamp) -> Record {
        match audience {
            Audience::Gate | Audience::Police => self.record,
            Audience::Sponsor => {
                let Record { status, not_before, not_after, .. } = self.record;
                let minute = now.minutes();
                let good = status == Status::Valid
                    && not_before.get() <= minute
                    && minute <= not_after.get();
                Record::bare(if good { Status::Valid } else { Status::Invalid })
            }
        }
    }
}

impl Entry {
    /// What is said of a print whose row in the store is damaged: never good, and nothing of what the row says now.
    #[must_use]
    pub fn closed(id: u64, seeds: Vec<(Audience, Seed)>, status: Status) -> Self {
        let record = Record {
            status,
            profile: ProfileId::UNRESTRICTED,
            not_before: Minutes::MIN,
            not_after: Minutes::MAX,
            binding: Binding::NONE,
        };
        Self { id, seeds, record }
    }
}

/// Entries that changed, oldest change first.
pub struct Changes {
    /// The entries as they are now.
    pub entries: Vec<Entry>,
    /// Where to go on: pass it as `after` next time.
    pub cursor: u64,
}

/// The store of a party, as its publisher sees it.
pub trait Registry: Send + Sync + 'static {
    /// Why the store cannot answer.
    type Error: StartError + Send + Sync + 'static;

    /// Entries changed after the cursor, at most `limit`; `after = 0` begins with all there are. A cursor that
    /// does not move is the end.
    fn changes(
        &self,
        after: u64,
        limit: u32,
    ) -> impl Future<Output = Result<Changes, Self::Error>> + Send;

    /// After a restored backup: durably stops these entries until somebody decides, so that [`Registry::changes`] gives
    /// them again, and draws no number again that up to `lost` badges may bear which the store does not know.
    fn hold(
        &self,
        held: &[Held],
        lost: u64,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The authority's profiles; empty for the police.
    fn profiles(&self) -> impl Future<Output = Result<ProfileTable, Self::Error>> + Send;
}
