//! Evaluations counted per caller and purpose: signed, durable, each batch once.
//!
//! One file, replaced whole at each charge: a signed note (C2SP signed-note) whose text is
//!
//! ```text
//! lanyard/EVENT/evaluations/HOLDER
//! SEQUENCE
//! count CALLER PURPOSE USED
//! batch CALLER PURPOSE ELEMENTS BASE64(id) BASE64(digest)
//! ```
//!
//! with the most recent batches of each counter after it, oldest first. A crash leaves the old file or the new one. The
//! new one may count a batch whose answer never left; its retry is then free. A ledger restored from a backup has
//! forgotten what was counted since: only the other parties' records can tell.

mod own_key;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lanyard_core::ids::{Authority, EventId, Hash};
use lanyard_core::note::{Note, NoteError, SigningKey, VerifyingKey};
use lanyard_env::{Env, FileError, Files, Mode, StartError};
use thiserror::Error;

use crate::purpose::Purpose;

/// How many batches of each caller and purpose a retry is still recognised among.
pub const RECENT_BATCHES: usize = 128;

/// A few counters with [`RECENT_BATCHES`] lines of about 100 bytes each.
const MAX_BYTES: usize = 256 * 1024;

/// A caller's name for a batch: 16 bytes.
pub type BatchId = [u8; 16];

/// Why a batch is not charged, or a ledger not opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The quota would be exceeded; nothing was counted.
    #[error(
        "quota of {caller} for {purpose}: {asked} evaluations asked, {remaining} left; raise it in the manifest"
    )]
    QuotaExceeded {
        /// Who asked.
        caller: Authority,
        /// What for.
        purpose: Purpose,
        /// How many evaluations.
        asked: u64,
        /// How many are left.
        remaining: u64,
    },
    /// A batch id comes again with other elements; nothing was counted.
    #[error("batch id of {caller} for {purpose} was used for other elements; draw a new one")]
    BatchReused {
        /// Who asked.
        caller: Authority,
        /// What for.
        purpose: Purpose,
    },
    /// The ledger cannot be read or written; nothing was counted.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not a note under this holder's key.
    #[error("{}: {source}; restore it from a backup of this holder", path.display())]
    Note {
        /// The file.
        path: PathBuf,
        /// Why it is refused.
        source: NoteError,
    },
    /// The file is signed but says something else than a ledger does.
    #[error("{}, line {line}: {problem}; restore it from a backup of this holder", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The holder takes another's place and has not taken over what that one counted.
    #[error(
        "{}: this holder takes another's place and does not know what was counted before; run: lanyard ceremony take-over",
        path.display()
    )]
    NotTakenOver {
        /// The file that says so.
        path: PathBuf,
    },
    /// One of ledger and key is missing, though this holder has counted before.
    #[error("{} is missing; restore it from a backup of this holder", path.display())]
    Lost {
        /// The file.
        path: PathBuf,
    },
}

impl StartError for LedgerError {
    fn is_permanent(&self) -> bool {
        match self {
            Self::File(error) => error.is_permanent(),
            Self::QuotaExceeded { .. } | Self::BatchReused { .. } => false,
            Self::Note { .. }
            | Self::Malformed { .. }
            | Self::NotTakenOver { .. }
            | Self::Lost { .. } => true,
        }
    }
}

/// What a charge left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// Evaluations left to this caller for this purpose.
    pub remaining: u64,
    /// Whether the batch had been counted before.
    pub is_retry: bool,
}

/// A holder's count of evaluations. Calls block on the disk. Where several instances of the holder's service share the
/// files, each charge begins with what is there: see [`Files::is_shared`].
pub struct Ledger {
    files: Arc<dyn Files>,
    path: PathBuf,
    title: String,
    key: SigningKey,
    state: Mutex<State>,
}

/// Evaluations counted, by caller and purpose.
pub type Counts = BTreeMap<(Authority, Purpose), u64>;

#[derive(Clone, Default)]
struct State {
    sequence: u64,
    counters: BTreeMap<(Authority, Purpose), Counter>,
}

impl State {
    fn counted(counts: &Counts) -> Self {
        let counter = |used: &u64| Counter { used: *used, recent: VecDeque::new() };
        let counters = counts.iter().map(|(of, used)| (*of, counter(used))).collect();
        Self { sequence: 0, counters }
    }

    fn counts(&self) -> Counts {
        self.counters.iter().map(|(of, counter)| (*of, counter.used)).collect()
    }
}

