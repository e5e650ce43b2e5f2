//! The files of a gate's receipts, and the order in which a group is written to them.

use std::path::PathBuf;
use std::sync::Arc;

use lanyard_core::ids::Timestamp;
use lanyard_core::note::SigningKey;
use lanyard_core::receipt::{ReceiptBody, ReceiptError, ReceiptOrigin};
use lanyard_env::{Env, FileError, StartError};
use thiserror::Error;

use super::bodies::{self, Session, SessionError};
use super::chain::{ChainFile, SharedDurable};
use super::frames;
use super::recent::{self, Digest, Recent, RecentCheck};
use super::segments::{Rotation, Segment, Segments};
use crate::rules::SharedRules;

const HOUR: u64 = 60 * 60 * 1_000;
const BODIES: Rotation = Rotation { millis: 24 * HOUR, bytes: 64 << 20 };
const RECENT: Rotation = Rotation { millis: HOUR, bytes: 4 << 20 };
/// How often old files are looked for.
const TIDY_MILLIS: u64 = 60 * 1_000;

/// Why the receipts cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The disk failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is damaged, and not at its end as by a crash.
    #[error(
        "{}: damaged at byte {offset}; keep the folder as evidence, and restore it from a backup or begin a new chain",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
}

impl StartError for OpenError {
    fn is_permanent(&self) -> bool {
        !matches!(self, Self::File(error) if !error.is_permanent())
    }
}

/// Why a group was not recorded.
#[derive(Debug, Error)]
pub(super) enum CommitError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Sign(#[from] ReceiptError),
}

/// What receipts are made with.
pub struct ReceiptSetup {
    /// The outside world.
    pub env: Env,
    /// The folder, this process's alone.
    pub dir: PathBuf,
    /// Whose receipts.
    pub origin: ReceiptOrigin,
    /// Signs heads; the manifest names it.
    pub key: SigningKey,
    /// Days after which bodies are deleted.
    pub keep_bodies_days: u32,
    /// The rules in force, for the audit key.
    pub rules: SharedRules,
}

/// A receipt to be recorded.
pub(super) struct Pending {
    pub(super) time: Timestamp,
    pub(super) body: ReceiptBody,
    pub(super) kind: Kind,
}

/// What a receipt records.
pub(super) enum Kind {
    Check(RecentCheck),
    /// An override of the check with the body's nonce.
    Override(Digest),
}

pub(super) struct Store {
    setup: ReceiptSetup,
    chain: ChainFile,
    bodies: Segments,
    recent_file: Segments,
    recent: Recent,
    session: Session,
    tidied: Timestamp,
}

impl Store {
    pub(super) fn open(setup: ReceiptSetup) -> Result<Self, OpenError> {
        let ReceiptSetup { env, dir, origin, .. } = &setup;
        let files = &env.files;
        files.create_dir_all(dir)?;
        let chain = ChainFile::open(files, dir.join("chain"), origin)?;
        let last = chain.chain().sequence();
        let bodies = Segments::open(files, bodies_dir(dir), BODIES, last, |_| {})?;
        let mut recent = Recent::default();
        let recent_file = Segments::open(files, recent_dir(dir), RECENT, last, |payload| {
            if let Err(error) = recent.read(payload) {
                tracing::warn!(%error, "a recent check is forgotten");
            }
        })?;
        let session = Session::open(env, sessions_dir(dir))?;
        let tidied = Timestamp::default();
        let mut store = Self { chain, bodies, recent_file, recent, session, tidied, setup };
        store.tidy();
        let (recent, path) = (store.recent.len(), store.chain.path().display());
        tracing::info!(receipts = last, recent, %path, "receipts opened");
        Ok(store)
    }

    pub(super) fn durable(&self) -> &SharedDurable {
        self.chain.durable()
    }

