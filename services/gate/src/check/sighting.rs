//! One badge in one authority's directory.

use std::sync::Arc;

use lanyard_core::badge::{EpochKey, Presented};
use lanyard_core::decision::Finding;
use lanyard_core::ids::{Audience, Authority, Epoch, EventId, Handle, Origin, Timestamp};
use lanyard_core::profile::ProfileTable;
use lanyard_core::receipt::Consulted;
use lanyard_feed::{DirectoryView, Lookup, Mirror, View};

/// Which of a mirror's two states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The newest that the authority signed.
    Signed,
    /// The newest that a quorum of witnesses stands behind.
    Quorum,
}

/// One authority's mirror at one moment.
pub(super) struct Source<'a> {
    authority: Authority,
    origin: &'a Origin,
    view: View<'a>,
}

/// What opens a badge's record, and where that lies.
pub(super) struct BadgeKey {
    key: EpochKey,
    handle: Handle,
}

/// What a directory holds of one badge, not opened yet.
pub(super) struct Found<'a> {
    epoch: Epoch,
    key: Option<BadgeKey>,
    sealed: Option<Sealed<'a>>,
}

struct Sealed<'a> {
    directory: DirectoryView<'a>,
    signed: Lookup,
    quorum: Lookup,
}

/// What one directory says of one badge.
pub(super) struct Sighting<'a> {
    epoch: Epoch,
    handle: Option<Handle>,
    signed: Finding,
    quorum: Finding,
    directory: Option<DirectoryView<'a>>,
}

impl<'a> Source<'a> {
    pub(super) fn of(mirror: &'a Arc<Mirror>) -> Self {
        Self { authority: mirror.authority(), origin: mirror.origin(), view: mirror.read() }
    }

    pub(super) fn now(&self, wall: Timestamp, elapsed: u64) -> Timestamp {
        self.view.clock_floor().now(wall, elapsed)
    }

    pub(super) fn freshness(&self) -> Option<Timestamp> {
        self.view.freshness()
    }

    /// The live epoch of a state's head, if there is one.
    pub(super) fn live_epoch(&self, state: State) -> Option<Epoch> {
        let signed = match state {
            State::Signed => self.view.signed()?,
            State::Quorum => self.view.quorum()?.signed(),
        };
        Some(signed.head().live_epoch)
    }

    /// The badge's key in an epoch; `None` if what was presented has none there.
    pub(super) fn key(
        &self,
        event: &EventId,
        presented: &Presented,
        epoch: Epoch,
    ) -> Option<BadgeKey> {
        let key = presented.epoch_key(event, self.authority, Audience::Gate, epoch)?;
        Some(BadgeKey { handle: key.handle(), key })
    }

    /// Looks a badge up in the gates' directory of an epoch.
    pub(super) fn find(&self, key: Option<BadgeKey>, epoch: Epoch) -> Found<'_> {
        let directory = self.view.directory(epoch, Audience::Gate);
        let sealed =
            key.as_ref().zip(directory).map(|(BadgeKey { handle, .. }, directory)| Sealed {
                directory,
                signed: directory.lookup_signed(handle),
                quorum: directory.lookup_quorum(handle),
            });
        Found { epoch, key, sealed }
    }

    /// Opens what was found: once, if both states are the same.
    pub(super) fn open<'s>(&'s self, found: Found<'s>) -> Sighting<'s> {
        let Found { epoch, key, sealed } = found;
        let handle = key.as_ref().map(|key| key.handle);
        let audience_key = sealed.as_ref().and_then(|sealed| sealed.directory.audience_key());
        let (Some(BadgeKey { key, handle: of }), Some(sealed), Some(audience_key)) =
            (key, sealed, audience_key)
        else {
            let missing = Finding::Missing;
            return Sighting { epoch, handle, signed: missing, quorum: missing, directory: None };
        };
        let open = |lookup| match lookup {
            Lookup::Missing => Finding::Missing,
            Lookup::Absent => Finding::Absent,
            Lookup::Found(record) => {
                let opened = record.open(&key.record_key(audience_key), self.origin, epoch, &of);
                opened.map_or(Finding::Unreadable, Finding::Found)
            }
        };
        let Sealed { directory, signed, quorum } = sealed;
        let opened = open(signed);
        let quorum = if quorum == signed { opened } else { open(quorum) };
        Sighting { epoch, handle, signed: opened, quorum, directory: Some(directory) }
    }

    /// For the receipt: where the badge was looked for, and the checkpoint that the answer stands on.
    pub(super) fn consulted(&self, sighting: &Sighting<'_>, state: State) -> Consulted {
        let checkpoint_size = match state {
            State::Signed => self.view.size(),
            State::Quorum => self.view.quorum().map_or(0, |quorum| quorum.size()),
        };
        Consulted { epoch: sighting.epoch, handle: sighting.handle, checkpoint_size }
    }

    /// For the receipt of a check that looked nobody up.
    pub(super) fn not_consulted(&self, epoch: Epoch) -> Consulted {
        let checkpoint_size = self.view.quorum().map_or(0, |quorum| quorum.size());
        Consulted { epoch, handle: None, checkpoint_size }
    }
}

impl<'a> Sighting<'a> {
    pub(super) fn finding(&self, state: State) -> Finding {
        match state {
            State::Signed => self.signed,
            State::Quorum => self.quorum,
        }
    }

    pub(super) fn profiles(&self, state: State) -> Option<&'a ProfileTable> {
        let directory = self.directory?;
        let table = match state {
            State::Signed => directory.profiles_signed(),
            State::Quorum => directory.profiles_quorum(),
        };
        table.map(Arc::as_ref)
    }
}
