//! Disclosures: one identity, with the preimage of its binding, from the committee to the police.
//!
//! Sealed to the police's HPKE key of the manifest (RFC 9180) under an `info` of its own, and to one request: what answers
//! one does not answer another. The police recompute the binding from what they are shown, so the committee cannot show
//! another person than the one that it submitted.

use rand::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::binding::{Binding, BindingSalt};
use crate::codec::{CodecError, Reader, Writer, join};
use crate::hpke_box::{self, BoxError, HpkePublicKey, HpkeSecretKey};
use crate::identity::{IdentityKey, person_keys};
use crate::ids::{BadgeNumber, EventId, Hash};

/// `info` of the HPKE boxes that carry identities.
const INFO: &[u8] = b"lanyard v1 disclosure";
/// Version of the encoding.
const VERSION: u8 = 1;
/// Longest text in bytes: the committee takes 200 characters.
const MAX_TEXT: usize = 800;
/// Documents that one person can have.
const MAX_DOCUMENTS: u8 = 32;

/// The id of the police's key among the manifest's verifiers.
pub const RECIPIENT: &str = "police/police";

/// Why a disclosure cannot be read.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DisclosureError {
    /// Sealed to another key, for another event or request, or altered.
    #[error("disclosure: {0}")]
    Box(#[from] BoxError),
    /// The contents are malformed.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// A document as the committee has it.
#[derive(Clone, PartialEq, Eq)]
pub struct DisclosedDocument {
    /// `passport`, `national-id`, `residence` or `other`.
    pub kind: String,
    /// The issuing state, ICAO 9303 three letters.
    pub issuer: String,
    /// Its number.
    pub number: String,
}

/// One person as the committee submitted them: what an officer reads, and the whole preimage of the binding.
pub struct DisclosedIdentity {
    /// Full name.
    pub full_name: Zeroizing<String>,
    /// The name in the letters of a travel document; empty if the full name is.
    pub latin_name: Zeroizing<String>,
    /// As [`crate::identity::BirthDates`] reads it; empty if unknown.
    pub birth_date: Zeroizing<String>,
    /// Documents.
    pub documents: Vec<DisclosedDocument>,
    /// BLAKE3 of the portrait, if there is one.
    pub portrait: Option<Hash>,
    /// The badge's number.
    pub badge_number: BadgeNumber,
    /// The salt of the binding.
    pub salt: BindingSalt,
}

impl Drop for DisclosedIdentity {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        for document in &mut self.documents {
            document.issuer.zeroize();
            document.number.zeroize();
        }
    }
}

impl DisclosedIdentity {
    /// The identity keys that follow from it.
    #[must_use]
    pub fn keys(&self, event: &EventId) -> Vec<IdentityKey> {
        let documents = self.documents.iter();
        let documents = documents.map(|one| [&*one.kind, &*one.issuer, &*one.number]);
        person_keys(event, &self.latin_name, &self.full_name, &self.birth_date, documents)
    }

    /// The binding that it is the preimage of.
    #[must_use]
    pub fn binding(&self, event: &EventId) -> Binding {
        let keys = self.keys(event);
        let keys: Vec<&[u8]> = keys.iter().map(IdentityKey::as_bytes).collect();
        Binding::compute(&self.salt, &keys, self.portrait.as_ref(), self.badge_number)
    }

