//! Checkpoints: the signed root of a log at one size (C2SP tlog-checkpoint).

use std::fmt;
use std::ops::Deref;

use thiserror::Error;

use crate::cosignature::VerifiedCosignature;
use crate::ids::{Hash, Origin};
use crate::note::{KeyName, Note, NoteError, SigningKey, VerifyingKey};

/// Why a checkpoint is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The note or its signature is refused.
    #[error("checkpoint: {0}")]
    Note(#[from] NoteError),
    /// The signed text is not a checkpoint.
    #[error("checkpoint: line {line}: {problem}")]
    Text {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Signed only under a key of the log that did not count any more then.
    #[error(
        "checkpoint: size {size} is signed under a replaced key only, which counts up to size {last}"
    )]
    Retired {
        /// The size of the checkpoint.
        size: u64,
        /// The last size that counts under that key.
        last: u64,
    },
    /// The key belongs to another log.
    #[error("checkpoint: it is of the log {found:?}, the key is of {expected}")]
    WrongOrigin {
        /// The origin in the text.
        found: String,
        /// The origin that the key stands for.
        expected: KeyName,
    },
}

/// The root of a log at one size. In text: origin, size and root, a line each, then extension lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint of an authority's log, without extension lines.
    #[must_use]
    pub fn new(origin: &Origin, size: u64, root: Hash) -> Self {
        Self { origin: origin.as_str().to_owned(), size, root, extensions: Vec::new() }
    }

    /// Parses a note's text.
    ///
    /// # Errors
    /// [`CheckpointError::Text`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let refused = |line, problem| CheckpointError::Text { line, problem };
        let body = text.strip_suffix('\n').ok_or_else(|| refused(1, "no final newline"))?;
        let mut lines = body.split('\n');
        let origin = lines.next().filter(|origin| !origin.is_empty());
        let origin = origin.ok_or_else(|| refused(1, "the origin is empty"))?.to_owned();
        let size = lines.next().and_then(parse_decimal);
        let size = size.ok_or_else(|| refused(2, "the size is not a plain decimal number"))?;
        let root = lines.next().and_then(|line| Hash::parse(line).ok());
        let root = root.ok_or_else(|| refused(3, "the root is not 32 bytes in base64"))?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if let Some(empty) = extensions.iter().position(String::is_empty) {
            return Err(refused(4 + empty, "an extension line is empty"));
        }
        Ok(Self { origin, size, root, extensions })
    }

    /// Signs the checkpoint with the log's key, whose name must be the origin.
    ///
    /// # Errors
    /// [`CheckpointError::WrongOrigin`].
    pub fn sign(&self, key: &SigningKey) -> Result<VerifiedCheckpoint, CheckpointError> {
        self.sign_all(&[key])
    }

    /// Signs the checkpoint with each of the log's keys, as while one replaces another.
    ///
    /// # Errors
    /// [`CheckpointError::WrongOrigin`]; [`CheckpointError::Note`] without any key.
    pub fn sign_all(&self, keys: &[&SigningKey]) -> Result<VerifiedCheckpoint, CheckpointError> {
        keys.iter().try_for_each(|key| self.require_origin(key.verifying_key()))?;
        let note = Note::sign(&self.to_string(), keys)?;
        Ok(VerifiedCheckpoint { checkpoint: self.clone(), note })
    }

    /// Which log this is of.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many leaves the log had.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The RFC 6962 root at that size.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root
    }

    /// Opaque lines after the root; our logs write none.
    #[must_use]
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    fn require_origin(&self, key: &VerifyingKey) -> Result<(), CheckpointError> {
        if self.origin == key.name().as_str() {
            return Ok(());
        }
        let (found, expected) = (self.origin.clone(), key.name().clone());
        Err(CheckpointError::WrongOrigin { found, expected })
    }
}

impl fmt::Display for Checkpoint {
    /// The text that is signed, its final newline included.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, size, root, extensions } = self;
        write!(f, "{origin}\n{size}\n{root}\n")?;
        extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A checkpoint signed by its log, with whatever cosignature lines came along, not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

impl VerifiedCheckpoint {
    /// The note: text, the log's signature and other lines.
    #[must_use]
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// The checkpoint without its signatures.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Adds a cosignature's line to the note, once.
    ///
    /// # Errors
    /// [`NoteError::TooManySignatures`].
    pub fn attach(&mut self, cosignature: &VerifiedCosignature) -> Result<(), NoteError> {
        self.note.add(cosignature.line().clone())
    }

    /// Whether the log signed two roots of one size: proof that it is forked, if both are kept.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        self.origin == other.origin && self.size == other.size && self.root != other.root
    }
}

