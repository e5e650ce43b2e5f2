//! Sealed bodies, and the sealed keys of the runs that they were sealed in.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanyard_core::hpke_box::{BoxError, HpkePublicKey};
use lanyard_core::ids::Hash;
use lanyard_core::receipt::{AuditSession, ReceiptOrigin, SealedBody, SealedSession};
use lanyard_env::{Env, FileError, Files, Mode};
use thiserror::Error;

use super::frames::{self, FrameReader};
use super::segments::{self, Segment, sequence_of};

/// Why bodies cannot be sealed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(super) enum SessionError {
    #[error("audit key: {0}")]
    Box(#[from] BoxError),
    #[error(transparent)]
    File(#[from] FileError),
}

/// The session that bodies are sealed in: begun at the first receipt of a run, and anew when the audit key changes.
pub(super) struct Session {
    env: Env,
    dir: PathBuf,
    current: Option<(HpkePublicKey, AuditSession)>,
}

impl Session {
    pub(super) fn open(env: &Env, dir: PathBuf) -> Result<Self, FileError> {
        env.files.create_dir_all(&dir)?;
        Ok(Self { env: env.clone(), dir, current: None })
    }

    /// The session under `audit`; its sealed form is durable before it is used.
    pub(super) fn under(
        &mut self,
        audit: &HpkePublicKey,
        origin: &ReceiptOrigin,
    ) -> Result<&AuditSession, SessionError> {
        let current = self.current.take().filter(|(key, _)| key == audit);
        let current = match current {
            Some(current) => current,
            None => {
                let (session, sealed) = AuditSession::begin(audit, origin, &mut self.env.rng())?;
                let path = session_path(&self.dir, &session.id());
                self.env.files.write_atomic(&path, sealed.as_bytes(), Mode::Private)?;
                (audit.clone(), session)
            }
        };
        Ok(&self.current.insert(current).1)
    }
}

fn session_path(dir: &Path, id: &Hash) -> PathBuf {
    let hex = blake3::Hash::from_bytes(*id.as_bytes()).to_hex();
    dir.join(hex.as_str())
}

/// Appends the frame of a body: receipt (8), sealed body.
pub(super) fn push(buffer: &mut Vec<u8>, sequence: u64, sealed: &SealedBody) {
    let mut payload = sequence.to_be_bytes().to_vec();
    payload.extend_from_slice(&sealed.to_bytes());
    frames::push(buffer, &payload);
}

/// Finds bodies in ascending order. What retention removed, also meanwhile, is not found, nor what is damaged.
pub(super) struct BodyReader {
    files: Arc<dyn Files>,
    bodies: PathBuf,
    sessions: PathBuf,
    segments: VecDeque<Segment>,
    reader: Option<FrameReader>,
    /// Read, and of a receipt after the one that was asked for.
    ahead: Option<(u64, SealedBody)>,
    known: HashMap<Hash, Option<SealedSession>>,
}

impl BodyReader {
    pub(super) fn open(
        files: &Arc<dyn Files>,
        bodies: PathBuf,
        sessions: PathBuf,
    ) -> Result<Self, FileError> {
        let segments = segments::list(&**files, &bodies)?;
        let (reader, ahead, known) = (None, None, HashMap::new());
        Ok(Self { files: Arc::clone(files), bodies, sessions, segments, reader, ahead, known })
    }

    /// The body of a receipt, and the session that it is sealed in.
    pub(super) fn find(
        &mut self,
        sequence: u64,
    ) -> Result<Option<(SealedBody, SealedSession)>, FileError> {
        // Files before the one that the next of which begins after the receipt have nothing to look for.
        while self.segments.get(1).is_some_and(|next| next.first <= sequence) {
            self.segments.pop_front();
            self.reader = None;
        }
        loop {
            match self.ahead.take() {
                Some((found, sealed)) if found == sequence => {
                    let session = self.session(&sealed.session())?;
                    return Ok(session.map(|session| (sealed, session)));
                }
                Some(ahead) if ahead.0 > sequence => {
                    self.ahead = Some(ahead);
                    return Ok(None);
                }
                _ => {}
            }
            match self.read()? {
                Some(body) => self.ahead = Some(body),
                None => return Ok(None),
            }
        }
    }

    /// The next body of the segment that is being read.
    fn read(&mut self) -> Result<Option<(u64, SealedBody)>, FileError> {
        if self.reader.is_none() {
            let Some(segment) = self.segments.front() else { return Ok(None) };
            let path = self.bodies.join(segment.name());
            self.reader = FrameReader::open(&*self.files, &path, 0, None)?;
        }
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let Some(payload) = reader.next_past_damage()? else { return Ok(None) };
        let body = payload.get(8..).and_then(|bytes| SealedBody::from_bytes(bytes).ok());
        Ok(sequence_of(payload).zip(body))
    }

    fn session(&mut self, id: &Hash) -> Result<Option<SealedSession>, FileError> {
        if let Some(known) = self.known.get(id) {
            return Ok(known.clone());
        }
        let bytes = self.files.read_if_exists(&session_path(&self.sessions, id))?;
        let session = bytes.map(SealedSession::new);
        self.known.insert(*id, session.clone());
        Ok(session)
    }
}
