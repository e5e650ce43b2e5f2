//! The key of a party's own store: what a stolen disk or backup of the database must not show.

use std::path::Path;

use aes_gcm_siv::aead::{Aead as _, Payload};
use aes_gcm_siv::{Aes256GcmSiv, KeyInit as _};
use lanyard_core::codec::join;
use lanyard_core::oprf::LocalKey;
use lanyard_env::Files;
use rand::CryptoRng;
use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

use crate::key_file::{KeyFileError, SecretKind, read_secret, write_secret};

const NONCE: usize = 12;

/// Bytes that [`StoreKey::seal`] adds: nonce and tag.
pub const SEAL_OVERHEAD: usize = NONCE + 16;

/// Where a sealed blob stands; it opens nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell<'a> {
    /// The table.
    pub table: &'a str,
    /// The column.
    pub column: &'a str,
    /// The row's primary key.
    pub row: u64,
}

/// A sealed blob does not open: moved from another cell, altered, or of another store key.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error(
    "{table}.{column} of row {row}: does not open with keys/store.key; restore both from one backup"
)]
pub struct SealedBlobError {
    table: String,
    column: String,
    row: u64,
}

/// 32 secret bytes that seal blobs at rest and key local hashes; never leaves the party.
pub struct StoreKey {
    cipher: Aes256GcmSiv,
    pseudonym_key: LocalKey,
    hash_key: [u8; 32],
    row_key: [u8; 32],
}

impl Drop for StoreKey {
    fn drop(&mut self) {
        // Cipher and pseudonym key wipe themselves.
        self.hash_key.zeroize();
        self.row_key.zeroize();
    }
}

impl StoreKey {
    /// From its bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let sealing = Zeroizing::new(blake3::derive_key("lanyard v1 store sealing", bytes));
        Self {
            cipher: Aes256GcmSiv::new((&*sealing).into()),
            pseudonym_key: LocalKey::from_bytes(blake3::derive_key(
                "lanyard v1 store pseudonyms",
                bytes,
            )),
            hash_key: blake3::derive_key("lanyard v1 store hash", bytes),
            row_key: blake3::derive_key("lanyard v1 store rows", bytes),
        }
    }

    /// Seals a blob to a cell: nonce (12 random bytes), ciphertext, tag (16).
    ///
    /// # Panics
    /// If the blob has 64 GiB or more.
    #[must_use]
    pub fn seal<R: CryptoRng + ?Sized>(&self, cell: Cell<'_>, blob: &[u8], rng: &mut R) -> Vec<u8> {
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce);
        let payload = Payload { msg: blob, aad: &additional_data(cell) };
        let sealed = self
            .cipher
            .encrypt((&nonce).into(), payload)
            .expect("blobs are far below the limit of 64 GiB");
        [nonce.as_slice(), &sealed].concat()
    }

    /// Opens a blob of [`StoreKey::seal`].
    ///
    /// # Errors
    /// [`SealedBlobError`], naming the cell.
    pub fn open(
        &self,
        cell: Cell<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealedBlobError> {
        sealed
            .split_first_chunk::<NONCE>()
            .and_then(|(nonce, msg)| {
                let payload = Payload { msg, aad: &additional_data(cell) };
                self.cipher.decrypt(nonce.into(), payload).ok()
            })
            .map(Zeroizing::new)
            .ok_or_else(|| SealedBlobError {
                table: cell.table.to_owned(),
                column: cell.column.to_owned(),
                row: cell.row,
            })
    }

    /// The key of the seals over the store's rows.
    #[must_use]
    pub const fn row_key(&self) -> [u8; 32] {
        self.row_key
    }

    /// A keyed hash of `value`, to look it up without storing it; `purpose` keeps uses apart.
    #[must_use]
    pub fn local_hash(&self, purpose: &str, value: &[u8]) -> [u8; 32] {
        let input = Zeroizing::new(join(&[purpose.as_bytes(), value]));
        blake3::keyed_hash(&self.hash_key, &input).into()
    }

    /// The key under which pseudonyms are stored: see [`LocalKey::store_key`].
    #[must_use]
    pub const fn pseudonym_key(&self) -> &LocalKey {
        &self.pseudonym_key
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn read(files: &dyn Files, path: &Path) -> Result<Self, KeyFileError> {
        Ok(Self::from_bytes(&*read_secret(files, path, SecretKind::Store)?))
    }

    /// Draws a key and writes it.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn generate<R: CryptoRng + ?Sized>(
        files: &dyn Files,
        path: &Path,
        rng: &mut R,
    ) -> Result<(), KeyFileError> {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(bytes.as_mut_slice());
        Ok(write_secret(files, path, SecretKind::Store, &bytes)?)
    }
}

fn additional_data(cell: Cell<'_>) -> Vec<u8> {
    join(&[cell.table.as_bytes(), cell.column.as_bytes(), &cell.row.to_be_bytes()])
}

#[cfg(test)]
mod tests {
    use lanyard_env::Env;

    use super::*;

    const CELL: Cell<'static> = Cell { table: "badges", column: "seed", row: 7 };

    #[test]
    fn a_blob_opens_in_its_cell_only() {
        let key = StoreKey::from_bytes(&[1; 32]);
        let sealed = key.seal(CELL, b"seed", &mut Env::system().rng());
        assert_eq!(sealed.len(), 4 + SEAL_OVERHEAD);
        assert_eq!(key.open(CELL, &sealed).unwrap().as_slice(), b"seed");
        for cell in [
            Cell { table: "people", ..CELL },
            Cell { column: "name", ..CELL },
            Cell { row: 8, ..CELL },
        ] {
            assert!(key.open(cell, &sealed).is_err());
        }
        assert!(StoreKey::from_bytes(&[2; 32]).open(CELL, &sealed).is_err());
        for length in 0..sealed.len() {
            assert!(key.open(CELL, &sealed[..length]).is_err());
        }
    }

    #[test]
    fn equal_blobs_seal_differently_and_hash_equally() {
        let key = StoreKey::from_bytes(&[1; 32]);
        let mut rng = Env::system().rng();
        assert_ne!(key.seal(CELL, b"seed", &mut rng), key.seal(CELL, b"seed", &mut rng));
        assert_eq!(key.local_hash("a", b"x"), key.local_hash("a", b"x"));
        assert_ne!(key.local_hash("a", b"x"), key.local_hash("b", b"x"));
        assert_ne!(key.local_hash("a", b"x"), StoreKey::from_bytes(&[2; 32]).local_hash("a", b"x"));
    }
}
