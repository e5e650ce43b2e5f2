//! With AWS-LC.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};

use super::TAG;

/// One key of AES-256-GCM-SIV.
pub(crate) struct Cipher(LessSafeKey);

impl Cipher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM_SIV, key).expect("a key of 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Encrypts `buffer` in place and returns the tag. The buffer is far below the limit of 64 GiB: it is in memory.
    pub(crate) fn seal(&self, nonce: &[u8; 12], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG] {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(aad), buffer)
            .expect("a buffer in memory is short enough");
        tag.as_ref().try_into().expect("a tag has 16 bytes")
    }

    /// Decrypts ciphertext and tag in place and returns the plaintext; `None` on a wrong tag, and the buffer is lost.
    pub(crate) fn open<'a>(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        sealed: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0.open_in_place(nonce, Aad::from(aad), sealed).ok()
    }
}
