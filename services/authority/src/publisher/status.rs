//! How far publication is, and why it waits.

use std::fmt;

use lanyard_core::ids::Epoch;

use crate::publication::Publication;

/// How far publication is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicationStatus {
    /// Size of the newest signed checkpoint.
    pub log_size: u64,
    /// Size of the newest with a quorum of cosignatures.
    pub quorum_size: u64,
    /// Changes of the gates' live directory that no signed checkpoint has yet.
    pub waiting: u64,
    /// The live epoch.
    pub epoch: Epoch,
    /// Rows of the gates' live directory, decoys included.
    pub records: u64,
    /// Why nothing is signed, if it has to wait for others.
    pub waits: Option<Waits>,
}

impl Default for PublicationStatus {
    fn default() -> Self {
        let epoch = Epoch::new(0);
        Self { log_size: 0, quorum_size: 0, waiting: 0, epoch, records: 0, waits: None }
    }
}

impl PublicationStatus {
    pub(super) fn of(publication: &Publication) -> Self {
        let view = publication.mirror().read();
        Self {
            log_size: view.size(),
            quorum_size: view.quorum().map_or(0, |quorum| quorum.size()),
            waiting: publication.waiting() as u64,
            epoch: publication.live_epoch(),
            records: publication.rows() as u64,
            waits: None,
        }
    }
}

/// Why nothing may be signed until others have answered: whoever signed on might fork the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// A witness, or the store of several instances, knows a greater size of this log than this machine holds, and no
    /// quorum says otherwise. A mirror has the rest.
    Behind {
        /// The size that they know.
        known: u64,
        /// The size that is held here.
        held: u64,
    },
    /// What is here may be a restored backup, and too few witnesses have said that they know no more of this log.
    Unconfirmed {
        /// The size that is held here.
        held: u64,
        /// How many of them have to say so.
        quorum: u8,
    },
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { known, held } => write!(
                f,
                "a witness or the store knows more of this log than this machine, {known} ticks and not {held}: nothing is \
                 signed until a mirror brings the rest or a quorum disagrees"
            ),
            Self::Unconfirmed { held, quorum } => write!(
                f,
                "this may be a restored backup: nothing is signed until {quorum} witnesses have said that they know no more \
                 of this log than the {held} ticks here"
            ),
        }
    }
}
