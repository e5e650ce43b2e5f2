//! Which epoch is live when.

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, Timestamp};

/// Epochs of equal length, numbered from `first`. A "panic" is a new plan: the next number, starting now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochPlan {
    /// Number of the first epoch of this plan.
    pub first: Epoch,
    /// When it starts, in milliseconds since the Unix epoch.
    pub starts_at: Timestamp,
    /// Length of an epoch in minutes.
    pub length_minutes: u32,
    /// How many minutes before its start an epoch's directory is published whole.
    pub publish_lead_minutes: u32,
}

const MILLIS_PER_MINUTE: u64 = 60_000;

impl EpochPlan {
    fn length_millis(&self) -> u64 {
        // Zero is refused by validation; here it must only not divide.
        u64::from(self.length_minutes.max(1)) * MILLIS_PER_MINUTE
    }

    /// The epoch that is live at `time`; before the plan starts, its first.
    #[must_use]
    pub fn epoch_at(&self, time: Timestamp) -> Epoch {
        let passed = time.millis_since(self.starts_at) / self.length_millis();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        Epoch::new(self.first.get().saturating_add(passed))
    }

    /// When `epoch` starts; for those before the plan, when the plan does.
    #[must_use]
    pub fn epoch_start(&self, epoch: Epoch) -> Timestamp {
        let after = u64::from(epoch.get().saturating_sub(self.first.get()));
        self.starts_at.plus_millis(after.saturating_mul(self.length_millis()))
    }

    /// When `epoch` ends: the start of the next.
    #[must_use]
    pub fn epoch_end(&self, epoch: Epoch) -> Timestamp {
        self.epoch_start(epoch.next())
    }

    /// When the directory of `epoch` is to be published.
    #[must_use]
    pub fn publish_at(&self, epoch: Epoch) -> Timestamp {
        let lead = u64::from(self.publish_lead_minutes) * MILLIS_PER_MINUTE;
        self.epoch_start(epoch).minus_millis(lead)
    }
}
