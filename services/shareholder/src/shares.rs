//! The holder's own shares, from whoever keeps them.

use std::sync::Arc;

use lanyard_party::{Generation, HeldShare, ShareStore};

/// Keeps the holder's shares: one in force, and while a refresh is under way others beside it.
pub trait ShareSource: Send + Sync + 'static {
    /// The share in force: the one to ask other holders with.
    fn current(&self) -> Arc<HeldShare>;

    /// The share of a generation, to answer others with; `None` if it is not here yet, or destroyed. May block.
    fn of_generation(&self, generation: Generation) -> Option<Arc<HeldShare>>;

    /// Takes up a refresh at once that would otherwise be seen a little later. May block.
    fn look_again(&self);
}

impl ShareSource for ShareStore {
    fn current(&self) -> Arc<HeldShare> {
        Self::current(self)
    }

    fn of_generation(&self, generation: Generation) -> Option<Arc<HeldShare>> {
        Self::of_generation(self, generation)
    }

    fn look_again(&self) {
        if let Err(error) = self.reload() {
            tracing::warn!(%error, "keeping the key shares in use");
        }
    }
}
