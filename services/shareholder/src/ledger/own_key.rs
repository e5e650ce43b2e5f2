//! A ledger under a key of its own, which the holder draws when it starts for the first time.

use std::path::{Path, PathBuf};

use lanyard_core::ids::EventId;
use lanyard_core::note::{KeyName, SigningKey};
use lanyard_env::{Env, Files, Mode};
use zeroize::Zeroizing;

use super::{Counts, Ledger, LedgerError, State, title};

const LEDGER: &str = "evaluations.note";
const KEY: &str = "evaluations.key";
/// The key until the first ledger is durable: nothing was counted while it bears this name.
const NEW_KEY: &str = "evaluations.key.new";

impl Ledger {
    /// Opens the ledger in `folder`, made with a key beside it at the first start. Later either of them without the other
    /// is refused: counting does not start anew because a file is gone.
    ///
    /// # Errors
    /// As [`Ledger::open`], [`LedgerError::Lost`] and [`LedgerError::NotTakenOver`].
    pub fn open_in(
        env: &Env,
        folder: &Path,
        event: &EventId,
        holder: &str,
    ) -> Result<Self, LedgerError> {
        let files = &env.files;
        if let Some((ledger, signing)) = find(&**files, folder)? {
            return Self::open(env, &ledger, event, holder, signing);
        }
        if Self::awaits_take_over(env, folder)? {
            return Err(LedgerError::NotTakenOver { path: folder.join(TAKE_OVER) });
        }
        Self::make(env, folder, event, holder, &State::default())
    }

    /// The first start, or one that was interrupted.
    fn make(
        env: &Env,
        folder: &Path,
        event: &EventId,
        holder: &str,
        state: &State,
    ) -> Result<Self, LedgerError> {
        let files = &env.files;
        let [ledger, key, new_key] = [LEDGER, KEY, NEW_KEY].map(|name| folder.join(name));
        let refused = |source| LedgerError::Note { path: key.clone(), source };
        files.create_dir_all(folder)?;
        let name = KeyName::parse(&title(event, holder)).map_err(refused)?;
        let signing = SigningKey::generate(name, &mut env.rng());
        let line = Zeroizing::new(format!("{}\n", signing.format().as_str()));
        files.write_atomic(&new_key, line.as_bytes(), Mode::Private)?;
        files.remove(&ledger)?;
        let opened = Self::begin(env, &ledger, event, holder, signing, state)?;
        files.rename(&new_key, &key)?;
        Ok(opened)
    }
}

/// At a holder that takes another's place, until it has the other's counts.
const TAKE_OVER: &str = "take-over";

impl Ledger {
    /// Notes in `folder` that its holder takes another's place: [`Ledger::open_in`] is refused until
    /// [`Ledger::take_over`], so that no caller gets a second quota by itself.
    ///
    /// # Errors
    /// [`LedgerError::File`].
    pub fn expect_take_over(env: &Env, folder: &Path) -> Result<(), LedgerError> {
        env.files.create_dir_all(folder)?;
        let text = b"this holder takes another's place; run: lanyard ceremony take-over\n";
        Ok(env.files.write_atomic(&folder.join(TAKE_OVER), text, Mode::Private)?)
    }

    /// Whether the counts of a predecessor are still to be taken over.
    ///
    /// # Errors
    /// [`LedgerError::File`].
    pub fn awaits_take_over(env: &Env, folder: &Path) -> Result<bool, LedgerError> {
        Ok(env.files.exists(&folder.join(TAKE_OVER))?)
    }

    /// Makes the ledger of a holder that takes another's place: it starts with what the other had counted. Does nothing if it
    /// is there already.
    ///
    /// # Errors
    /// As [`Ledger::open_in`].
    pub fn take_over(
        env: &Env,
        folder: &Path,
        event: &EventId,
        holder: &str,
        counts: &Counts,
    ) -> Result<(), LedgerError> {
        if find(&*env.files, folder)?.is_none() {
            Self::make(env, folder, event, holder, &State::counted(counts))?;
        }
        Ok(env.files.remove(&folder.join(TAKE_OVER))?)
    }
}

/// The ledger in `folder` and its key; `None` before the first start has succeeded.
pub(super) fn find(
    files: &dyn Files,
    folder: &Path,
) -> Result<Option<(PathBuf, SigningKey)>, LedgerError> {
    let [ledger, key, new_key] = [LEDGER, KEY, NEW_KEY].map(|name| folder.join(name));
    let Some(kept) = files.read_if_exists(&key)?.map(Zeroizing::new) else {
        if files.exists(&ledger)? && !files.exists(&new_key)? {
            return Err(LedgerError::Lost { path: key });
        }
        return Ok(None);
    };
    let text = std::str::from_utf8(&kept).unwrap_or_default().trim_end();
    let signing =
        SigningKey::parse(text).map_err(|source| LedgerError::Note { path: key, source })?;
    if !files.exists(&ledger)? {
        return Err(LedgerError::Lost { path: ledger });
    }
    Ok(Some((ledger, signing)))
}
