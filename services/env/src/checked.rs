//! Small files that carry a checksum in front of what they say: a failing disk shall not make something else of it.

/// Bytes of the checksum: BLAKE3.
const SUM: usize = 32;

/// A file's bytes for what it says: the checksum, then the body.
#[must_use]
pub fn with_checksum(body: &[u8]) -> Vec<u8> {
    [blake3::hash(body).as_bytes().as_slice(), body].concat()
}

/// What the bytes of a file made by [`with_checksum`] say; `None` if they are not what was written.
#[must_use]
pub fn checked_body(bytes: &[u8]) -> Option<&[u8]> {
    let (sum, body) = bytes.split_first_chunk::<SUM>()?;
    (blake3::hash(body) == *sum).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_counts() {
        let sound = with_checksum(b"lanyard 17");
        assert_eq!(checked_body(&sound), Some(b"lanyard 17".as_slice()));
        for place in 0..sound.len() * 8 {
            let mut flipped = sound.clone();
            flipped[place / 8] ^= 1 << (place % 8);
            assert_eq!(checked_body(&flipped), None, "bit {place}");
        }
        for length in 0..sound.len() {
            assert_eq!(checked_body(&sound[..length]), None, "{length} bytes");
        }
    }
}
