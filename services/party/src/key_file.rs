//! Key files: one line of text each, for their owner only.
//!
//! Keys of notes stand in the `PRIVATE+KEY+…` form of C2SP signed-note; other secrets of 32 bytes as
//! `LANYARD-KIND-KEY-1 BASE64`, a key share with its index between the two. The base64 is of the secret and four bytes of
//! its hash: a failing disk shall not make another key of it.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lanyard_env::{FileError, Files, Mode, StartError};
use thiserror::Error;
use zeroize::Zeroizing;

/// The most bytes of a key file: 64 KiB.
const MAX_KEY_FILE_BYTES: usize = 64 * 1024;

/// Bytes of a secret, and of the checksum behind it.
const SECRET: usize = 32;
const CHECK: usize = 4;

/// Why a key file is refused. Nothing of its content is repeated.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It is not there.
    #[error(
        "{}: there is no such key; restore the party's folder from its backup, or run the ceremony step that makes it",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Others than its owner may read or write it.
    #[error(
        "{}: other users may read or write this private key (mode {mode:04o}); run: chmod 600 {}",
        path.display(),
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Its content is not the key that should be there.
    #[error("{}: {problem}; restore the file from the party's backup", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Its content is sealed and the passphrase does not open it.
    #[error("{}: the passphrase does not open it", path.display())]
    Passphrase {
        /// The file.
        path: PathBuf,
    },
    /// It is in use and not to be destroyed.
    #[error("{}: this share is in force; refresh the shares first", path.display())]
    InForce {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl StartError for KeyFileError {
    fn is_permanent(&self) -> bool {
        !matches!(self, Self::File(error) if !error.is_permanent())
    }
}

impl KeyFileError {
    pub(crate) fn malformed(path: &Path, problem: impl ToString) -> Self {
        Self::Malformed { path: path.to_owned(), problem: problem.to_string() }
    }
}

/// The secrets that stand in a `LANYARD-…-KEY-1` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretKind {
    /// Opens what is sealed to the party.
    Hpke,
    /// Opens the bodies of receipts.
    Audit,
    /// A share of the pseudonym key.
    Share,
    /// Seals blobs of the party's own store.
    Store,
}

impl SecretKind {
    const fn label(self) -> &'static str {
        match self {
            Self::Hpke => "LANYARD-HPKE-KEY-1",
            Self::Audit => "LANYARD-AUDIT-KEY-1",
            Self::Share => "LANYARD-SHARE-KEY-1",
            Self::Store => "LANYARD-STORE-KEY-1",
        }
    }
}

/// Reads a private file, whole.
///
/// # Errors
/// [`KeyFileError::Missing`], [`KeyFileError::Exposed`] and others.
pub fn read_private(files: &dyn Files, path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let mode = match files.permissions(path) {
        Err(error) if error.is_not_found() => {
            return Err(KeyFileError::Missing { path: path.to_owned() });
        }
        mode => mode?,
    };
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode });
    }
    let bytes = Zeroizing::new(files.read(path)?);
    if bytes.len() > MAX_KEY_FILE_BYTES {
        return Err(KeyFileError::malformed(path, format!("{} bytes are no key", bytes.len())));
    }
    Ok(bytes)
}

