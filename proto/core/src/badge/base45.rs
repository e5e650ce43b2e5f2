//! Base45 (RFC 9285) between buffers of known size: no heap for secrets, and one text for each value.

/// The alphabet of RFC 9285 section 4.2, which is QR's alphanumeric mode.
const ALPHABET: &[u8; 45] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";

/// Characters of the encoding of `bytes` bytes.
pub(crate) const fn encoded_len(bytes: usize) -> usize {
    bytes / 2 * 3 + bytes % 2 * 2
}

/// Appends the encoding of `bytes` to `text`.
pub(crate) fn encode_into(bytes: &[u8], text: &mut String) {
    let mut push = |value: u32| text.push(char::from(ALPHABET[value as usize % 45]));
    for chunk in bytes.chunks(2) {
        match *chunk {
            [a, b] => {
                let value = u32::from(a) * 256 + u32::from(b);
                push(value);
                push(value / 45);
                push(value / 2_025);
            }
            [a] => {
                push(u32::from(a));
                push(u32::from(a) / 45);
            }
            _ => {}
        }
    }
}

/// Decodes `text` into exactly `bytes`; `None` on another length, a foreign character, or a group out of range.
#[must_use]
pub(crate) fn decode_into(text: &[u8], bytes: &mut [u8]) -> Option<()> {
    if text.len() != encoded_len(bytes.len()) {
        return None;
    }
    for (group, chunk) in text.chunks(3).zip(bytes.chunks_mut(2)) {
        let mut value = 0;
        for &character in group.iter().rev() {
            value = value * 45 + digit(character)?;
        }
        match chunk {
            [a, b] => [*a, *b] = u16::try_from(value).ok()?.to_be_bytes(),
            [a] => *a = u8::try_from(value).ok()?,
            _ => {}
        }
    }
    Some(())
}

/// The value of a character. A table: branches on random letters cost more than the whole rest of a badge's parsing.
fn digit(character: u8) -> Option<u32> {
    const NONE: u8 = 45;
    static DIGITS: [u8; 256] = {
        let mut digits = [NONE; 256];
        let mut value = 0;
        while value < ALPHABET.len() {
            digits[ALPHABET[value] as usize] = value as u8; // below 45
            value += 1;
        }
        digits
    };
    let value = DIGITS[usize::from(character)];
    (value != NONE).then_some(value.into())
}
