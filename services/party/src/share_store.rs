//! A holder's shares of the pseudonym key, by generation.
//!
//! The key generation makes generation 1, each refresh the next. `keys/generation` says which one is in force here; until
//! there is a second one it is not there. While a refresh is under way the next generation lies beside it, and the previous
//! one after it until it is destroyed, so that holders need not switch at the same moment.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lanyard_core::threshold::{KeyShare, PublicShares, ShareIndex, ThresholdError};
use lanyard_env::Mode;
use lanyard_telemetry::{Incident, Incidents};
use tokio_util::sync::CancellationToken;

use crate::folder::Folder;
use crate::key_file::{KeyFileError, read_private_text, read_share, write_generation, write_share};
use crate::public_shares::{NamedShare, PublicSharesFile};

/// How often the shares were refreshed, plus one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(u32);

impl Generation {
    /// That of the key generation.
    pub const FIRST: Self = Self(1);

    /// The generation of a number; there is no generation 0.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    /// Its number, from 1.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The one that a refresh makes of it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A holder's share of one generation, which fits the public shares of that generation.
pub struct HeldShare {
    generation: Generation,
    share: KeyShare,
    public: PublicShares,
}

impl HeldShare {
    /// Checks that the share is the one that the public shares know.
    ///
    /// # Errors
    /// [`ThresholdError::Unknown`] or [`ThresholdError::Mismatch`].
    pub fn new(
        generation: Generation,
        share: KeyShare,
        public: PublicShares,
    ) -> Result<Self, ThresholdError> {
        share.check(&public)?;
        Ok(Self { generation, share, public })
    }

    /// Its generation.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// The share.
    #[must_use]
    pub const fn share(&self) -> &KeyShare {
        &self.share
    }

    /// All holders' public shares of this generation.
    #[must_use]
    pub const fn public(&self) -> &PublicShares {
        &self.public
    }
}

impl Folder {
    /// `keys/share.key`, from the second generation on `keys/share-N.key`.
    #[must_use]
    pub fn share_key_path(&self, generation: Generation) -> PathBuf {
        self.path().join("keys").join(file_name("share", generation, "key"))
    }

    /// `keys/public_shares.json`, from the second generation on `keys/public_shares-N.json`; known to holders only.
    #[must_use]
    pub fn public_shares_path(&self, generation: Generation) -> PathBuf {
        self.path().join("keys").join(file_name("public_shares", generation, "json"))
    }

    /// The generation in force here; the first until one is put in force.
    ///
    /// # Errors
    /// [`KeyFileError`], naming the file.
    pub fn generation_in_force(&self) -> Result<Generation, KeyFileError> {
        let path = self.generation_path();
        if !self.files().exists(&path)? {
            return Ok(Generation::FIRST);
        }
        let text = read_private_text(&**self.files(), &path)?;
        let number = text.trim_end().parse().ok().and_then(Generation::new);
        number.ok_or_else(|| KeyFileError::malformed(&path, "it is not a generation's number"))
    }

    /// The generations whose shares are here, ascending.
    ///
    /// # Errors
    /// [`KeyFileError::File`].
    pub fn share_generations(&self) -> Result<Vec<Generation>, KeyFileError> {
        let keys = self.path().join("keys");
        if !self.files().exists(&keys)? {
            return Ok(Vec::new());
        }
        let names = self.files().list(&keys)?;
        let mut found: Vec<_> = names
            .iter()
            .filter_map(|name| match name.strip_prefix("share")?.strip_suffix(".key")? {
                "" => Some(Generation::FIRST),
                later => Generation::new(later.strip_prefix('-')?.parse().ok()?),
            })
            .collect();
        found.sort_unstable();
        Ok(found)
    }

    /// The holder's share of a generation and everyone's public shares, checked against each other.
    ///
    /// # Errors
    /// [`KeyFileError`], naming the file.
    pub fn held_share(&self, generation: Generation) -> Result<HeldShare, KeyFileError> {
        let path = self.share_key_path(generation);
        let (index, bytes) = read_share(&**self.files(), &path)?;
        let share = ShareIndex::new(index)
            .and_then(|index| KeyShare::from_bytes(index, &bytes))
            .map_err(|error| KeyFileError::malformed(&path, error))?;
        let public = self.public_shares(generation)?;
        HeldShare::new(generation, share, public)
            .map_err(|error| KeyFileError::malformed(&path, error))
    }

    /// Everyone's public shares of a generation.
    ///
    /// # Errors
    /// [`KeyFileError`], naming the file.
    pub fn public_shares(&self, generation: Generation) -> Result<PublicShares, KeyFileError> {
        let path = self.public_shares_path(generation);
        let text = read_private_text(&**self.files(), &path)?;
        let file: PublicSharesFile =
            serde_json::from_str(&text).map_err(|error| KeyFileError::malformed(&path, error))?;
        if file.generation() != generation.get() {
            let problem = format!("it is of generation {}", file.generation());
            return Err(KeyFileError::malformed(&path, problem));
        }
        file.shares().map_err(|error| KeyFileError::malformed(&path, error))
    }

