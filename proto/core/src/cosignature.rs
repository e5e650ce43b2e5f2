//! Cosignatures: what a witness says of a checkpoint, and when (C2SP tlog-cosignature, Ed25519 `cosignature/v1`).

use rand::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::checkpoint::VerifiedCheckpoint;
use crate::ids::Timestamp;
use crate::note::{Algorithm, KeyName, KeyPair, NoteError, NoteSignature, VerifyingKey};

/// Bytes of a timestamped signature: seconds as a big-endian `u64`, then 64 of Ed25519.
const SIGNATURE_BYTES: usize = 8 + 64;
/// The latest time that a cosignature can carry, in seconds.
const MAX_SECONDS: u64 = i64::MAX as u64;

/// Why a cosignature is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CosignatureError {
    /// A key that is not a witness's was given.
    #[error("cosignature: {0}")]
    Key(#[from] NoteError),
    /// The signature of a known witness is malformed or does not verify.
    #[error("cosignature: the one by witness {witness} does not verify")]
    Bad {
        /// Whose it is said to be.
        witness: KeyName,
    },
    /// A time beyond 2^63 - 1 seconds.
    #[error("cosignature: {seconds} seconds since 1970 is no time that one can carry")]
    Time {
        /// The time, in seconds since the Unix epoch.
        seconds: u64,
    },
}

/// A witness's key (algorithm `0x04`). Zeroised on drop; a type of its own, so that no other text is signed with it.
pub struct WitnessKey(KeyPair);

impl WitnessKey {
    /// Draws a key.
    pub fn generate(name: KeyName, rng: &mut impl CryptoRng) -> Self {
        Self(KeyPair::generate(name, Algorithm::CosignatureV1, rng))
    }

    /// Parses `PRIVATE+KEY+NAME+ID+BASE64(0x04 ‖ 32-byte seed)`.
    ///
    /// # Errors
    /// [`NoteError::Key`], [`NoteError::Name`], [`NoteError::WrongAlgorithm`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        KeyPair::parse("witness", Algorithm::CosignatureV1, text).map(Self)
    }

    /// The text form, secret.
    #[must_use]
    pub fn format(&self) -> Zeroizing<String> {
        self.0.format()
    }

    /// The public half.
    #[must_use]
    pub fn verifying_key(&self) -> &VerifyingKey {
        self.0.verifying_key()
    }

    /// Cosigns a checkpoint as of `now`, cut to whole seconds. The witness must have persisted it before.
    ///
    /// # Errors
    /// [`CosignatureError::Time`].
    pub fn cosign(
        &self,
        checkpoint: &VerifiedCheckpoint,
        now: Timestamp,
    ) -> Result<VerifiedCosignature, CosignatureError> {
        let seconds = now.seconds();
        if seconds > MAX_SECONDS {
            return Err(CosignatureError::Time { seconds });
        }
        let signature = self.0.sign(&message(checkpoint.note().text(), seconds));
        let bytes = [seconds.to_be_bytes().as_slice(), &signature].concat();
        let line = NoteSignature::new(self.verifying_key(), bytes);
        let (witness, time) = (self.verifying_key().clone(), Timestamp::from_seconds(seconds));
        Ok(VerifiedCosignature { witness, time, line })
    }
}

/// What is signed: a fixed header, the time, and the whole text of the checkpoint.
fn message(text: &str, seconds: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {seconds}\n{text}").into_bytes()
}

/// A known witness's statement: as of `time`, this was the largest consistent checkpoint that it had seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCosignature {
    witness: VerifyingKey,
    time: Timestamp,
    line: NoteSignature,
}

impl VerifiedCosignature {
    /// The witness's key.
    #[must_use]
    pub fn witness(&self) -> &VerifyingKey {
        &self.witness
    }

    /// When the witness says that it cosigned, in whole seconds.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// The same statement of a witness that made it under an earlier key.
    pub(crate) fn attributed_to(self, witness: &VerifyingKey) -> Self {
        Self { witness: witness.clone(), ..self }
    }

    /// The signature line, to be attached to the checkpoint.
    #[must_use]
    pub fn line(&self) -> &NoteSignature {
        &self.line
    }
}

