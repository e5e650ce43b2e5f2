//! With RustCrypto.

use aes_gcm_siv::aead::AeadInOut as _;
use aes_gcm_siv::{Aes256GcmSiv, KeyInit as _};

use super::TAG;

/// One key of AES-256-GCM-SIV.
pub(crate) struct Cipher(Aes256GcmSiv);

impl Cipher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Aes256GcmSiv::new(key.into()))
    }

    /// Encrypts `buffer` in place and returns the tag. The buffer is far below the limit of 64 GiB: it is in memory.
    pub(crate) fn seal(&self, nonce: &[u8; 12], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG] {
        self.0
            .encrypt_inout_detached(nonce.into(), aad, buffer.into())
            .expect("a buffer in memory is short enough")
            .into()
    }

    /// Decrypts ciphertext and tag in place and returns the plaintext; `None` on a wrong tag, and the buffer is lost.
    pub(crate) fn open<'a>(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        sealed: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        let (text, tag) = sealed.split_last_chunk_mut::<TAG>()?;
        self.0
            .decrypt_inout_detached(nonce.into(), aad, (&mut *text).into(), (&*tag).into())
            .ok()?;
        Some(text)
    }
}
