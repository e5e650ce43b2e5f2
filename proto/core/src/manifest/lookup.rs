//! Finding things in a manifest by name.

use super::{
    AuthorityKeys, Gate, Manifest, Party, Quota, ShareHolder, Venue, Verifier, Witness, Zone,
};
use crate::badge::CodeEpochs;
use crate::decision::{AccessPoint, StalenessTier};
use crate::ids::{Audience, Authority, Epoch, Origin, Timestamp};
use crate::note::VerifyingKey;

/// What a party sends may be late by so many ticks.
pub const PATIENCE_TICKS: u32 = 5;

impl Manifest {
    /// The origin of an authority's log.
    #[must_use]
    pub fn origin(&self, authority: Authority) -> Origin {
        Origin::new(&self.event, authority)
    }

    /// An authority's keys.
    #[must_use]
    pub fn authority(&self, authority: Authority) -> &AuthorityKeys {
        match authority {
            Authority::Committee => &self.authorities.committee,
            Authority::Police => &self.authorities.police,
        }
    }

    /// The key that signs an authority's checkpoints.
    #[must_use]
    pub fn log_key(&self, authority: Authority) -> &VerifyingKey {
        &self.authority(authority).log
    }

    /// The witnesses of an authority's log: all but its own.
    pub fn witnesses_of(&self, authority: Authority) -> impl Iterator<Item = &Witness> {
        self.witnesses.iter().filter(move |witness| witness.name != authority.name())
    }

    /// The keys of the witnesses of an authority's log.
    #[must_use]
    pub fn witness_keys(&self, authority: Authority) -> Vec<VerifyingKey> {
        self.witnesses_of(authority).map(|witness| witness.key.clone()).collect()
    }

    /// The witness of this name.
    #[must_use]
    pub fn witness(&self, name: &str) -> Option<&Witness> {
        self.witnesses.iter().find(|witness| witness.name == name)
    }

    /// The party of this name.
    #[must_use]
    pub fn party(&self, name: &str) -> Option<&Party> {
        self.parties.iter().find(|party| party.name == name)
    }

    /// The venue of this code.
    #[must_use]
    pub fn venue(&self, code: &str) -> Option<&Venue> {
        self.venues.iter().find(|venue| venue.code == code)
    }

    /// The zone of this code.
    #[must_use]
    pub fn zone(&self, code: &str) -> Option<&Zone> {
        self.zones.iter().find(|zone| zone.code == code)
    }

    /// The staleness tier of a zone.
    #[must_use]
    pub fn tier_for_zone(&self, code: &str) -> Option<StalenessTier> {
        self.staleness_tiers.get(&self.zone(code)?.tier).copied()
    }

    /// The access point of this id.
    #[must_use]
    pub fn access_point(&self, id: &str) -> Option<&AccessPoint> {
        self.access_points.iter().find(|point| point.id == id)
    }

    /// The gate of this name.
    #[must_use]
    pub fn gate(&self, name: &str) -> Option<&Gate> {
        self.gates.iter().find(|gate| gate.name == name)
    }

    /// The verifier of this id, for example `gate/gate-1`.
    #[must_use]
    pub fn verifier(&self, id: &str) -> Option<&Verifier> {
        self.verifiers.iter().find(|verifier| verifier.id == id)
    }

    /// The verifiers that receive an audience's keys.
    pub fn verifiers_for(&self, audience: Audience) -> impl Iterator<Item = &Verifier> {
        self.verifiers.iter().filter(move |verifier| verifier.audiences.contains(&audience))
    }

    /// The share that a party holds.
    #[must_use]
    pub fn share_holder(&self, party: &str) -> Option<&ShareHolder> {
        self.share_holders.holders.iter().find(|holder| holder.party == party)
    }

    /// How many evaluations a holder gives a caller for a purpose; 0 if the manifest does not say.
    #[must_use]
    pub fn quota(&self, holder: &str, caller: &str, purpose: &str) -> u64 {
        let is_asked = |quota: &&Quota| {
            quota.holder == holder && quota.caller == caller && quota.purpose == purpose
        };
        self.quotas.iter().find(is_asked).map_or(0, |quota| quota.evaluations)
    }

    /// The epoch that is live at a time, by the plan. See [`EpochPlan::epoch_at`](super::EpochPlan::epoch_at).
    #[must_use]
    pub fn epoch_at(&self, time: Timestamp) -> Epoch {
        self.epochs.epoch_at(time)
    }

    /// When an epoch starts, by the plan.
    #[must_use]
    pub fn epoch_start(&self, epoch: Epoch) -> Timestamp {
        self.epochs.epoch_start(epoch)
    }

    /// When an epoch ends, by the plan: the start of the next.
    #[must_use]
    pub fn epoch_end(&self, epoch: Epoch) -> Timestamp {
        self.epochs.epoch_end(epoch)
    }

    /// By how many milliseconds a clock may be off, and what arrives late, before anybody calls it wrong: the skew and
    /// [`PATIENCE_TICKS`].
    #[must_use]
    pub fn allowed_millis(&self) -> u64 {
        u64::from(self.skew_millis) + u64::from(self.tick_millis) * u64::from(PATIENCE_TICKS)
    }

    /// The greatest age in seconds at which knowledge still counts anywhere at the event.
    #[must_use]
    pub fn longest_limit_seconds(&self) -> u64 {
        let limits = self.staleness_tiers.values().map(|tier| u64::from(tier.limit_seconds));
        limits.max().unwrap_or(0)
    }

    /// Whether who lives in this epoch has missed the first tick of the one that is planned for `time`: it is not on its way any
    /// more.
    #[must_use]
    pub fn has_missed_first_tick(&self, live: Epoch, time: Timestamp) -> bool {
        let planned = self.epoch_at(time);
        let passed = time.millis_since(self.epoch_start(planned));
        live < planned && (live.next() < planned || passed > self.allowed_millis())
    }

    /// The epochs that a code for an audience, shown at `time`, is for: the planned one, and the one beside it for as long as
    /// whoever is asked may live in that. That is as long before and after the change as a clock may be off and a tick late;
    /// after it, for gates, as long as one that is cut off may decide by what it has.
    ///
    /// Whoever is shown a code of two epochs can tell that their handles are of one badge.
    #[must_use]
    pub fn code_epochs(&self, audience: Audience, time: Timestamp) -> CodeEpochs {
        let planned = self.epoch_at(time);
        let before = self.allowed_millis();
        let after = match audience {
            Audience::Gate => before.saturating_add(self.longest_limit_seconds() * 1_000),
            Audience::Police | Audience::Sponsor => before,
        };
        if self.epoch_at(time.plus_millis(before)) > planned {
            CodeEpochs::both(planned)
        } else if self.epoch_at(time.minus_millis(after)) < planned {
            CodeEpochs::both(Epoch::new(planned.get() - 1))
        } else {
            CodeEpochs::from(planned)
        }
    }
}