/// Verifies the cosignatures that came with a checkpoint: one a witness, its newest. Lines of unknown keys, the log's
/// own among them, are ignored.
///
/// # Errors
/// [`CosignatureError::Bad`] names a known witness whose signature does not verify: whoever passed it on altered it.
pub fn verify_cosignatures(
    checkpoint: &VerifiedCheckpoint,
    witnesses: &[VerifyingKey],
) -> Result<Vec<VerifiedCosignature>, CosignatureError> {
    verify_cosignature_lines(checkpoint, checkpoint.note().signatures(), witnesses)
}

/// Verifies cosignatures that came apart from the checkpoint, as a witness's answer does.
///
/// # Errors
/// As [`verify_cosignatures`].
pub fn verify_cosignature_lines(
    checkpoint: &VerifiedCheckpoint,
    lines: &[NoteSignature],
    witnesses: &[VerifyingKey],
) -> Result<Vec<VerifiedCosignature>, CosignatureError> {
    let mut verified = Vec::new();
    for witness in witnesses {
        witness.require(Algorithm::CosignatureV1)?;
        for line in lines.iter().filter(|line| line.is_by(witness)) {
            let time = verify_line(checkpoint.note().text(), line, witness)
                .ok_or_else(|| CosignatureError::Bad { witness: witness.name().clone() })?;
            verified.push(VerifiedCosignature {
                witness: witness.clone(),
                time,
                line: line.clone(),
            });
        }
    }
    Ok(newest_of_each(&verified).into_iter().cloned().collect())
}

fn verify_line(text: &str, line: &NoteSignature, witness: &VerifyingKey) -> Option<Timestamp> {
    let bytes: &[u8; SIGNATURE_BYTES] = line.signature().try_into().ok()?;
    let (seconds, signature) = bytes.split_first_chunk::<8>()?;
    let seconds = u64::from_be_bytes(*seconds);
    if seconds > MAX_SECONDS {
        return None;
    }
    witness.verify(&message(text, seconds), signature)?;
    Some(Timestamp::from_seconds(seconds))
}

/// One cosignature a witness, newest first. Witnesses are told apart by their public keys: a name costs nothing.
fn newest_of_each(cosignatures: &[VerifiedCosignature]) -> Vec<&VerifiedCosignature> {
    let mut sorted: Vec<_> = cosignatures.iter().collect();
    sorted.sort_by_key(|cosignature| std::cmp::Reverse(cosignature.time));
    let mut newest: Vec<&VerifiedCosignature> = Vec::new();
    for cosignature in sorted {
        let public = cosignature.witness.public_key();
        if newest.iter().all(|other| other.witness.public_key() != public) {
            newest.push(cosignature);
        }
    }
    newest
}