    pub(super) fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Records a group, durably when this returns, and numbers its answers; returns the last receipt. After an error
    /// nothing was recorded.
    pub(super) fn commit(&mut self, group: &mut [Pending]) -> Result<u64, CommitError> {
        let written = self.write(group);
        if written.is_err() {
            self.bodies.take_back();
            self.recent_file.take_back();
            self.chain.take_back();
        }
        let last = written?;
        let now = self.setup.env.now();
        let first = last + 1 - group.len() as u64;
        for (pending, receipt) in group.iter().zip(first..) {
            let nonce = pending.body.nonce;
            match &pending.kind {
                Kind::Check(check) => self.recent.insert(nonce, check.clone()),
                Kind::Override(digest) => self.recent.note_override(&nonce, *digest, receipt),
            }
        }
        if now.millis_since(self.tidied) >= TIDY_MILLIS {
            self.tidy();
        }
        Ok(last)
    }

    fn write(&mut self, group: &mut [Pending]) -> Result<u64, CommitError> {
        let ReceiptSetup { env, origin, key, rules, .. } = &self.setup;
        let rules = rules.load();
        let session = self.session.under(&rules.manifest().audit_key, origin)?;
        let now = env.now();
        let mut chain = self.chain.chain();
        let first = chain.sequence() + 1;
        let mut entries = Vec::with_capacity(group.len());
        let (mut sealed_bodies, mut recent_checks) = (Vec::new(), Vec::new());
        for Pending { time, body, kind } in group {
            let sequence = chain.sequence() + 1;
            let (sealed, commitment) = session.seal(sequence, body);
            entries.push(chain.push(*time, commitment));
            bodies::push(&mut sealed_bodies, sequence, &sealed);
            let payload = match kind {
                Kind::Check(check) => {
                    check.answer.receipt = sequence;
                    recent::encode_check(&body.nonce, check)
                }
                Kind::Override(digest) => recent::encode_override(sequence, &body.nonce, *digest),
            };
            frames::push(&mut recent_checks, &payload);
        }
        let head = chain.head(now).sign(origin, key)?;
        self.bodies.write(first, now, &sealed_bodies)?;
        self.recent_file.write(first, now, &recent_checks)?;
        self.chain.write(&entries, chain.hash(), &head)?;
        self.bodies.settle();
        self.recent_file.settle();
        self.chain.settle(chain);
        Ok(chain.sequence())
    }

    /// Forgets recent checks and removes old bodies. Failing to is no reason not to record.
    pub(super) fn tidy(&mut self) {
        let now = self.setup.env.now();
        self.tidied = now;
        self.recent.trim(now);
        let oldest = self.recent.oldest().unwrap_or(u64::MAX);
        let is_forgotten = |next: Option<&Segment>| next.is_some_and(|next| next.first <= oldest);
        let forgotten = self.recent_file.remove_while(|_, next| is_forgotten(next));
        // The newest body of a file is younger than the file by what a file may span.
        let keep = u64::from(self.setup.keep_bodies_days) * 24 * HOUR + BODIES.millis;
        let deleted = self.bodies.remove_while(|one, _| now.millis_since(one.started) > keep);
        for error in [forgotten, deleted].into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "receipts: an old file stays for now");
        }
    }

    /// For exports.
    pub(super) fn paths(&self) -> ReadPaths {
        let dir = &self.setup.dir;
        ReadPaths {
            files: Arc::clone(&self.setup.env.files),
            chain: self.chain.path().to_owned(),
            bodies: bodies_dir(dir),
            sessions: sessions_dir(dir),
        }
    }
}

/// Where readers find what is durable.
#[derive(Clone)]
pub(super) struct ReadPaths {
    pub(super) files: Arc<dyn lanyard_env::Files>,
    pub(super) chain: PathBuf,
    pub(super) bodies: PathBuf,
    pub(super) sessions: PathBuf,
}

pub(super) fn bodies_dir(dir: &std::path::Path) -> PathBuf {
    dir.join("bodies")
}

pub(super) fn recent_dir(dir: &std::path::Path) -> PathBuf {
    dir.join("recent")
}

fn sessions_dir(dir: &std::path::Path) -> PathBuf {
    dir.join("sessions")
}
