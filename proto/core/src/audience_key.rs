//! Audience keys: without the one of its directory and epoch, a badge and a copy of the directory open nothing.

use crate::codec::{CodecError, Reader, Writer, join};
use crate::hpke_box::{self, BoxError, HpkePublicKey, HpkeSecretKey};
use crate::ids::{Audience, Authority, Epoch, EventId, Hash};
use crate::secret::{Context, generate, secret};
use rand::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

static COMMITMENT: Context = Context::new("lanyard v1 audience key commitment");

/// `info` of the HPKE boxes that carry audience keys.
const INFO: &[u8] = b"lanyard v1 audience key";

/// Longest name of a recipient in bytes.
const MAX_RECIPIENT: usize = 256;

/// Longest box in bytes; a box has 1,168.
const MAX_BOX: usize = 4_096;

secret! {
    /// `G(a,u,e)`: 32 random bytes of one authority, audience and epoch, deleted when the epoch ends.
    AudienceKey
}
generate!(AudienceKey);

impl AudienceKey {
    /// What stands in the map head; hides the key and fixes it.
    #[must_use]
    pub fn commitment(&self) -> Hash {
        Hash::new(COMMITMENT.derive(&self.0))
    }
}

/// Why a sealed audience key is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AudienceKeyError {
    /// Sealed to another key, or for another event, authority, audience, epoch or recipient, or altered.
    #[error("audience key of {authority} for {audience} in epoch {epoch}: {source}")]
    Box {
        /// Who publishes the directory.
        authority: Authority,
        /// Who the directory is for.
        audience: Audience,
        /// Its epoch.
        epoch: Epoch,
        /// What the box said.
        source: BoxError,
    },
    /// The box opens, but its contents are not the key that the map head commits to.
    #[error(
        "audience key of {authority} for {audience} in epoch {epoch}: not the one that the map head commits to"
    )]
    Commitment {
        /// Who publishes the directory.
        authority: Authority,
        /// Who the directory is for.
        audience: Audience,
        /// Its epoch.
        epoch: Epoch,
    },
}

/// An audience key sealed to one verifier of the manifest; travels with the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedAudienceKey {
    /// Who publishes the directory that it opens.
    pub authority: Authority,
    /// Who that directory is for.
    pub audience: Audience,
    /// The epoch of that directory.
    pub epoch: Epoch,
    /// The verifier's id in the manifest, for example `gate/gate-1`; at most 256 bytes.
    pub recipient: String,
    /// The HPKE box, see [`hpke_box::seal_to`].
    pub bytes: Vec<u8>,
}

impl SealedAudienceKey {
    /// Seals `key` to the verifier called `recipient`.
    ///
    /// # Errors
    /// [`BoxError`] if the recipient's key cannot be used.
    #[allow(clippy::too_many_arguments)] // each one is authenticated
    pub fn seal<R: CryptoRng + ?Sized>(
        key: &AudienceKey,
        event: &EventId,
        authority: Authority,
        audience: Audience,
        epoch: Epoch,
        recipient: &str,
        to: &HpkePublicKey,
        rng: &mut R,
    ) -> Result<Self, BoxError> {
        let aad = additional_data(event, authority, audience, epoch, recipient);
        let bytes = hpke_box::seal_to(to, INFO, &aad, key.expose_bytes(), rng)?;
        Ok(Self { authority, audience, epoch, recipient: recipient.to_owned(), bytes })
    }

    /// Opens the box and compares the key with the `commitment` of the map head.
    ///
    /// # Errors
    /// [`AudienceKeyError`].
    pub fn open(
        &self,
        secret: &HpkeSecretKey,
        event: &EventId,
        commitment: &Hash,
    ) -> Result<AudienceKey, AudienceKeyError> {
        let Self { authority, audience, epoch, .. } = *self;
        let failed = |source| AudienceKeyError::Box { authority, audience, epoch, source };
        let aad = additional_data(event, authority, audience, epoch, &self.recipient);
        let opened = hpke_box::open(secret, INFO, &aad, &self.bytes).map_err(failed)?;
        let bytes = Zeroizing::new(
            <[u8; 32]>::try_from(opened.as_slice()).map_err(|_| failed(BoxError::Open))?,
        );
        let key = AudienceKey::from_bytes(*bytes);
        if key.commitment() == *commitment {
            Ok(key)
        } else {
            Err(AudienceKeyError::Commitment { authority, audience, epoch })
        }
    }