    /// Its encoding: version (1), badge number (4), salt (32), portrait, full name, Latin name and birth date, each with its length, the number
    /// of documents (1), and of each kind, issuer and number with their lengths.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // Large enough for all of it: a vector that grows leaves copies behind.
        let mut writer = Writer::with_capacity(64 + (4 + 3 * self.documents.len()) * MAX_TEXT);
        writer
            .u8(VERSION)
            .u32(self.badge_number.get())
            .raw(self.salt.expose_bytes())
            .field(self.portrait.as_ref().map_or(&[][..], |hash| hash.as_bytes()))
            .field(self.full_name.as_bytes())
            .field(self.latin_name.as_bytes())
            .field(self.birth_date.as_bytes())
            .u8(u8::try_from(self.documents.len()).unwrap_or(u8::MAX));
        for document in &self.documents {
            writer
                .field(document.kind.as_bytes())
                .field(document.issuer.as_bytes())
                .field(document.number.as_bytes());
        }
        Zeroizing::new(writer.into_vec())
    }

    /// Reads the encoding.
    ///
    /// # Errors
    /// [`CodecError`], which repeats nothing of it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new("disclosed identity", bytes);
        if reader.u8()? != VERSION {
            return Err(reader.invalid("unknown version"));
        }
        let badge_number = BadgeNumber::new(reader.u32()?);
        let salt = BindingSalt::from_bytes(reader.array()?);
        let portrait = match reader.field(Hash::SIZE)? {
            [] => None,
            hash => Some(Hash::new(hash.try_into().map_err(|_| reader.invalid("no hash"))?)),
        };
        let full_name = Zeroizing::new(reader.text(MAX_TEXT)?.to_owned());
        let latin_name = Zeroizing::new(reader.text(MAX_TEXT)?.to_owned());
        let birth_date = Zeroizing::new(reader.text(MAX_TEXT)?.to_owned());
        let count = reader.u8()?;
        if count > MAX_DOCUMENTS {
            return Err(reader.invalid("too many documents"));
        }
        let mut documents = Vec::with_capacity(count.into());
        for _ in 0..count {
            documents.push(DisclosedDocument {
                kind: reader.text(MAX_TEXT)?.to_owned(),
                issuer: reader.text(MAX_TEXT)?.to_owned(),
                number: reader.text(MAX_TEXT)?.to_owned(),
            });
        }
        reader.finish()?;
        Ok(Self { full_name, latin_name, birth_date, documents, portrait, badge_number, salt })
    }

    /// Seals it to the police, as the answer to one request about one subject.
    ///
    /// # Errors
    /// [`BoxError`] if the key cannot be used.
    pub fn seal<R: CryptoRng + ?Sized>(
        &self,
        event: &EventId,
        request: u64,
        subject_id: &[u8],
        to: &HpkePublicKey,
        rng: &mut R,
    ) -> Result<Vec<u8>, BoxError> {
        let aad = additional_data(event, request, subject_id);
        hpke_box::seal_to(to, INFO, &aad, &self.to_bytes(), rng)
    }

    /// Opens what answers this request about this subject.
    ///
    /// # Errors
    /// [`DisclosureError`].
    pub fn open(
        secret: &HpkeSecretKey,
        event: &EventId,
        request: u64,
        subject_id: &[u8],
        sealed: &[u8],
    ) -> Result<Self, DisclosureError> {
        let aad = additional_data(event, request, subject_id);
        Ok(Self::from_bytes(&hpke_box::open(secret, INFO, &aad, sealed)?)?)
    }
}

fn additional_data(event: &EventId, request: u64, subject_id: &[u8]) -> Vec<u8> {
    join(&[event.as_bytes(), &request.to_be_bytes(), subject_id])
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

    fn identity(name: &str) -> DisclosedIdentity {
        DisclosedIdentity {
            full_name: name.to_owned().into(),
            latin_name: String::new().into(),
            birth_date: "1964-08-12".to_owned().into(),
            documents: vec![DisclosedDocument {
                kind: "passport".into(),
                issuer: "UTO".into(),
                number: "C01X00T47".into(),
            }],
            portrait: Some(Hash::new([4; 32])),
            badge_number: BadgeNumber::new(17),
            salt: BindingSalt::from_bytes([3; 32]),
        }
    }

    #[test]
    fn the_binding_is_that_of_the_keys_and_of_nobody_else() {
        let shown = identity("Erika Müller");
        let binding = shown.binding(&event());
        let keys = shown.keys(&event());
        let bytes: Vec<&[u8]> = keys.iter().map(IdentityKey::as_bytes).collect();
        let submitted =
            Binding::compute(&shown.salt, &bytes, Some(&Hash::new([4; 32])), BadgeNumber::new(17));
        assert!(binding.agrees_with(&submitted));
        assert!(!identity("Erika Möller").binding(&event()).agrees_with(&submitted));
        let mut other = identity("Erika Müller");
        other.portrait = None;
        assert!(!other.binding(&event()).agrees_with(&submitted));
    }

    #[test]
    fn opens_for_the_police_and_as_the_answer_to_its_request_only() {
        let mut rng = ChaCha20Rng::seed_from_u64(8);
        let secret = HpkeSecretKey::generate(&mut rng);
        let shown = identity("Erika Müller");
        let sealed = shown.seal(&event(), 7, b"subject", &secret.public_key(), &mut rng).unwrap();
        let open = |secret: &HpkeSecretKey, request, subject: &[u8]| {
            DisclosedIdentity::open(secret, &event(), request, subject, &sealed)
        };
        let opened = open(&secret, 7, b"subject").ok().unwrap();
        assert_eq!(*opened.to_bytes(), *shown.to_bytes());
        let refused = Some(DisclosureError::Box(BoxError::Open));
        assert_eq!(open(&secret, 8, b"subject").err(), refused);
        assert_eq!(open(&secret, 7, b"another").err(), refused);
        assert_eq!(open(&HpkeSecretKey::from_bytes([1; 32]), 7, b"subject").err(), refused);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            if let Ok(read) = DisclosedIdentity::from_bytes(&bytes) {
                prop_assert_eq!(&*read.to_bytes(), &bytes);
            }
        }

        #[test]
        fn a_mutated_encoding_reads_as_itself_or_not_at_all(at in 0_usize..100, to in any::<u8>()) {
            let mut bytes = identity("Erika Müller").to_bytes();
            let at = at % bytes.len();
            bytes[at] = to;
            if let Ok(read) = DisclosedIdentity::from_bytes(&bytes) {
                prop_assert_eq!(&*read.to_bytes(), &*bytes);
            }
        }
    }
}
