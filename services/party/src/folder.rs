//! A party's folder: where each key and file stands, and how it is loaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanyard_core::badge::IssuingKey;
use lanyard_core::cosignature::WitnessKey;
use lanyard_core::hpke_box::HpkeSecretKey;
use lanyard_core::note::{NoteError, SigningKey};
use lanyard_env::{Env, FileError, Files, FolderLock, StartError};
use lanyard_transport::{Identity, IdentityError, Role};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::issuing::read_issuing_key;
use crate::key_file::{
    KeyFileError, SecretKind, read_line, read_private, read_private_text, read_secret, write_line,
    write_secret,
};
use crate::store_key::StoreKey;

/// The folder of one party. Cloning is cheap.
#[derive(Clone)]
pub struct Folder {
    root: PathBuf,
    files: Arc<dyn Files>,
}

/// Why a certificate and its key cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityFileError {
    /// The private key's file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The certificate, or that it does not go with the key.
    #[error("{}: {source}; renew it with the party's certificate authority", path.display())]
    Identity {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong.
        source: IdentityError,
    },
}

impl StartError for IdentityFileError {
    fn is_permanent(&self) -> bool {
        match self {
            Self::Key(error) => error.is_permanent(),
            Self::Identity { source, .. } => source.is_permanent(),
        }
    }
}

/// `data/`, held by this process until dropped: two processes on one state would sign two histories.
#[must_use = "another process may take the data folder once this is dropped"]
pub struct DataLock {
    _lock: FolderLock,
}

macro_rules! paths {
    ($($(#[$doc:meta])* $name:ident => $path:literal;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name(&self) -> PathBuf {
                self.root.join($path)
            }
        )*
    };
}

