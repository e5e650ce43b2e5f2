//! Offline proof that a leaf stands in a log (C2SP tlog-proof): index, inclusion proof, cosigned checkpoint.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use thiserror::Error;

use crate::checkpoint::parse_decimal;
use crate::ids::Hash;
use crate::log::{InclusionProof, MAX_PROOF_HASHES};
use crate::note::{MAX_NOTE_BYTES, Note, NoteError};

/// The most bytes of extra data.
pub const MAX_EXTRA_BYTES: usize = 64 * 1024;
/// The most bytes of a proof in text.
pub const MAX_TEXT_BYTES: usize = MAX_NOTE_BYTES + 2 * MAX_EXTRA_BYTES;
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Why a proof's text does not parse.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlogProofError {
    /// More bytes than allowed.
    #[error("log proof: {length} bytes, at most {MAX_TEXT_BYTES} are allowed")]
    TooLong {
        /// Bytes given.
        length: usize,
    },
    /// A line before the checkpoint is malformed.
    #[error("log proof: line {line}: {problem}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The checkpoint's note is malformed.
    #[error("log proof: {0}")]
    Note(#[from] NoteError),
}

/// The proof, none of it verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Opaque data that nothing authenticates.
    pub extra: Option<Vec<u8>>,
    /// The leaf's index, from 0.
    pub index: u64,
    /// Inclusion proof (RFC 6962 section 2.1.1), from the leaf's sibling up.
    pub proof: InclusionProof,
    /// The checkpoint with its cosignatures.
    pub checkpoint: Note,
}

impl TlogProof {
    /// Parses the text form.
    ///
    /// # Errors
    /// [`TlogProofError`].
    pub fn parse(text: &str) -> Result<Self, TlogProofError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(TlogProofError::TooLong { length: text.len() });
        }
        let mut rest = text;
        let mut number = 0;
        let mut next = || {
            number += 1;
            let refused = |problem| TlogProofError::Line { line: number, problem };
            let (line, after) =
                rest.split_once('\n').ok_or_else(|| refused("the text ends too early"))?;
            rest = after;
            Ok::<_, TlogProofError>((number, line))
        };
        let refused = |line, problem| TlogProofError::Line { line, problem };
        if next()?.1 != HEADER {
            return Err(refused(1, "it is not `c2sp.org/tlog-proof@v1`"));
        }
        let (mut line, mut content) = next()?;
        let extra = match content.strip_prefix("extra ") {
            None => None,
            Some(encoded) => {
                let bytes = BASE64.decode(encoded).ok();
                let bytes = bytes.filter(|bytes| bytes.len() <= MAX_EXTRA_BYTES);
                let bytes = bytes.ok_or_else(|| {
                    refused(line, "the extra data is not base64 of at most 64 KiB")
                })?;
                (line, content) = next()?;
                Some(bytes)
            }
        };
        let index = content.strip_prefix("index ").and_then(parse_decimal);
        let index = index.ok_or_else(|| refused(line, "it is not `index NUMBER`"))?;
        let mut hashes = Vec::new();
        let proof = loop {
            let (line, content) = next()?;
            if content.is_empty() {
                let too_many = |_| refused(line, "more than 63 hashes in the proof");
                break InclusionProof::new(hashes).map_err(too_many)?;
            }
            if hashes.len() == MAX_PROOF_HASHES {
                return Err(refused(line, "more than 63 hashes in the proof"));
            }
            let hash = Hash::parse(content);
            hashes.push(hash.map_err(|_| refused(line, "it is not 32 bytes in base64"))?);
        };
        Ok(Self { extra, index, proof, checkpoint: Note::parse(rest)? })
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", BASE64.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.proof.hashes().iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{KeyName, SigningKey};
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha20Rng;

    fn note() -> Note {
        let name = KeyName::parse("example.com/log").unwrap();
        let key = SigningKey::generate(name, &mut ChaCha20Rng::seed_from_u64(1));
        Note::sign("example.com/log\n9\nx\n", &[&key]).unwrap()
    }

    fn sample(extra: Option<Vec<u8>>, hashes: usize) -> TlogProof {
        let proof = InclusionProof::new(vec![Hash::new([3; 32]); hashes]).unwrap();
        TlogProof { extra, index: 8, proof, checkpoint: note() }
    }

    #[test]
    fn malformed_lines_are_named() {
        let good = sample(Some(b"more".to_vec()), 2).to_string();
        let hash = Hash::new([3; 32]).to_string();
        for (expected, bad) in [
            (1, String::new()),
            (1, good.replace("@v1", "@v2")),
            (2, good.replace("extra bW9yZQ==", "extra bW9yZQ")),
            (2, good.replace("extra bW9yZQ==\nindex 8\n", "")),
            (3, good.replace("index 8", "index 08")),
            (4, good.replacen(&hash, "AAAA", 1)),
            (67, good.replacen(&hash, &vec![hash.as_str(); 64].join("\n"), 1)),
        ] {
            match TlogProof::parse(&bad) {
                Err(TlogProofError::Line { line, .. }) => assert_eq!(line, expected, "{bad}"),
                other => panic!("{bad:?} gave {other:?}"),
            }
        }
        let cut = &good[..good.len() - 1];
        assert!(matches!(TlogProof::parse(cut), Err(TlogProofError::Note(_))));
    }

    proptest! {
        #[test]
        fn text_reads_back(extra: Option<Vec<u8>>, hashes in 0usize..64) {
            let proof = sample(extra, hashes);
            prop_assert_eq!(TlogProof::parse(&proof.to_string()), Ok(proof));
        }

        #[test]
        fn parsing_never_panics(text in "(c2sp.org/tlog-proof@v1\n)?(extra |index |[0-9A-Za-z+/=]{0,44}\n|\n){0,9}\\PC{0,9}") {
            let _ = TlogProof::parse(&text);
        }
    }
}