    /// Its encoding: authority (1), audience (1), epoch (4), recipient and box, each with its length.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(14 + self.recipient.len() + self.bytes.len());
        writer
            .u8(self.authority.byte())
            .u8(self.audience.byte())
            .u32(self.epoch.get())
            .field(self.recipient.as_bytes())
            .field(&self.bytes);
        writer.into_vec()
    }

    /// Reads the encoding.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new("sealed audience key", bytes);
        let authority = Authority::from_byte(reader.u8()?)
            .ok_or_else(|| reader.invalid("unknown authority"))?;
        let audience =
            Audience::from_byte(reader.u8()?).ok_or_else(|| reader.invalid("unknown audience"))?;
        let epoch = Epoch::new(reader.u32()?);
        let recipient = reader.text(MAX_RECIPIENT)?.to_owned();
        let bytes = reader.field(MAX_BOX)?.to_vec();
        reader.finish()?;
        Ok(Self { authority, audience, epoch, recipient, bytes })
    }
}

fn additional_data(
    event: &EventId,
    authority: Authority,
    audience: Audience,
    epoch: Epoch,
    recipient: &str,
) -> Vec<u8> {
    join(&[
        event.as_bytes(),
        authority.name().as_bytes(),
        audience.name().as_bytes(),
        &epoch.get().to_be_bytes(),
        recipient.as_bytes(),
    ])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn event() -> EventId {
        EventId::parse("games").unwrap()
    }

    fn sealed() -> (AudienceKey, HpkeSecretKey, SealedAudienceKey) {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let (key, secret) = (AudienceKey::generate(&mut rng), HpkeSecretKey::generate(&mut rng));
        let sealed = SealedAudienceKey::seal(
            &key,
            &event(),
            Authority::Committee,
            Audience::Gate,
            Epoch::new(4),
            "gate/gate-1",
            &secret.public_key(),
            &mut rng,
        );
        (key, secret, sealed.unwrap())
    }

    #[test]
    fn the_commitment_is_a_derived_key() {
        let key = AudienceKey::from_bytes([5; 32]);
        let expected = blake3::derive_key("lanyard v1 audience key commitment", &[5; 32]);
        assert_eq!(key.commitment(), Hash::new(expected));
    }

    #[test]
    fn opens_for_its_recipient_and_only_as_what_it_is() {
        let (key, secret, sealed) = sealed();
        let commitment = key.commitment();
        let opened = sealed.open(&secret, &event(), &commitment);
        assert!(opened.is_ok_and(|opened| opened == key));

        let altered: [fn(&mut SealedAudienceKey); 5] = [
            |sealed| sealed.authority = Authority::Police,
            |sealed| sealed.audience = Audience::Sponsor,
            |sealed| sealed.epoch = Epoch::new(5),
            |sealed| sealed.recipient = "gate/gate-2".to_owned(),
            |sealed| sealed.bytes[1_000] ^= 1,
        ];
        for alter in altered {
            let mut other = sealed.clone();
            alter(&mut other);
            let refused = other.open(&secret, &event(), &commitment).err();
            assert!(matches!(refused, Some(AudienceKeyError::Box { .. })), "{refused:?}");
        }
        let other_event = EventId::parse("other").unwrap();
        let refused = sealed.open(&secret, &other_event, &commitment).err();
        assert!(matches!(refused, Some(AudienceKeyError::Box { .. })));
        let other_secret = HpkeSecretKey::from_bytes([1; 32]);
        let refused = sealed.open(&other_secret, &event(), &commitment).err();
        assert!(matches!(refused, Some(AudienceKeyError::Box { .. })));
    }

    #[test]
    fn a_key_that_the_map_head_does_not_commit_to_is_refused() {
        let (_, secret, sealed) = sealed();
        let other = AudienceKey::from_bytes([1; 32]).commitment();
        let refused = sealed.open(&secret, &event(), &other).err();
        assert!(matches!(refused, Some(AudienceKeyError::Commitment { .. })), "{refused:?}");
    }

    #[test]
    fn reads_back_and_refuses_foreign_bytes() {
        let (_, _, sealed) = sealed();
        let bytes = sealed.to_bytes();
        assert_eq!(SealedAudienceKey::from_bytes(&bytes), Ok(sealed));
        for index in [0, 1] {
            let mut other = bytes.clone();
            other[index] = 9;
            let refused = SealedAudienceKey::from_bytes(&other);
            assert!(matches!(refused, Err(CodecError::Invalid { .. })));
        }
        let mut long = bytes.clone();
        long.push(0);
        let refused = SealedAudienceKey::from_bytes(&long);
        assert!(matches!(refused, Err(CodecError::Trailing { .. })));
        let refused = SealedAudienceKey::from_bytes(&bytes[..bytes.len() - 1]);
        assert!(matches!(refused, Err(CodecError::Truncated { .. })));
        let mut oversized = bytes;
        oversized[6] = 1;
        let refused = SealedAudienceKey::from_bytes(&oversized);
        assert!(matches!(refused, Err(CodecError::Oversized { .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(sealed) = SealedAudienceKey::from_bytes(&bytes) {
                prop_assert_eq!(sealed.to_bytes(), bytes);
            }
        }
    }
}