    /// Writes the holder's share and everyone's public shares of a generation, the share last: it stands for both being
    /// there. Which generation is in force does not change.
    ///
    /// # Errors
    /// [`KeyFileError`], also if the share does not belong to the public shares.
    pub fn write_held_share(
        &self,
        generation: Generation,
        share: &KeyShare,
        threshold: u8,
        shares: Vec<NamedShare>,
    ) -> Result<(), KeyFileError> {
        let path = self.public_shares_path(generation);
        let file = PublicSharesFile::new(generation.get(), threshold, shares);
        let public = file.shares().map_err(|error| KeyFileError::malformed(&path, error))?;
        share.check(&public).map_err(|error| KeyFileError::malformed(&path, error))?;
        let json = serde_json::to_string_pretty(&file)
            .map_err(|error| KeyFileError::malformed(&path, error))?;
        self.files().write_atomic(&path, json.as_bytes(), Mode::Private)?;
        let path = self.share_key_path(generation);
        Ok(write_share(&**self.files(), &path, share.index().get(), &share.to_bytes())?)
    }

    /// Puts a generation in force whose share is here. Running services follow.
    ///
    /// # Errors
    /// [`KeyFileError`] if its share does not hold.
    pub fn put_in_force(&self, generation: Generation) -> Result<(), KeyFileError> {
        self.held_share(generation)?;
        Ok(write_generation(&**self.files(), &self.generation_path(), generation.get())?)
    }

    /// Removes the share of a generation and its public shares.
    ///
    /// # Errors
    /// [`KeyFileError::InForce`] if it is the one in force.
    pub fn destroy_share(&self, generation: Generation) -> Result<(), KeyFileError> {
        let path = self.share_key_path(generation);
        if self.generation_in_force()? == generation {
            return Err(KeyFileError::InForce { path });
        }
        self.files().remove(&path)?;
        Ok(self.files().remove(&self.public_shares_path(generation))?)
    }

    fn generation_path(&self) -> PathBuf {
        self.path().join("keys/generation")
    }
}

fn file_name(stem: &str, generation: Generation, extension: &str) -> String {
    match generation {
        Generation::FIRST => format!("{stem}.{extension}"),
        later => format!("{stem}-{later}.{extension}"),
    }
}

/// The shares of a running holder. It follows what the ceremony puts into the folder.
pub struct ShareStore {
    folder: Folder,
    held: Mutex<Held>,
}

struct Held {
    in_force: Generation,
    shares: BTreeMap<Generation, Arc<HeldShare>>,
}

impl ShareStore {
    /// Reads the shares, of which the one in force must hold. Blocks on the disk.
    ///
    /// # Errors
    /// [`KeyFileError`], naming the file.
    pub fn open(folder: &Folder) -> Result<Self, KeyFileError> {
        let in_force = folder.generation_in_force()?;
        let current = Arc::new(folder.held_share(in_force)?);
        let held = Held { in_force, shares: BTreeMap::from([(in_force, current)]) };
        let store = Self { folder: folder.clone(), held: Mutex::new(held) };
        store.reload()?;
        Ok(store)
    }

    /// The share in force.
    ///
    /// # Panics
    /// Never: the share in force is always held.
    #[must_use]
    pub fn current(&self) -> Arc<HeldShare> {
        let held = self.held();
        Arc::clone(held.shares.get(&held.in_force).expect("the share in force is held"))
    }

    /// The share of a generation, looked for on the disk if it is not known yet. Blocks on the disk then.
    #[must_use]
    pub fn of_generation(&self, generation: Generation) -> Option<Arc<HeldShare>> {
        let known = self.held().shares.get(&generation).cloned();
        if known.is_none()
            && let Err(error) = self.reload()
        {
            tracing::warn!(%error, "key shares not reloaded");
        }
        known.or_else(|| self.held().shares.get(&generation).cloned())
    }

    /// Takes up what the ceremony has changed in the folder; `true` if another share is in force now. Blocks on the disk.
    ///
    /// # Errors
    /// [`KeyFileError`], naming the file; the shares are then as they were.
    pub fn reload(&self) -> Result<bool, KeyFileError> {
        let (in_force, there) =
            (self.folder.generation_in_force()?, self.folder.share_generations()?);
        let mut held = self.held();
        let mut shares = BTreeMap::new();
        for generation in there.into_iter().chain([in_force]) {
            let share = match held.shares.get(&generation) {
                Some(known) => Arc::clone(known),
                None => Arc::new(self.folder.held_share(generation)?),
            };
            shares.insert(generation, share);
        }
        let changed = held.in_force != in_force;
        *held = Held { in_force, shares };
        Ok(changed)
    }

    /// Looks for changes each `interval` until `shutdown`; what does not hold is logged and not taken.
    pub async fn reload_every(
        self: Arc<Self>,
        interval: Duration,
        incidents: Incidents,
        shutdown: CancellationToken,
    ) {
        while shutdown.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
            let store = Arc::clone(&self);
            match lanyard_env::blocking(move || store.reload()).await {
                Ok(Ok(true)) => {
                    let generation = self.current().generation().get();
                    tracing::info!(generation, "refreshed key share in force");
                    incidents.tell(Incident::ShareChanged, generation);
                }
                Ok(Err(error)) => tracing::warn!(%error, "keeping the key shares in use"),
                Ok(Ok(false)) | Err(_) => {}
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
