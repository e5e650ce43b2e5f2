//! An instance's turn at publishing, where a party has several: what has to agree before a checkpoint is signed.

use lanyard_core::checkpoint::Checkpoint;
use lanyard_feed::{Mirror, PreparedTick};
use lanyard_store::{Recorded, RecordedTick, StoreError, Succession, Term};
use tokio::runtime::Handle;

use crate::error::PublishError;

/// One instance's term. Calls block on the store: not for async code.
#[derive(Clone)]
pub(crate) struct Reign {
    succession: Succession,
    term: Term,
    runtime: Handle,
}

impl Reign {
    /// Within a tokio runtime.
    pub(crate) fn new(succession: Succession, term: Term) -> Self {
        Self { succession, term, runtime: Handle::current() }
    }

    fn ask<T>(
        &self,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, PublishError> {
        self.runtime.block_on(asked).map_err(PublishError::Succession)
    }

    /// Has the store record what the mirror has prepared; only then its checkpoint may be signed.
    pub(crate) fn record(
        &self,
        mirror: &Mirror,
        checkpoint: &Checkpoint,
    ) -> Result<(), PublishError> {
        let prepared = mirror.prepared()?;
        let is_it =
            |tick: &PreparedTick| tick.size == checkpoint.size() && tick.root == checkpoint.root();
        // A reign is the only one that prepares or publishes here.
        let prepared = prepared.filter(is_it).ok_or(PublishError::Worker)?;
        let PreparedTick { size, root, parts } = prepared;
        let tick = RecordedTick { size, root, parts };
        match self.ask(self.succession.record(self.term, &tick))? {
            Recorded::Yes => Ok(()),
            Recorded::TermOver => Err(PublishError::TermOver),
            Recorded::Otherwise { size } => Err(PublishError::RecordedOtherwise { size }),
        }
    }

    /// The size of the newest tick that may have been signed, by whomever.
    pub(crate) fn newest(&self) -> Result<u64, PublishError> {
        let publishing = self.ask(self.succession.publishing())?;
        Ok(publishing.map_or(0, |publishing| publishing.size))
    }

    /// The tick that was recorded for a size.
    pub(crate) fn recorded(&self, size: u64) -> Result<Option<PreparedTick>, PublishError> {
        let found = self.ask(self.succession.recorded(size))?;
        Ok(found.map(|RecordedTick { size, root, parts }| PreparedTick { size, root, parts }))
    }
}