impl Folder {
    /// The folder at `root`; nothing is read yet.
    #[must_use]
    pub fn open(root: impl Into<PathBuf>, env: &Env) -> Self {
        Self { root: root.into(), files: Arc::clone(&env.files) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The files that it is on.
    #[must_use]
    pub fn files(&self) -> &Arc<dyn Files> {
        &self.files
    }

    paths! {
        /// `config.toml`.
        config_path => "config.toml";
        /// `manifest.note`: the newest accepted manifest.
        manifest_path => "manifest.note";
        /// `manifests/`: every accepted manifest as `VERSION.note`.
        manifests_dir => "manifests";
        /// `trust.json`: the manifest keys that the first manifest was verified with.
        trust_path => "trust.json";
        /// `ca/ca.pem`: the certificate of the party's own CA.
        ca_certificate_path => "ca/ca.pem";
        /// `ca/ca.key`: the private key of the party's own CA.
        ca_key_path => "ca/ca.key";
        /// `tls/service.pem`: the certificate of the party's service.
        service_certificate_path => "tls/service.pem";
        /// `tls/service.key`: its private key.
        service_key_path => "tls/service.key";
        /// `keys/log.key`: signs the checkpoints of an authority's log.
        log_key_path => "keys/log.key";
        /// `keys/manifest.key`: signs manifests for an authority.
        manifest_key_path => "keys/manifest.key";
        /// `keys/witness.key`: cosigns checkpoints.
        witness_key_path => "keys/witness.key";
        /// `keys/receipts.key`: signs a gate's receipts.
        receipts_key_path => "keys/receipts.key";
        /// `keys/hpke.key`: opens what is sealed to the party.
        hpke_key_path => "keys/hpke.key";
        /// `keys/audit.key`: opens the bodies of receipts.
        audit_key_path => "keys/audit.key";
        /// `keys/store.key`: seals blobs of an authority's own store.
        store_key_path => "keys/store.key";
        /// `keys/issuing.age`: the issuing key under a passphrase.
        issuing_key_path => "keys/issuing.age";
        /// `operators/`: certificates and keys of the people who act for the party.
        operators_dir => "operators";
        /// `data/evaluations/`: the share holder's signed count of evaluations.
        evaluations_dir => "data/evaluations";
        /// `data/`: all state of the running service.
        data_dir => "data";
    }

    /// Makes `data/` if need be, takes it for this process, and makes what a killed one left in the folder durable.
    ///
    /// # Errors
    /// [`FileError::Locked`] if another process has it.
    pub fn lock_data(&self) -> Result<DataLock, FileError> {
        let data = self.data_dir();
        self.files.create_dir_all(&data)?;
        let lock = self.files.lock(&data)?;
        self.files.settle(&self.root)?;
        Ok(DataLock { _lock: lock })
    }

    /// `keys/NAME-new.key` beside `keys/NAME.key`: the key that takes its place, while it does.
    #[must_use]
    pub fn new_key_path(&self, path: &Path) -> PathBuf {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        path.with_file_name(format!("{stem}-new.key"))
    }

    /// The keys that sign an authority's checkpoints: the one in force, and the one that takes its place, if there is one.
    ///
    /// # Errors
    /// [`KeyFileError`], naming the file.
    pub fn log_keys(&self) -> Result<Vec<SigningKey>, KeyFileError> {
        self.with_new(&self.log_key_path(), |path| self.signing_key(path))
    }

    /// The keys that cosign checkpoints: the one in force, and the one that takes its place, if there is one.
    ///
    /// # Errors
    /// [`KeyFileError`], naming the file.
    pub fn witness_keys(&self) -> Result<Vec<WitnessKey>, KeyFileError> {
        self.with_new(&self.witness_key_path(), |path| self.note_key(path, WitnessKey::parse))
    }

    fn with_new<K>(
        &self,
        path: &Path,
        read: impl Fn(&Path) -> Result<K, KeyFileError>,
    ) -> Result<Vec<K>, KeyFileError> {
        let new = self.new_key_path(path);
        let mut keys = Vec::with_capacity(2);
        if self.files.exists(&new)? {
            match read(&new) {
                // Put in force between the two looks.
                Err(KeyFileError::Missing { .. }) => {}
                key => keys.push(key?),
            }
        }
        // The one in force first.
        keys.insert(0, read(path)?);
        Ok(keys)
    }

    /// The key that signs an authority's checkpoints.
    ///
    /// # Errors
    /// [`KeyFileError`], naming the file.
    pub fn log_key(&self) -> Result<SigningKey, KeyFileError> {
        self.signing_key(&self.log_key_path())
    }

    /// The key that signs manifests for an authority.
    ///
    /// # Errors
    /// [`KeyFileError`], naming the file.
    pub fn manifest_key(&self) -> Result<SigningKey, KeyFileError> {
        self.signing_key(&self.manifest_key_path())
    }

    /// The key that signs a gate's receipts: the one that takes the other's place, if there is one, since nobody needs both.
    ///
    /// # Errors
    /// [`KeyFileError`], naming the file.
    pub fn receipts_key(&self) -> Result<SigningKey, KeyFileError> {
        let path = self.receipts_key_path();
        let new = self.new_key_path(&path);
        self.signing_key(if self.files.exists(&new)? { &new } else { &path })
    }

    /// The key that cosigns checkpoints.
    ///
    /// # Errors
    /// [`KeyFileError`], naming the file.
    pub fn witness_key(&self) -> Result<WitnessKey, KeyFileError> {
        self.note_key(&self.witness_key_path(), WitnessKey::parse)
    }

    /// The key that opens what is sealed to the party.
    ///
    /// # Errors
    /// [`KeyFileError`], naming the file.
    pub fn hpke_key(&self) -> Result<HpkeSecretKey, KeyFileError> {
        let bytes = read_secret(&*self.files, &self.hpke_key_path(), SecretKind::Hpke)?;
        Ok(HpkeSecretKey::from_bytes(*bytes))
    }

    /// The key that opens the bodies of receipts.
    ///
    /// # Errors
    /// [`KeyFileError`], naming the file.
    pub fn audit_key(&self) -> Result<HpkeSecretKey, KeyFileError> {
        let bytes = read_secret(&*self.files, &self.audit_key_path(), SecretKind::Audit)?;
        Ok(HpkeSecretKey::from_bytes(*bytes))
    }

    /// The key of the party's own store.
    ///
    /// # Errors
    /// [`KeyFileError`], naming the file.
    pub fn store_key(&self) -> Result<StoreKey, KeyFileError> {
        StoreKey::read(&*self.files, &self.store_key_path())
    }

    /// The issuing key; takes some tenths of a second and 64 MiB.
    ///
    /// # Errors
    /// [`KeyFileError::Passphrase`] if the passphrase is wrong, and others.
    pub fn issuing_key(&self, passphrase: &str) -> Result<IssuingKey, KeyFileError> {
        read_issuing_key(&*self.files, &self.issuing_key_path(), passphrase)
    }

    /// Writes a key of notes in its `PRIVATE+KEY+…` form.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write_signing_key(&self, path: &Path, key: &SigningKey) -> Result<(), FileError> {
        write_line(&*self.files, path, &key.format())
    }

    /// Writes a witness's key in its `PRIVATE+KEY+…` form.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write_witness_key(&self, path: &Path, key: &WitnessKey) -> Result<(), FileError> {
        write_line(&*self.files, path, &key.format())
    }

