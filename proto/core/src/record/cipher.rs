//! AES-256-GCM-SIV (RFC 8452): a repeated nonce only shows that the same plaintext was sealed again.

use aes_gcm_siv::aead::AeadInOut as _;
use aes_gcm_siv::{Aes256GcmSiv, KeyInit as _};

/// Size of a tag in bytes.
pub(crate) const TAG: usize = 16;

/// One key of AES-256-GCM-SIV; its key schedule is wiped on drop.
pub(crate) struct Cipher(Aes256GcmSiv);

impl Cipher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Aes256GcmSiv::new(key.into()))
    }

    /// Encrypts `buffer` in place and returns the tag.
    ///
    /// # Panics
    /// If the buffer or the additional data has 64 GiB or more.
    pub(crate) fn seal(&self, nonce: &[u8; 12], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG] {
        self.0
            .encrypt_inout_detached(nonce.into(), aad, buffer.into())
            .expect("inputs are far below the limit of 64 GiB")
            .into()
    }

    /// Decrypts `buffer` in place; on a wrong tag it returns `None` and leaves the ciphertext.
    #[must_use]
    pub(crate) fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG],
    ) -> Option<()> {
        self.0.decrypt_inout_detached(nonce.into(), aad, buffer.into(), tag.into()).ok()
    }
}
