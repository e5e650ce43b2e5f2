//! A made-up event: badges by number, and both authorities' gate directories of one epoch.

use std::thread;

use lanyard_core::audience_key::AudienceKey;
use lanyard_core::badge::{BadgeSecret, EpochKey, Seed};
use lanyard_core::binding::Binding;
use lanyard_core::ids::{Audience, Authority, Epoch, EventId, Handle, Origin};
use lanyard_core::map::{Map, Row, depth_for};
use lanyard_core::record::{Minutes, ProfileId, Record, SealedRecord, Status};

/// The epoch that all directories are of.
pub(crate) const EPOCH: Epoch = Epoch::new(7);

/// The profile of everybody in the committee's records.
pub(crate) const PROFILE: ProfileId = ProfileId::new(1);

/// The event.
pub(crate) fn event() -> EventId {
    EventId::parse("games-2028").expect("an event id")
}

/// The secret of a badge.
pub(crate) fn badge(number: u32) -> BadgeSecret {
    BadgeSecret::from_bytes(digest(b"badge", number))
}

/// The seed that an authority publishes a badge from.
pub(crate) fn seed(authority: Authority, number: u32) -> Seed {
    badge(number).seed(authority, Audience::Gate)
}

fn digest(what: &[u8], number: u32) -> [u8; 32] {
    *blake3::Hasher::new().update(what).update(&number.to_be_bytes()).finalize().as_bytes()
}

/// What an authority says of a badge: good, for the whole of time, with a profile if it is the committee.
pub(crate) fn record(authority: Authority, number: u32) -> Record {
    let digest = digest(b"binding", number);
    let binding = std::array::from_fn(|index| digest[index]);
    let profile = match authority {
        Authority::Committee => PROFILE,
        Authority::Police => ProfileId::UNRESTRICTED,
    };
    Record {
        status: Status::Valid,
        profile,
        not_before: Minutes::MIN,
        not_after: Minutes::MAX,
        binding: Binding::new(binding),
    }
}

/// One authority's gate directory, as far as records go.
pub(crate) struct Publisher {
    pub(crate) authority: Authority,
    pub(crate) event: EventId,
    pub(crate) origin: Origin,
    pub(crate) key: AudienceKey,
}

impl Publisher {
    pub(crate) fn new(authority: Authority) -> Self {
        let event = event();
        let origin = Origin::new(&event, authority);
        let key = AudienceKey::from_bytes([authority.byte(); 32]);
        Self { authority, event, origin, key }
    }

    pub(crate) fn epoch_key(&self, seed: &Seed) -> EpochKey {
        seed.epoch_key(&self.event, EPOCH)
    }

    pub(crate) fn seal(
        &self,
        epoch_key: &EpochKey,
        handle: &Handle,
        version: u32,
        record: &Record,
    ) -> SealedRecord {
        let key = epoch_key.record_key(&self.key);
        SealedRecord::seal(&key, &self.origin, EPOCH, handle, version, record)
            .expect("versions start at 1")
    }

    /// The row of a badge: derived and sealed.
    pub(crate) fn row(&self, seed: &Seed, record: &Record) -> Row {
        let epoch_key = self.epoch_key(seed);
        let handle = epoch_key.handle();
        Row { handle, record: self.seal(&epoch_key, &handle, 1, record) }
    }

    /// The rows of badges 0 to `people`, in the order of the badges, made on all cores.
    pub(crate) fn rows(&self, people: u32) -> Vec<Row> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let numbers: Vec<u32> = (0..people).collect();
        let row = |&number: &u32| {
            self.row(&seed(self.authority, number), &record(self.authority, number))
        };
        thread::scope(|scope| {
            let workers: Vec<_> = numbers
                .chunks(numbers.len().div_ceil(cores).max(1))
                .map(|part| scope.spawn(move || part.iter().map(row).collect::<Vec<_>>()))
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().expect("no row panics")).collect()
        })
    }

    /// The map of badges 0 to `people`.
    pub(crate) fn map(&self, people: u32) -> Map {
        sorted_map(self.rows(people))
    }
}

/// Builds the map as a publisher does: rows sorted first.
pub(crate) fn sorted_map(mut rows: Vec<Row>) -> Map {
    rows.sort_unstable_by_key(|row| row.handle);
    let count = u32::try_from(rows.len()).expect("fewer people than there are");
    Map::build(depth_for(count), rows).expect("handles are distinct and uniform")
}