    /// Writes the key that opens what is sealed to the party.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write_hpke_key(&self, key: &HpkeSecretKey) -> Result<(), FileError> {
        write_secret(&*self.files, &self.hpke_key_path(), SecretKind::Hpke, key.expose_bytes())
    }

    /// Writes the key that opens the bodies of receipts.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write_audit_key(&self, key: &HpkeSecretKey) -> Result<(), FileError> {
        write_secret(&*self.files, &self.audit_key_path(), SecretKind::Audit, key.expose_bytes())
    }

    /// The identity of the party's service, which `reload` reads again after a renewal.
    ///
    /// # Errors
    /// [`IdentityFileError`], naming the file.
    pub fn service_identity(&self) -> Result<Identity, IdentityFileError> {
        self.identity(&self.service_certificate_path(), &self.service_key_path())
    }

    /// The identity of a person or desk of the party, for example `Role::Operator` and `registrar`.
    ///
    /// # Errors
    /// [`IdentityFileError`], naming the file.
    pub fn operator_identity(&self, role: Role, name: &str) -> Result<Identity, IdentityFileError> {
        let certificate = self.operator_certificate_path(role, name);
        self.identity(&certificate, &self.operator_key_path(role, name))
    }

    /// `operators/ROLE-NAME.pem`.
    #[must_use]
    pub fn operator_certificate_path(&self, role: Role, name: &str) -> PathBuf {
        self.operators_dir().join(format!("{role}-{name}.pem"))
    }

    /// `operators/ROLE-NAME.key`.
    #[must_use]
    pub fn operator_key_path(&self, role: Role, name: &str) -> PathBuf {
        self.operators_dir().join(format!("{role}-{name}.key"))
    }

    fn identity(&self, chain: &Path, key: &Path) -> Result<Identity, IdentityFileError> {
        read_private(&*self.files, key)?;
        Identity::load(&*self.files, chain, key)
            .map_err(|source| IdentityFileError::Identity { path: chain.to_owned(), source })
    }

    /// Reads a key of notes anywhere in the folder.
    ///
    /// # Errors
    /// [`KeyFileError`], naming the file.
    pub fn signing_key(&self, path: &Path) -> Result<SigningKey, KeyFileError> {
        self.note_key(path, SigningKey::parse)
    }

    /// Reads a private text file, such as a TLS key in PEM.
    ///
    /// # Errors
    /// [`KeyFileError`], naming the file.
    pub fn private_text(&self, path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
        read_private_text(&*self.files, path)
    }

    fn note_key<K>(
        &self,
        path: &Path,
        parse: impl Fn(&str) -> Result<K, NoteError>,
    ) -> Result<K, KeyFileError> {
        let line = read_line(&*self.files, path)?;
        parse(&line).map_err(|error| KeyFileError::malformed(path, error))
    }
}
