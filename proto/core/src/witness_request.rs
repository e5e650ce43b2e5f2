//! What a log asks of a witness, and what the witness answers (C2SP tlog-witness, `add-checkpoint`), without the HTTP.

use std::fmt;

use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError, VerifiedCheckpoint, parse_decimal};
use crate::ids::Hash;
use crate::log::{self, ConsistencyProof, MAX_PROOF_HASHES};
use crate::manifest::LogKeys;
use crate::note::{MAX_NOTE_BYTES, Note, NoteError, VerifyingKey};

/// The most bytes of a request's body.
pub const MAX_REQUEST_BYTES: usize = MAX_NOTE_BYTES + 4 * 1024;
/// The content type of the answer 409, whose body is [`Refused::body`].
pub const CONFLICT_CONTENT_TYPE: &str = "text/x.tlog.size";

/// Why a request's body does not parse: the answer is 400.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// More bytes than allowed.
    #[error("add-checkpoint: {length} bytes, at most {MAX_REQUEST_BYTES} are allowed")]
    TooLong {
        /// Bytes given.
        length: usize,
    },
    /// Not UTF-8.
    #[error("add-checkpoint: not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// Where the first bad byte stands.
        offset: usize,
    },
    /// A line before the checkpoint is malformed.
    #[error("add-checkpoint: line {line}: {problem}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The checkpoint's note is malformed.
    #[error("add-checkpoint: {0}")]
    Note(#[from] NoteError),
}

/// The body of `add-checkpoint`: a new checkpoint and the proof that it extends the one that the witness knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the log believes the witness to know; 0 if none.
    pub old: u64,
    /// Consistency proof from `old` to the checkpoint (RFC 6962 section 2.1.2), at most 63 hashes.
    pub proof: ConsistencyProof,
    /// The signed checkpoint, not verified.
    pub note: Note,
}

impl AddCheckpoint {
    /// The body as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.to_string()
    }

    /// Parses a body.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn parse(body: &[u8]) -> Result<Self, RequestError> {
        if body.len() > MAX_REQUEST_BYTES {
            return Err(RequestError::TooLong { length: body.len() });
        }
        let body = std::str::from_utf8(body)
            .map_err(|error| RequestError::NotUtf8 { offset: error.valid_up_to() })?;
        let refused = |line, problem| RequestError::Line { line, problem };
        let (first, mut rest) =
            body.split_once('\n').ok_or_else(|| refused(1, "no line `old SIZE`"))?;
        let old = first.strip_prefix("old ").and_then(parse_decimal);
        let old = old.ok_or_else(|| refused(1, "it is not `old SIZE`"))?;
        let mut hashes = Vec::new();
        let proof = loop {
            let number = hashes.len() + 2;
            let (line, after) = rest
                .split_once('\n')
                .ok_or_else(|| refused(number, "no empty line before the checkpoint"))?;
            rest = after;
            if line.is_empty() {
                let too_many = |_| refused(number, "more than 63 hashes in the proof");
                break ConsistencyProof::new(hashes).map_err(too_many)?;
            }
            if hashes.len() == MAX_PROOF_HASHES {
                return Err(refused(number, "more than 63 hashes in the proof"));
            }
            let hash = Hash::parse(line);
            hashes.push(hash.map_err(|_| refused(number, "it is not 32 bytes in base64"))?);
        };
        Ok(Self { old, proof, note: Note::parse(rest)? })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.hashes().iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.note)
    }
}

/// Why a checkpoint does not follow what was known of its log. Signed by the log, each is worth keeping as evidence.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inconsistent {
    /// Smaller than what is known: a rollback, or only late.
    #[error("log: size {size} is behind the known {known}")]
    Behind {
        /// The size known.
        known: u64,
        /// The size given.
        size: u64,
    },
    /// Another root of the known size: the log is forked.
    #[error("log: forked, it has two roots of size {size}")]
    Forked {
        /// The size of both.
        size: u64,
    },
    /// The consistency proof does not verify: the log is forked or the proof is wrong.
    #[error("log: no valid proof that size {size} extends the known {known}")]
    Unproven {
        /// The size known.
        known: u64,
        /// The size given.
        size: u64,
    },
}