impl Deref for VerifiedCheckpoint {
    type Target = Checkpoint;
    fn deref(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

/// Verifies the signature of the log whose key this is; other lines are ignored.
///
/// # Errors
/// [`CheckpointError`]: not signed by the key, not a checkpoint, or of another log than the key's name says.
pub fn verify_checkpoint(
    note: &Note,
    key: &VerifyingKey,
) -> Result<VerifiedCheckpoint, CheckpointError> {
    let verified = note.verify(std::slice::from_ref(key))?;
    let checkpoint = Checkpoint::parse(verified.text())?;
    checkpoint.require_origin(key)?;
    Ok(VerifiedCheckpoint { checkpoint, note: note.clone() })
}

/// A decimal number as C2SP writes it: ASCII digits, no sign, no leading zero but in `0`.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Authority, EventId};
    use crate::log;
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha20Rng;

    const FOREIGN_KEY: &str =
        "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx";
    const FOREIGN_ENTRIES: &str =
        "one two three four five six seven eit nain ten ileven twelf threeten fourten fivten";

    fn log_key(authority: Authority) -> (Origin, SigningKey) {
        let origin = Origin::new(&EventId::parse("games-2028").unwrap(), authority);
        let name = KeyName::parse(origin.as_str()).unwrap();
        (origin, SigningKey::generate(name, &mut ChaCha20Rng::seed_from_u64(1)))
    }

    /// Checkpoints of a log that other people's software wrote (transparency-dev/tessera).
    #[test]
    fn foreign_checkpoints_verify_and_their_roots_are_recomputed() {
        let Ok(shared) = std::env::var("LANYARD_SHARED") else {
            println!("skipped: LANYARD_SHARED not set");
            return;
        };
        let key = VerifyingKey::parse(FOREIGN_KEY).unwrap();
        let mut log = log::Log::new();
        let mut entries = FOREIGN_ENTRIES.split(' ');
        for size in 0..16 {
            let path = format!("{shared}/vectors/tlog/checkpoint.{size}");
            let text = std::fs::read_to_string(path).unwrap();
            let note = Note::parse(&text).unwrap();
            let checkpoint = verify_checkpoint(&note, &key).unwrap();
            assert_eq!((checkpoint.size(), checkpoint.root()), (size, log.root()));
            assert_eq!(note.to_string(), text);
            let changed = Note::parse(&text.replacen(&size.to_string(), "99", 1)).unwrap();
            assert!(matches!(
                verify_checkpoint(&changed, &key),
                Err(CheckpointError::Note(NoteError::BadSignature { .. }))
            ));
            if let Some(entry) = entries.next() {
                log.append(log::leaf_hash(entry.as_bytes()));
            }
        }
    }

    #[test]
    fn malformed_text_is_refused_by_line() {
        let root = Hash::new([7; 32]).to_string();
        let cases = [
            (1, String::new()),
            (1, "a\n1".to_owned()),
            (1, format!("\n1\n{root}\n")),
            (2, "a\n".to_owned()),
            (2, format!("a\n01\n{root}\n")),
            (2, format!("a\n+1\n{root}\n")),
            (2, format!("a\n\n{root}\n")),
            (2, format!("a\n18446744073709551616\n{root}\n")),
            (3, "a\n1\n".to_owned()),
            (3, format!("a\n1\n{}\n", &root[..40])),
            (4, format!("a\n1\n{root}\n\n")),
            (5, format!("a\n1\n{root}\nx\n\n")),
        ];
        for (expected, text) in cases {
            match Checkpoint::parse(&text) {
                Err(CheckpointError::Text { line, .. }) => assert_eq!(line, expected, "{text:?}"),
                other => panic!("{text:?} gave {other:?}"),
            }
        }
    }

    #[test]
    fn a_key_of_another_log_is_refused() {
        let (origin, key) = log_key(Authority::Committee);
        let (other_origin, other_key) = log_key(Authority::Police);
        let checkpoint = Checkpoint::new(&other_origin, 1, Hash::new([1; 32]));
        assert!(matches!(checkpoint.sign(&key), Err(CheckpointError::WrongOrigin { .. })));
        // Even when the committee's key really signed a checkpoint of the police's log.
        let note = Note::sign(&checkpoint.to_string(), &[&key]).unwrap();
        let refused = verify_checkpoint(&note, key.verifying_key());
        assert!(matches!(refused, Err(CheckpointError::WrongOrigin { .. })));
        let own = Checkpoint::new(&origin, 1, Hash::new([1; 32])).sign(&key).unwrap();
        assert!(verify_checkpoint(own.note(), key.verifying_key()).is_ok());
        let refused = verify_checkpoint(own.note(), other_key.verifying_key());
        assert!(matches!(refused, Err(CheckpointError::Note(NoteError::Unsigned { .. }))));
    }

    #[test]
    fn two_roots_of_one_size_contradict() {
        let (origin, key) = log_key(Authority::Committee);
        let sign =
            |size, root| Checkpoint::new(&origin, size, Hash::new([root; 32])).sign(&key).unwrap();
        assert!(sign(4, 1).contradicts(&sign(4, 2)));
        assert!(!sign(4, 1).contradicts(&sign(4, 1)));
        assert!(!sign(4, 1).contradicts(&sign(5, 2)));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "([a0-9+/=]{0,45}\n?){0,5}|\\PC*") {
            if let Ok(checkpoint) = Checkpoint::parse(&text) {
                prop_assert_eq!(checkpoint.to_string(), text);
            }
        }

        #[test]
        fn text_reads_back(origin in "[!-~]{1,20}", size: u64, root: [u8; 32], more in prop::collection::vec("[!-~]{1,9}", 0..3)) {
            let checkpoint = Checkpoint { origin, size, root: Hash::new(root), extensions: more };
            prop_assert_eq!(Checkpoint::parse(&checkpoint.to_string()), Ok(checkpoint));
        }
    }
}
