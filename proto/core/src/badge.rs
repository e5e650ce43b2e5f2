//! Badges: the secret of a printed badge, what is derived from it, and the texts that carry it.

use zeroize::Zeroizing;

use crate::audience_key::AudienceKey;
use crate::ids::{Audience, Authority, BadgeNumber, Epoch, EventId, Handle, PrintNumber};
use crate::secret::{Context, Fields, generate, secret};

mod base45;
mod text;

pub use text::{BadgeText, BadgeTextError, CodeEpochs, Presented, ScopedCode};

static BADGE: Context = Context::new("lanyard v1 badge");
static SEED: Context = Context::new("lanyard v1 seed");

secret! {
    /// The issuer's root of all badge secrets of an event: 32 random bytes, opened only to issue.
    IssuingKey
}
generate!(IssuingKey);

impl IssuingKey {
    /// `s`, the secret of one print of one badge.
    #[must_use]
    pub fn badge_secret(
        &self,
        event: &EventId,
        number: BadgeNumber,
        print: PrintNumber,
    ) -> BadgeSecret {
        let mut fields = Zeroizing::new(Fields::<128>::new());
        fields
            .field(&self.0)
            .field(event.as_bytes())
            .field(&number.get().to_be_bytes())
            .field(&print.get().to_be_bytes());
        BadgeSecret(BADGE.derive(fields.as_slice()))
    }
}

secret! {
    /// `s`: the 32 bytes on a badge. Never stored by whoever checks it, never logged, never forwarded.
    BadgeSecret
}

impl BadgeSecret {
    /// `S(a,u)`, from which the authority publishes for this audience in every epoch.
    #[must_use]
    pub fn seed(&self, authority: Authority, audience: Audience) -> Seed {
        let mut fields = Zeroizing::new(Fields::<64>::new());
        fields.field(&self.0).field(authority.name().as_bytes()).field(audience.name().as_bytes());
        Seed(SEED.derive(fields.as_slice()))
    }
}

secret! {
    /// `S(a,u)`: one badge's seed for one authority and audience; the publisher keeps it sealed at rest.
    Seed
}

impl Seed {
    /// `K(a,u,e)`.
    #[must_use]
    pub fn epoch_key(&self, event: &EventId, epoch: Epoch) -> EpochKey {
        let mut fields = Fields::<96>::new();
        fields.field(b"epoch").field(event.as_bytes()).field(&epoch.get().to_be_bytes());
        EpochKey(*blake3::keyed_hash(&self.0, fields.as_slice()).as_bytes())
    }
}

secret! {
    /// `K(a,u,e)`: one badge's key for one authority, audience and epoch; what scoped codes carry.
    EpochKey
}

impl EpochKey {
    /// Where the directory of the authority, audience and epoch keeps the badge's record.
    #[must_use]
    pub fn handle(&self) -> Handle {
        let hash = blake3::keyed_hash(&self.0, b"handle");
        let mut handle = [0; Handle::SIZE];
        handle.copy_from_slice(&hash.as_bytes()[..Handle::SIZE]);
        Handle::new(handle)
    }

    /// `rk`, which opens the badge's record: needs the badge and the audience key.
    #[must_use]
    pub fn record_key(&self, audience_key: &AudienceKey) -> RecordKey {
        let mut fields = Zeroizing::new(Fields::<64>::new());
        fields.field(b"record").field(audience_key.expose_bytes());
        RecordKey(*blake3::keyed_hash(&self.0, fields.as_slice()).as_bytes())
    }
}

secret! {
    /// `rk`: seals the record of one badge, audience, authority and epoch.
    RecordKey
}

#[cfg(test)]
mod tests;