#[derive(Clone, Default)]
struct Counter {
    used: u64,
    recent: VecDeque<Batch>,
}

#[derive(Clone)]
struct Batch {
    id: BatchId,
    digest: Hash,
    elements: u64,
}

impl Ledger {
    /// Opens the ledger `path`, made empty and durable if it is not there. `holder` is the party's name.
    ///
    /// # Errors
    /// [`LedgerError::File`], [`LedgerError::Note`], [`LedgerError::Malformed`].
    pub fn open(
        env: &Env,
        path: &Path,
        event: &EventId,
        holder: &str,
        key: SigningKey,
    ) -> Result<Self, LedgerError> {
        let Some(bytes) = env.files.read_if_exists(path)? else {
            return Self::begin(env, path, event, holder, key, &State::default());
        };
        let title = title(event, holder);
        let state = Mutex::new(read(path, &title, &key, &bytes)?);
        Ok(Self { files: Arc::clone(&env.files), path: path.to_owned(), title, key, state })
    }

    /// A new ledger, durable when this returns.
    fn begin(
        env: &Env,
        path: &Path,
        event: &EventId,
        holder: &str,
        key: SigningKey,
        state: &State,
    ) -> Result<Self, LedgerError> {
        let (files, title) = (Arc::clone(&env.files), title(event, holder));
        let state = Mutex::new(state.clone());
        let ledger = Self { files, path: path.to_owned(), title, key, state };
        let begun = ledger.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ledger.write(&begun)?;
        Ok(ledger)
    }

    /// Counts a batch, durably when this returns; a batch among the caller's recent ones is not counted again.
    ///
    /// # Errors
    /// [`LedgerError::QuotaExceeded`], [`LedgerError::BatchReused`], [`LedgerError::File`]. Nothing was counted then.
    pub fn charge(
        &self,
        (caller, purpose): (Authority, Purpose),
        id: BatchId,
        digest: Hash,
        elements: u64,
        quota: u64,
    ) -> Result<Charge, LedgerError> {
        // Held while writing: two batches cannot both take the last evaluations.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            self.refresh(&mut state)?;
            match self.charge_to(&mut state, (caller, purpose), id, digest, elements, quota) {
                // Another instance has counted in between.
                Err(LedgerError::File(error)) if error.is_replaced() => {}
                charged => return charged,
            }
        }
    }

    /// Takes up what other instances have counted.
    fn refresh(&self, state: &mut State) -> Result<(), LedgerError> {
        if self.files.is_shared() {
            *state = read(&self.path, &self.title, &self.key, &self.files.read(&self.path)?)?;
        }
        Ok(())
    }

    fn charge_to(
        &self,
        state: &mut State,
        (caller, purpose): (Authority, Purpose),
        id: BatchId,
        digest: Hash,
        elements: u64,
        quota: u64,
    ) -> Result<Charge, LedgerError> {
        let counter = state.counters.get(&(caller, purpose));
        let used = counter.map_or(0, |counter| counter.used);
        let remaining = quota.saturating_sub(used);
        let known = counter.and_then(|counter| counter.recent.iter().find(|batch| batch.id == id));
        if let Some(known) = known {
            if known.digest != digest || known.elements != elements {
                return Err(LedgerError::BatchReused { caller, purpose });
            }
            return Ok(Charge { remaining, is_retry: true });
        }
        if elements > remaining {
            let asked = elements;
            return Err(LedgerError::QuotaExceeded { caller, purpose, asked, remaining });
        }
        let mut next = state.clone();
        next.sequence += 1;
        let counter = next.counters.entry((caller, purpose)).or_default();
        counter.used = used + elements;
        if counter.recent.len() == RECENT_BATCHES {
            counter.recent.pop_front();
        }
        counter.recent.push_back(Batch { id, digest, elements });
        self.write(&next)?;
        *state = next;
        Ok(Charge { remaining: remaining - elements, is_retry: false })
    }

    /// Writes the count anew as it is: whether a batch could be counted.
    ///
    /// # Errors
    /// [`LedgerError::File`] and others.
    pub fn write_again(&self) -> Result<(), LedgerError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut state)?;
        match self.write(&state) {
            // Another instance has counted in between.
            Err(LedgerError::File(error)) if error.is_replaced() => Ok(()),
            written => written,
        }
    }

    /// The key that verifies the file.
    #[must_use]
    pub fn verifying_key(&self) -> &VerifyingKey {
        self.key.verifying_key()
    }

    /// All counters.
    ///
    /// # Errors
    /// [`LedgerError`] if another instance may have counted and its count cannot be read.
    pub fn counts(&self) -> Result<Counts, LedgerError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut state)?;
        Ok(state.counts())
    }

    /// Evaluations counted for a caller and purpose.
    #[must_use]
    pub fn used(&self, caller: Authority, purpose: Purpose) -> u64 {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.counters.get(&(caller, purpose)).map_or(0, |counter| counter.used)
    }

    /// What a holder has counted, from the ledger in `folder` that [`Ledger::open_in`] made; its signature is verified. The
    /// holder may be running or not. Nothing is counted before the first start.
    ///
    /// # Errors
    /// As [`Ledger::open_in`].
    pub fn counts_in(
        env: &Env,
        folder: &Path,
        event: &EventId,
        holder: &str,
    ) -> Result<Counts, LedgerError> {
        let Some((path, key)) = own_key::find(&*env.files, folder)? else {
            return Ok(Counts::new());
        };
        let bytes = env.files.read(&path)?;
        Ok(read(&path, &title(event, holder), &key, &bytes)?.counts())
    }

    fn write(&self, state: &State) -> Result<(), LedgerError> {
        let failed = |source| LedgerError::Note { path: self.path.clone(), source };
        let note = Note::sign(&text(&self.title, state), &[&self.key]).map_err(failed)?;
        self.files.write_atomic(&self.path, note.to_string().as_bytes(), Mode::Private)?;
        Ok(())
    }
}

