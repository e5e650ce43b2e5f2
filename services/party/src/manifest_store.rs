//! The manifests that a party has accepted, and the one that it works under.
//!
//! `trust.json` pins both authorities' manifest keys for the first manifest; each later one must be signed by the
//! keys of the one before. `manifests/VERSION.note` keeps them all, so that the chain is verified anew at each start;
//! `manifest.note` is a copy of the newest, for people and tools.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lanyard_core::ids::Hash;
use lanyard_core::manifest::{
    MAX_MANIFEST_BYTES, Manifest, ManifestError, ManifestTrust, VerifiedManifest, verify_manifest,
};
use lanyard_core::note::Note;
use lanyard_env::{FileError, Mode, StartError};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::folder::Folder;

/// Why manifests are refused or not to be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ManifestStoreError {
    /// No manifest was adopted here.
    #[error("{}: no manifest here yet; run the ceremony's step: adopt", path.display())]
    NotAdopted {
        /// The file that is missing.
        path: PathBuf,
    },
    /// The pinned keys cannot be read.
    #[error("{}: {problem}; restore it from the party's backup", path.display())]
    Trust {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A manifest does not hold.
    #[error("{}: {source}", path.display())]
    Manifest {
        /// The file, or the folder where the manifest was to go.
        path: PathBuf,
        /// What does not hold.
        source: ManifestError,
    },
    /// The file is no text of a manifest's size.
    #[error("{}: not the text of a manifest", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// Other keys are pinned here already.
    #[error("{}: other manifest keys are pinned here; this folder is of another event", path.display())]
    OtherTrust {
        /// The file.
        path: PathBuf,
    },
    /// Another manifest of this version is on the disk.
    #[error(
        "{}: there is another manifest of this version; both authorities signed two, keep them as evidence",
        path.display()
    )]
    Forked {
        /// The file.
        path: PathBuf,
    },
    /// A file operation.
    #[error(transparent)]
    File(#[from] FileError),
}

impl StartError for ManifestStoreError {
    fn is_permanent(&self) -> bool {
        !matches!(self, Self::File(error) if !error.is_permanent())
    }
}

/// The accepted manifests of one party. Accepting is atomic and durable, and never goes back.
pub struct ManifestStore {
    folder: Folder,
    accepting: Mutex<()>,
    newest: watch::Sender<Arc<VerifiedManifest>>,
    /// Version and hash of every manifest in force so far.
    chain: Mutex<Vec<(u32, Hash)>>,
}

impl ManifestStore {
    /// Loads and verifies the chain.
    ///
    /// # Errors
    /// [`ManifestStoreError::NotAdopted`] if there is none; others name the file that does not hold.
    pub fn open(folder: &Folder) -> Result<Self, ManifestStoreError> {
        let trust = read_trust(folder)?
            .ok_or_else(|| ManifestStoreError::NotAdopted { path: folder.trust_path() })?;
        let mut newest: Option<VerifiedManifest> = None;
        let mut chain = Vec::new();
        for version in versions(folder)? {
            let path = version_path(folder, version);
            let note = read_note(folder, &path)?;
            let verified = match &newest {
                None => verify_manifest(&note, &trust),
                Some(held) => held.accept_successor(&note),
            };
            let verified =
                verified.map_err(|source| ManifestStoreError::Manifest { path, source })?;
            chain.push((version, verified.hash()));
            newest = Some(verified);
        }
        let newest = newest
            .ok_or_else(|| ManifestStoreError::NotAdopted { path: folder.manifest_path() })?;
        let store = Self {
            folder: folder.clone(),
            accepting: Mutex::new(()),
            newest: watch::Sender::new(Arc::new(newest)),
            chain: Mutex::new(chain),
        };
        // A crash may have come between the chain and its copy.
        store.write_copy(&store.current())?;
        Ok(store)
    }

    /// Pins both authorities' keys and takes the first manifest. Does nothing if it is there already.
    ///
    /// # Errors
    /// [`ManifestStoreError::OtherTrust`], [`ManifestStoreError::Manifest`] and others.
    pub fn initialise(
        folder: &Folder,
        trust: &ManifestTrust,
        note: &str,
    ) -> Result<Self, ManifestStoreError> {
        let path = folder.manifests_dir();
        let first = verify_manifest(note, trust)
            .map_err(|source| ManifestStoreError::Manifest { path, source })?;
        let path = folder.trust_path();
        match read_trust(folder)? {
            Some(pinned) if pinned != *trust => {
                return Err(ManifestStoreError::OtherTrust { path });
            }
            Some(_) => {}
            None => {
                let mut json = serde_json::to_string_pretty(trust).map_err(|error| {
                    let problem = error.to_string();
                    ManifestStoreError::Trust { path: path.clone(), problem }
                })?;
                json.push('\n');
                folder.files().write_atomic(&path, json.as_bytes(), Mode::Public)?;
            }
        }
        if versions(folder)?.is_empty() {
            folder.files().create_dir_all(&folder.manifests_dir())?;
            write_version(folder, &first)?;
        }
        Self::open(folder)
    }

    /// The manifest to work under.
    #[must_use]
    pub fn current(&self) -> Arc<VerifiedManifest> {
        Arc::clone(&self.newest.borrow())
    }

