//! AES-256-GCM-SIV (RFC 8452): a repeated nonce only shows that the same plaintext was sealed again.
//!
//! Each record has a key of its own, so that setting up costs more than its 32 bytes: AWS-LC does both three times faster
//! than RustCrypto. Services link it for TLS anyway, and turn on the feature `aws-lc`; everybody else stays in pure Rust.

#[cfg(feature = "aws-lc")]
mod aws_lc;
#[cfg(any(not(feature = "aws-lc"), test))]
mod rust_crypto;

#[cfg(feature = "aws-lc")]
pub(crate) use aws_lc::Cipher;
#[cfg(not(feature = "aws-lc"))]
pub(crate) use rust_crypto::Cipher;

/// Size of a tag in bytes.
pub(crate) const TAG: usize = 16;

#[cfg(all(test, feature = "aws-lc"))]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha20Rng;

    use super::*;

    #[test]
    fn both_libraries_agree() {
        let mut rng = ChaCha20Rng::seed_from_u64(8);
        for length in (0..70).chain([255, 256, 257, 511, 512, 513, 4_097]) {
            let (mut key, mut nonce, mut aad) = ([0; 32], [0; 12], vec![0; length % 67]);
            let mut plaintext = vec![0; length];
            rng.fill_bytes(&mut key);
            rng.fill_bytes(&mut nonce);
            rng.fill_bytes(&mut aad);
            rng.fill_bytes(&mut plaintext);
            let (ours, theirs) = (Cipher::new(&key), rust_crypto::Cipher::new(&key));

            let mut sealed = plaintext.clone();
            let tag = ours.seal(&nonce, &aad, &mut sealed);
            let mut expected = plaintext.clone();
            assert_eq!(tag, theirs.seal(&nonce, &aad, &mut expected), "{length} bytes");
            assert_eq!(sealed, expected, "{length} bytes");

            sealed.extend_from_slice(&tag);
            let opened = ours.open(&nonce, &aad, &mut sealed.clone()).map(|text| text.to_vec());
            assert_eq!(opened.as_ref(), Some(&plaintext), "{length} bytes");
            let opened = theirs.open(&nonce, &aad, &mut sealed.clone()).map(|text| text.to_vec());
            assert_eq!(opened.as_ref(), Some(&plaintext), "{length} bytes");
            sealed[length] ^= 1;
            assert!(ours.open(&nonce, &aad, &mut sealed.clone()).is_none(), "{length} bytes");
            assert!(theirs.open(&nonce, &aad, &mut sealed).is_none(), "{length} bytes");
        }
    }
}