/// Why a witness does not cosign, with the status that C2SP tlog-witness prescribes.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// 400: the text is no checkpoint, or older than the size that the request starts from.
    #[error("refused: the request is malformed or its old size exceeds the checkpoint's")]
    BadRequest,
    /// 403: not signed by the log's key.
    #[error("refused: the checkpoint is not signed by the log's key")]
    BadSignature,
    /// 404: a checkpoint of another log.
    #[error("refused: the log is not known here")]
    NotFound,
    /// 409: the request starts from another size than the one known.
    #[error("refused: the size known is {known_size}")]
    Conflict {
        /// The size of the latest cosigned checkpoint.
        known_size: u64,
    },
    /// 409 as well: another root of the size known; the log has signed a fork.
    #[error("refused: the log has signed two roots of size {known_size}")]
    Forked {
        /// The size of both checkpoints.
        known_size: u64,
    },
    /// 422: the consistency proof does not verify.
    #[error("refused: the consistency proof does not verify")]
    Unprocessable,
}

impl Refused {
    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::BadSignature => 403,
            Self::NotFound => 404,
            Self::Conflict { .. } | Self::Forked { .. } => 409,
            Self::Unprocessable => 422,
        }
    }

    /// The body of the answer: for 409 the known size and a newline, as [`CONFLICT_CONTENT_TYPE`].
    #[must_use]
    pub fn body(&self) -> String {
        match self {
            Self::Conflict { known_size } | Self::Forked { known_size } => {
                format!("{known_size}\n")
            }
            other => format!("{other}\n"),
        }
    }
}

/// A checkpoint that the witness may cosign once the new memory is durable.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// What the witness must persist before it answers, if it differs from what it knew.
    pub memory: WitnessMemory,
    /// The checkpoint to cosign; its note is a fitting form to persist.
    pub checkpoint: VerifiedCheckpoint,
}

/// The newest size and root known of one log: what a witness remembers, and every other verifier as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WitnessMemory {
    size: u64,
    root: Hash,
}

impl WitnessMemory {
    /// Nothing seen yet: size 0, the root of the empty log.
    #[must_use]
    pub fn empty() -> Self {
        Self { size: 0, root: log::empty_root() }
    }

    /// What a kept checkpoint says.
    #[must_use]
    pub fn of(checkpoint: &Checkpoint) -> Self {
        Self { size: checkpoint.size(), root: checkpoint.root() }
    }

    /// The size known.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root known.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root
    }

    /// Follows the log to `checkpoint`, which must extend what is known, or repeat it.
    ///
    /// # Errors
    /// [`Inconsistent`]; the memory stays as it is.
    pub fn advance(
        &self,
        checkpoint: &VerifiedCheckpoint,
        proof: &ConsistencyProof,
    ) -> Result<Self, Inconsistent> {
        let (known, next) = (self.size, Self::of(checkpoint));
        let size = next.size;
        if size < known {
            return Err(Inconsistent::Behind { known, size });
        }
        if size == known && next.root != self.root {
            return Err(Inconsistent::Forked { size });
        }
        log::verify_consistency(known, &self.root, size, &next.root, proof)
            .map_err(|_| Inconsistent::Unproven { known, size })?;
        Ok(next)
    }

    /// Decides on a request, in the order that C2SP tlog-witness gives. The caller compares, persists and answers
    /// under one lock a log.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn consider(&self, request: &AddCheckpoint, log: &LogKeys) -> Result<Accepted, Refused> {
        let checkpoint = match log.verify(&request.note) {
            Ok(checkpoint) => checkpoint,
            Err(error) => return Err(refusal(&error, &request.note, log.current())),
        };
        if request.old > checkpoint.size() {
            return Err(Refused::BadRequest);
        }
        if request.old != self.size {
            return Err(Refused::Conflict { known_size: self.size });
        }
        match self.advance(&checkpoint, &request.proof) {
            Ok(memory) => Ok(Accepted { memory, checkpoint }),
            Err(Inconsistent::Behind { .. }) => Err(Refused::Conflict { known_size: self.size }),
            Err(Inconsistent::Forked { size }) => Err(Refused::Forked { known_size: size }),
            Err(Inconsistent::Unproven { .. }) => Err(Refused::Unprocessable),
        }
    }
}

fn refusal(error: &CheckpointError, note: &Note, log_key: &VerifyingKey) -> Refused {
    let Ok(claimed) = Checkpoint::parse(note.text()) else {
        return Refused::BadRequest;
    };
    if claimed.origin() != log_key.name().as_str() {
        return Refused::NotFound;
    }
    match error {
        CheckpointError::Text { .. } => Refused::BadRequest,
        CheckpointError::WrongOrigin { .. } => Refused::NotFound,
        CheckpointError::Note(_) | CheckpointError::Retired { .. } => Refused::BadSignature,
    }
}

#[cfg(test)]
mod tests;
