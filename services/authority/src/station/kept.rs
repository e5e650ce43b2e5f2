//! What a party keeps beside the rows of its store and the mirrors of feeds: in its data folder, or, where several
//! instances share a store, once for all of them in there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanyard_core::ids::EventId;
use lanyard_core::note::{KeyName, SigningKey};
use lanyard_env::Env;
use lanyard_party::{Folder, StoreKey};
use lanyard_shareholder::{Ledger, LedgerError};
use lanyard_store::{Location, StoreError};
use zeroize::Zeroizing;

use crate::keys::AUDIENCE_KEYS;
use crate::shared_files::SharedFiles;

/// The files that a party keeps once.
#[derive(Clone)]
pub(super) struct Kept {
    /// With the files that they are.
    pub(super) env: Env,
    root: PathBuf,
    store_key: Arc<StoreKey>,
}

impl Kept {
    pub(super) fn open(
        env: &Env,
        folder: &Folder,
        location: &Location,
        store_key: &Arc<StoreKey>,
    ) -> Result<Self, StoreError> {
        let store_key = Arc::clone(store_key);
        if !location.is_shared() {
            return Ok(Self { env: env.clone(), root: folder.data_dir(), store_key });
        }
        let files = SharedFiles::open(env.clone(), location, Arc::clone(&store_key))?;
        let env = Env { files: Arc::new(files), ..env.clone() };
        Ok(Self { env, root: PathBuf::from("store"), store_key })
    }

    /// The same files, to be looked at only.
    pub(super) fn unchanging(&self) -> Self {
        Self { env: self.env.unchanging(), ..self.clone() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(super) fn witness_memory(&self) -> PathBuf {
        self.root.join("witness")
    }

    pub(super) fn audience_keys(&self) -> PathBuf {
        self.root.join(AUDIENCE_KEYS)
    }

    /// The count of evaluations. Alone, it is signed with a key of its own beside it; shared, with one that all instances
    /// derive from their store key.
    pub(super) fn ledger(
        &self,
        folder: &Folder,
        event: &EventId,
        holder: &str,
    ) -> Result<Ledger, LedgerError> {
        if !self.env.files.is_shared() {
            return Ledger::open_in(&self.env, &folder.evaluations_dir(), event, holder);
        }
        let path = self.root.join("evaluations.note");
        loop {
            let key = self.ledger_key(&path, event, holder)?;
            match Ledger::open(&self.env, &path, event, holder, key) {
                // Two instances start for the first time.
                Err(LedgerError::File(error)) if error.is_replaced() => {}
                opened => return opened,
            }
        }
    }

    fn ledger_key(
        &self,
        path: &Path,
        event: &EventId,
        holder: &str,
    ) -> Result<SigningKey, LedgerError> {
        let name = format!("lanyard/{event}/evaluations/{holder}");
        let seed = Zeroizing::new(self.store_key.local_hash("evaluations key", name.as_bytes()));
        let refused = |source| LedgerError::Note { path: path.to_owned(), source };
        Ok(SigningKey::from_seed(KeyName::parse(&name).map_err(refused)?, &seed))
    }
}