/// The time that `quorum` witnesses vouch for: the `quorum`-th newest, one time a witness. Fewer than `quorum` lying
/// witnesses cannot move it past every honest one's. `None` if too few cosigned, or if `quorum` is 0.
#[must_use]
pub fn quorum_time(cosignatures: &[VerifiedCosignature], quorum: u8) -> Option<Timestamp> {
    let index = usize::from(quorum).checked_sub(1)?;
    newest_of_each(cosignatures).get(index).map(|cosignature| cosignature.time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Checkpoint, verify_checkpoint};
    use crate::ids::{Authority, EventId, Hash, Origin};
    use crate::note::{Note, SigningKey};
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha20Rng;

    fn checkpoint(size: u64) -> (VerifiedCheckpoint, SigningKey) {
        let origin = Origin::new(&EventId::parse("games-2028").unwrap(), Authority::Committee);
        let name = KeyName::parse(origin.as_str()).unwrap();
        let key = SigningKey::generate(name, &mut ChaCha20Rng::seed_from_u64(1));
        (Checkpoint::new(&origin, size, Hash::new([5; 32])).sign(&key).unwrap(), key)
    }

    fn witness(seed: u64) -> WitnessKey {
        let name = KeyName::parse(&format!("witness/{seed}")).unwrap();
        WitnessKey::generate(name, &mut ChaCha20Rng::seed_from_u64(seed))
    }

    fn public(witnesses: &[&WitnessKey]) -> Vec<VerifyingKey> {
        witnesses.iter().map(|witness| witness.verifying_key().clone()).collect()
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn the_message_is_the_specified_one() {
        let expected = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n\
            CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let text = &expected[expected.find("example").unwrap()..];
        assert_eq!(message(text, 1_679_315_147), expected.as_bytes());
    }

    #[test]
    fn cosignatures_travel_in_the_note_and_give_the_quorum_time() {
        let (mut signed, log) = checkpoint(9);
        let (a, b, c) = (witness(1), witness(2), witness(3));
        for (witness, seconds) in [(&a, 100), (&b, 300), (&c, 200)] {
            signed.attach(&witness.cosign(&signed, at(seconds)).unwrap()).unwrap();
        }
        let note = Note::parse(&signed.note().to_string()).unwrap();
        let read = verify_checkpoint(&note, log.verifying_key()).unwrap();
        let cosignatures = verify_cosignatures(&read, &public(&[&a, &b, &c])).unwrap();
        assert_eq!(quorum_time(&cosignatures, 1), Some(at(300)));
        assert_eq!(quorum_time(&cosignatures, 2), Some(at(200)));
        assert_eq!(quorum_time(&cosignatures, 3), Some(at(100)));
        assert_eq!(quorum_time(&cosignatures, 4), None);
        assert_eq!(quorum_time(&cosignatures, 0), None);
        // An unknown witness's line is ignored, not an error.
        let known = verify_cosignatures(&read, &public(&[&a])).unwrap();
        assert_eq!(quorum_time(&known, 2), None);
    }

    #[test]
    fn a_witness_counts_once_however_often_and_under_whatever_name_it_signs() {
        let (mut signed, _) = checkpoint(9);
        let a = witness(1);
        let other_name = KeyName::parse("witness/alias").unwrap();
        let alias = WitnessKey::generate(other_name, &mut ChaCha20Rng::seed_from_u64(1));
        for (witness, seconds) in [(&a, 100), (&a, 200), (&alias, 300)] {
            signed.attach(&witness.cosign(&signed, at(seconds)).unwrap()).unwrap();
        }
        let cosignatures = verify_cosignatures(&signed, &public(&[&a, &alias, &a])).unwrap();
        assert_eq!(quorum_time(&cosignatures, 1), Some(at(300)));
        assert_eq!(quorum_time(&cosignatures, 2), None);
        let twice = [cosignatures.clone(), cosignatures].concat();
        assert_eq!(quorum_time(&twice, 2), None);
    }

    #[test]
    fn a_cosignature_of_another_checkpoint_or_time_names_the_witness() {
        let (signed, _) = checkpoint(9);
        let (other, _) = checkpoint(10);
        let a = witness(1);
        let expected = CosignatureError::Bad { witness: a.verifying_key().name().clone() };
        let foreign = a.cosign(&other, at(5)).unwrap().line().clone();
        let refused = verify_cosignature_lines(&signed, &[foreign], &public(&[&a]));
        assert_eq!(refused, Err(expected.clone()));
        let good = a.cosign(&signed, at(5)).unwrap().line().clone();
        assert!(
            verify_cosignature_lines(&signed, std::slice::from_ref(&good), &public(&[&a])).is_ok()
        );
        for (index, to) in [(7, 6), (0, 0x80), (71, 0xff)] {
            let mut bytes = good.signature().to_vec();
            bytes[index] = to;
            let line = NoteSignature::new(a.verifying_key(), bytes);
            let refused = verify_cosignature_lines(&signed, &[line], &public(&[&a]));
            assert_eq!(refused, Err(expected.clone()));
        }
        let short = NoteSignature::new(a.verifying_key(), good.signature()[8..].to_vec());
        assert_eq!(verify_cosignature_lines(&signed, &[short], &public(&[&a])), Err(expected));
    }

    #[test]
    fn kinds_of_keys_do_not_mix() {
        let (signed, log) = checkpoint(9);
        let a = witness(1);
        let refused = verify_cosignatures(&signed, &[log.verifying_key().clone()]);
        assert!(matches!(refused, Err(CosignatureError::Key(NoteError::WrongAlgorithm { .. }))));
        assert!(SigningKey::parse(&a.format()).is_err());
        assert!(WitnessKey::parse(&log.format()).is_err());
        let again = WitnessKey::parse(&a.format()).unwrap();
        assert_eq!(again.verifying_key(), a.verifying_key());
        assert!(signed.note().verify(&public(&[&a])).is_err());
    }
}