/// Reads a private file as text.
///
/// # Errors
/// As [`read_private`]; [`KeyFileError::Malformed`] if it is not UTF-8.
pub fn read_private_text(
    files: &dyn Files,
    path: &Path,
) -> Result<Zeroizing<String>, KeyFileError> {
    let bytes = read_private(files, path)?;
    let text =
        std::str::from_utf8(&bytes).map_err(|_| KeyFileError::malformed(path, "it is not text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Reads the only line of a private file.
///
/// # Errors
/// As [`read_private_text`]; [`KeyFileError::Malformed`] if it is not exactly one line.
pub(crate) fn read_line(files: &dyn Files, path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let text = read_private_text(files, path)?;
    match text.strip_suffix('\n') {
        Some(line) if !line.contains('\n') => Ok(Zeroizing::new(line.to_owned())),
        _ => Err(KeyFileError::malformed(path, "it is not exactly one line")),
    }
}

/// Writes a line to a private file.
///
/// # Errors
/// [`FileError`].
pub(crate) fn write_line(files: &dyn Files, path: &Path, line: &str) -> Result<(), FileError> {
    let text = Zeroizing::new(format!("{line}\n"));
    files.write_atomic(path, text.as_bytes(), Mode::Private)
}

/// Reads a `LANYARD-…-KEY-1` file.
pub(crate) fn read_secret(
    files: &dyn Files,
    path: &Path,
    kind: SecretKind,
) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let line = read_line(files, path)?;
    let encoded = strip_label(path, &line, kind)?;
    decode(path, encoded)
}

/// Writes a `LANYARD-…-KEY-1` file.
pub(crate) fn write_secret(
    files: &dyn Files,
    path: &Path,
    kind: SecretKind,
    secret: &[u8; 32],
) -> Result<(), FileError> {
    let encoded = encode(secret);
    let line = Zeroizing::new(format!("{} {}", kind.label(), encoded.as_str()));
    write_line(files, path, &line)
}

/// Reads a `LANYARD-SHARE-KEY-1 INDEX BASE64` file.
pub(crate) fn read_share(
    files: &dyn Files,
    path: &Path,
) -> Result<(u8, Zeroizing<[u8; 32]>), KeyFileError> {
    let line = read_line(files, path)?;
    let (index, encoded) = strip_label(path, &line, SecretKind::Share)?
        .split_once(' ')
        .ok_or_else(|| KeyFileError::malformed(path, "it has no index and share"))?;
    let index = index
        .parse()
        .map_err(|_| KeyFileError::malformed(path, "its index is not a number from 1 to 255"))?;
    Ok((index, decode(path, encoded)?))
}

/// Writes a `LANYARD-SHARE-KEY-1 INDEX BASE64` file.
pub(crate) fn write_share(
    files: &dyn Files,
    path: &Path,
    index: u8,
    share: &[u8; 32],
) -> Result<(), FileError> {
    let encoded = encode(share);
    let label = SecretKind::Share.label();
    let line = Zeroizing::new(format!("{label} {index} {}", encoded.as_str()));
    write_line(files, path, &line)
}

/// Writes the number of the share's generation that is in force.
pub(crate) fn write_generation(
    files: &dyn Files,
    path: &Path,
    generation: u32,
) -> Result<(), FileError> {
    write_line(files, path, &generation.to_string())
}

fn strip_label<'a>(path: &Path, line: &'a str, kind: SecretKind) -> Result<&'a str, KeyFileError> {
    line.strip_prefix(kind.label()).and_then(|rest| rest.strip_prefix(' ')).ok_or_else(|| {
        KeyFileError::malformed(path, format!("it does not start with {}", kind.label()))
    })
}

fn encode(secret: &[u8; SECRET]) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; SECRET + CHECK]);
    bytes[..SECRET].copy_from_slice(secret);
    bytes[SECRET..].copy_from_slice(&check_of(secret));
    Zeroizing::new(BASE64.encode(bytes.as_slice()))
}

fn check_of(secret: &[u8; SECRET]) -> [u8; CHECK] {
    let hash = Zeroizing::new(blake3::derive_key("lanyard v1 key file check", secret));
    let mut check = [0; CHECK];
    check.copy_from_slice(&hash[..CHECK]);
    check
}

fn decode(path: &Path, encoded: &str) -> Result<Zeroizing<[u8; SECRET]>, KeyFileError> {
    let mut secret = Zeroizing::new([0; SECRET]);
    let mut buffer = Zeroizing::new([0; SECRET + CHECK + 3]);
    match BASE64.decode_slice(encoded, buffer.as_mut_slice()) {
        Ok(length) if length == SECRET + CHECK => secret.copy_from_slice(&buffer[..SECRET]),
        _ => {
            return Err(KeyFileError::malformed(path, "its key is not 36 bytes in base64"));
        }
    }
    if check_of(&secret) != buffer[SECRET..SECRET + CHECK] {
        return Err(KeyFileError::malformed(
            path,
            "its key is damaged: the checksum does not match",
        ));
    }
    Ok(secret)
}