fn title(event: &EventId, holder: &str) -> String {
    format!("lanyard/{event}/evaluations/{holder}")
}

fn text(title: &str, state: &State) -> String {
    let mut text = format!("{title}\n{}\n", state.sequence);
    for ((caller, purpose), counter) in &state.counters {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "count {caller} {purpose} {}", counter.used);
        for Batch { id, digest, elements } in &counter.recent {
            let id = BASE64.encode(id);
            let _ = writeln!(text, "batch {caller} {purpose} {elements} {id} {digest}");
        }
    }
    text
}

fn read(path: &Path, title: &str, key: &SigningKey, bytes: &[u8]) -> Result<State, LedgerError> {
    let verified = Note::parse_bytes(bytes, MAX_BYTES)
        .and_then(|note| note.verify(std::slice::from_ref(key.verifying_key())))
        .map_err(|source| LedgerError::Note { path: path.to_owned(), source })?;
    let mut state = State::default();
    for (index, line) in verified.text().lines().enumerate() {
        let read = match index {
            0 if line == title => Ok(()),
            0 => Err("it is of another event or holder"),
            1 => number(line).map(|sequence| state.sequence = sequence),
            _ => entry(&mut state, line),
        };
        read.map_err(|problem| {
            let path = path.to_owned();
            LedgerError::Malformed { path, line: index + 1, problem }
        })?;
    }
    Ok(state)
}

fn entry(state: &mut State, line: &str) -> Result<(), &'static str> {
    let fields: Vec<&str> = line.split(' ').collect();
    let (kind, counter, rest) = match fields.as_slice() {
        [kind, caller, purpose, rest @ ..] => {
            let caller = Authority::parse(caller).map_err(|_| "unknown caller")?;
            (*kind, (caller, Purpose::parse(purpose).ok_or("unknown purpose")?), rest)
        }
        _ => return Err("not a line of a ledger"),
    };
    match (kind, rest) {
        ("count", [used]) => {
            let counter_now = Counter { used: number(used)?, recent: VecDeque::new() };
            if state.counters.insert(counter, counter_now).is_some() {
                return Err("a counter stands twice");
            }
        }
        ("batch", [elements, id, digest]) => {
            let id = BASE64.decode(id).ok().and_then(|id| id.try_into().ok());
            let id = id.ok_or("a batch id is 16 bytes in base64")?;
            let digest = Hash::parse(digest).map_err(|_| "a digest is 32 bytes in base64")?;
            let counter = state.counters.get_mut(&counter).ok_or("a batch before its counter")?;
            counter.recent.push_back(Batch { id, digest, elements: number(elements)? });
        }
        _ => return Err("not a line of a ledger"),
    }
    Ok(())
}

fn number(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "not a number")
}

#[cfg(test)]
mod tests;
