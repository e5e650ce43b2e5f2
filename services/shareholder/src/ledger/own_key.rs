//! A ledger under a key of its own, which the holder draws when it starts for the first time.

use std::path::{Path, PathBuf};

use lanyard_core::ids::EventId;
use lanyard_core::note::{KeyName, SigningKey};
use lanyard_env::{Env, Files, Mode};
use zeroize::Zeroizing;

use super::{Ledger, LedgerError, title};

const LEDGER: &str = "evaluations.note";
const KEY: &str = "evaluations.key";
/// The key until the first ledger is durable: nothing was counted while it bears this name.
const NEW_KEY: &str = "evaluations.key.new";

impl Ledger {
    /// Opens the ledger in `folder`, made with a key beside it at the first start. Later either of them without the other
    /// is refused: counting does not start anew because a file is gone.
    ///
    /// # Errors
    /// As [`Ledger::open`], and [`LedgerError::Lost`].
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
        let [ledger, key, new_key] = [LEDGER, KEY, NEW_KEY].map(|name| folder.join(name));
        let refused = |source| LedgerError::Note { path: key.clone(), source };
        // The first start, or one that was interrupted.
        files.create_dir_all(folder)?;
        let name = KeyName::parse(&title(event, holder)).map_err(refused)?;
        let signing = SigningKey::generate(name, &mut env.rng());
        let line = Zeroizing::new(format!("{}\n", signing.format().as_str()));
        files.write_atomic(&new_key, line.as_bytes(), Mode::Private)?;
        files.remove(&ledger)?;
        let opened = Self::open(env, &ledger, event, holder, signing)?;
        files.rename(&new_key, &key)?;
        Ok(opened)
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