    /// Tells of each newly accepted manifest.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<VerifiedManifest>> {
        self.newest.subscribe()
    }

    /// Accepts a later manifest, durably; `false` if it is, or was, in force: whoever passes it on may be behind. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// [`ManifestStoreError::Manifest`] if it is older, of another event, or not signed by the keys of the one in
    /// force, which then stays in force.
    pub fn accept(&self, note: &str) -> Result<bool, ManifestStoreError> {
        let _one_at_a_time = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.current();
        let refused =
            |source| ManifestStoreError::Manifest { path: self.folder.manifests_dir(), source };
        let parsed = Note::parse_with_limit(note, MAX_MANIFEST_BYTES);
        let parsed = parsed.map_err(|error| refused(error.into()))?;
        if self.version_of(&Manifest::hash_text(parsed.text())).is_some() {
            return Ok(false);
        }
        let next = held.accept_successor(note).map_err(refused)?;
        write_version(&self.folder, &next)?;
        self.write_copy(&next)?;
        self.chain().push((next.version, next.hash()));
        self.newest.send_replace(Arc::new(next));
        Ok(true)
    }

    /// The version of the manifest with this hash, if it is or was in force.
    #[must_use]
    pub fn version_of(&self, hash: &Hash) -> Option<u32> {
        self.chain().iter().find(|(_, of)| of == hash).map(|(version, _)| *version)
    }

    /// The signed notes of the manifests after `version`, oldest first. Blocks on the disk.
    ///
    /// # Errors
    /// [`ManifestStoreError::File`] and others if one of them cannot be read.
    pub fn notes_after(&self, version: u32) -> Result<Vec<String>, ManifestStoreError> {
        let versions: Vec<u32> = self.chain().iter().map(|(kept, _)| *kept).collect();
        let later = versions.into_iter().filter(|kept| *kept > version);
        later.map(|kept| read_note(&self.folder, &version_path(&self.folder, kept))).collect()
    }

    fn chain(&self) -> MutexGuard<'_, Vec<(u32, Hash)>> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts what another process, such as the ceremony, has put into the folder since; `true` if something was.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// As [`ManifestStore::accept`].
    pub fn reload_if_changed(&self) -> Result<bool, ManifestStoreError> {
        let mut changed = false;
        for version in versions(&self.folder)? {
            if version > self.current().version {
                let path = version_path(&self.folder, version);
                changed |= self.accept(&read_note(&self.folder, &path)?)?;
            }
        }
        Ok(changed)
    }

    /// Looks for new manifests each `interval` until `shutdown`; what does not hold is logged and not taken.
    pub async fn reload_every(self: Arc<Self>, interval: Duration, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
            let store = Arc::clone(&self);
            match lanyard_env::blocking(move || store.reload_if_changed()).await {
                Ok(Ok(true)) => {
                    tracing::info!(version = self.current().version, "new manifest in force");
                }
                Ok(Err(error)) => tracing::warn!(%error, "keeping the manifest in force"),
                Ok(Ok(false)) | Err(_) => {}
            }
        }
    }

    fn write_copy(&self, manifest: &VerifiedManifest) -> Result<(), ManifestStoreError> {
        let (path, text) = (self.folder.manifest_path(), manifest.note().to_string());
        if self.folder.files().read_if_exists(&path)?.as_deref() == Some(text.as_bytes()) {
            return Ok(());
        }
        Ok(self.folder.files().write_atomic(&path, text.as_bytes(), Mode::Public)?)
    }
}

fn version_path(folder: &Folder, version: u32) -> PathBuf {
    folder.manifests_dir().join(format!("{version}.note"))
}

/// The versions on the disk, ascending.
fn versions(folder: &Folder) -> Result<Vec<u32>, ManifestStoreError> {
    let dir = folder.manifests_dir();
    if !folder.files().exists(&dir)? {
        return Ok(Vec::new());
    }
    let names = folder.files().list(&dir)?;
    let mut versions: Vec<u32> =
        names.iter().filter_map(|name| name.strip_suffix(".note")?.parse().ok()).collect();
    versions.sort_unstable();
    Ok(versions)
}

fn write_version(folder: &Folder, manifest: &VerifiedManifest) -> Result<(), ManifestStoreError> {
    let path = version_path(folder, manifest.version);
    if folder.files().exists(&path)? {
        let there = read_note(folder, &path)?;
        // The signature lines may stand in another order.
        if there.starts_with(&format!("{}\n", manifest.note().text())) {
            return Ok(());
        }
        return Err(ManifestStoreError::Forked { path });
    }
    let note = manifest.note().to_string();
    Ok(folder.files().write_atomic(&path, note.as_bytes(), Mode::Public)?)
}

fn read_note(folder: &Folder, path: &Path) -> Result<String, ManifestStoreError> {
    let bytes = folder.files().read(path)?;
    let refused = || ManifestStoreError::NotText { path: path.to_owned() };
    if bytes.len() > MAX_MANIFEST_BYTES {
        return Err(refused());
    }
    String::from_utf8(bytes).map_err(|_| refused())
}

fn read_trust(folder: &Folder) -> Result<Option<ManifestTrust>, ManifestStoreError> {
    let path = folder.trust_path();
    let Some(bytes) = folder.files().read_if_exists(&path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        let problem = error.to_string();
        ManifestStoreError::Trust { path, problem }
    })
}
