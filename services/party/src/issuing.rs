//! The issuing key at rest: an age file under a passphrase, opened only to issue.

use std::path::Path;

use age::secrecy::SecretString;
use lanyard_core::badge::IssuingKey;
use lanyard_env::{FileError, Files, Mode};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::key_file::{KeyFileError, read_private};

/// scrypt with N = 2^16, r = 8: 64 MiB and some tenths of a second a guess.
const WORK_FACTOR: u8 = 16;
/// The most that is accepted: 1 GiB.
const MAX_WORK_FACTOR: u8 = 20;
/// The least characters of a passphrase.
pub const MIN_PASSPHRASE: usize = 8;

/// Why an issuing key was not sealed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SealIssuingKeyError {
    /// The passphrase is too short.
    #[error("passphrase of the issuing key: {length} characters, at least {MIN_PASSPHRASE} needed")]
    ShortPassphrase {
        /// Characters given.
        length: usize,
    },
    /// The age format could not be written.
    #[error("issuing key: {0}")]
    Seal(#[from] age::EncryptError),
    /// The file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Seals the issuing key under a passphrase (age, scrypt recipient) and writes it.
///
/// # Errors
/// [`SealIssuingKeyError`].
pub fn write_issuing_key(
    files: &dyn Files,
    path: &Path,
    key: &IssuingKey,
    passphrase: &str,
) -> Result<(), SealIssuingKeyError> {
    let length = passphrase.chars().count();
    if length < MIN_PASSPHRASE {
        return Err(SealIssuingKeyError::ShortPassphrase { length });
    }
    let mut recipient = age::scrypt::Recipient::new(SecretString::from(passphrase));
    recipient.set_work_factor(WORK_FACTOR);
    let sealed = age::encrypt(&recipient, key.expose_bytes())?;
    Ok(files.write_atomic(path, &sealed, Mode::Private)?)
}

/// Opens the issuing key; takes some tenths of a second and 64 MiB.
///
/// # Errors
/// [`KeyFileError::Passphrase`] if the passphrase is wrong, and others.
pub fn read_issuing_key(
    files: &dyn Files,
    path: &Path,
    passphrase: &str,
) -> Result<IssuingKey, KeyFileError> {
    let sealed = read_private(files, path)?;
    let mut identity = age::scrypt::Identity::new(SecretString::from(passphrase));
    identity.set_max_work_factor(MAX_WORK_FACTOR);
    let opened = Zeroizing::new(age::decrypt(&identity, &sealed).map_err(|error| match error {
        age::DecryptError::DecryptionFailed | age::DecryptError::KeyDecryptionFailed => {
            KeyFileError::Passphrase { path: path.to_owned() }
        }
        error => KeyFileError::malformed(path, error),
    })?);
    let bytes = Zeroizing::new(
        <[u8; 32]>::try_from(opened.as_slice())
            .map_err(|_| KeyFileError::malformed(path, "it does not hold 32 bytes"))?,
    );
    Ok(IssuingKey::from_bytes(*bytes))
}
