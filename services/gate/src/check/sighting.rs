//! One badge in one authority's directory.

use std::sync::Arc;

use lanyard_core::badge::Presented;
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

    pub(super) fn now(&self, wall: Timestamp) -> Timestamp {
        self.view.clock_floor().now(wall)
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

    /// Looks a badge up in the gates' directory of an epoch: derives once, opens once if both states are the same.
    pub(super) fn look(
        &self,
        event: &EventId,
        presented: &Presented,
        epoch: Epoch,
    ) -> Sighting<'_> {
        let missing = |handle| Sighting {
            epoch,
            handle,
            signed: Finding::Missing,
            quorum: Finding::Missing,
            directory: None,
        };
        let key = presented.epoch_key(event, self.authority, Audience::Gate, epoch);
        let Some(key) = key else { return missing(None) };
        let handle = key.handle();
        let directory = self.view.directory(epoch, Audience::Gate);
        let Some((directory, audience_key)) =
            directory.and_then(|one| Some((one, one.audience_key()?)))
        else {
            return missing(Some(handle));
        };
        let open = |lookup| match lookup {
            Lookup::Missing => Finding::Missing,
            Lookup::Absent => Finding::Absent,
            Lookup::Found(sealed) => {
                let record_key = key.record_key(audience_key);
                let opened = sealed.open(&record_key, self.origin, epoch, &handle);
                opened.map_or(Finding::Unreadable, Finding::Found)
            }
        };
        let in_signed = directory.lookup_signed(&handle);
        let in_quorum = directory.lookup_quorum(&handle);
        let signed = open(in_signed);
        let quorum = if in_quorum == in_signed { signed } else { open(in_quorum) };
        Sighting { epoch, handle: Some(handle), signed, quorum, directory: Some(directory) }
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
