//! Fixed binary encodings: big-endian integers, raw arrays of known size, and length-prefixed fields.
//!
//! Everything that is hashed, sealed or signed is written with [`Writer`] and read back strictly with [`Reader`]:
//! one value has one encoding, and trailing bytes are refused.

use thiserror::Error;

/// Why bytes do not decode.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodecError {
    /// The input ends before the value does.
    #[error("{what}: truncated at byte {offset}, {missing} more needed")]
    Truncated {
        /// The structure that was being read.
        what: &'static str,
        /// Offset in bytes from its start.
        offset: usize,
        /// Bytes missing.
        missing: usize,
    },
    /// A field is longer than the structure allows.
    #[error("{what}: a field at byte {offset} has {length} bytes, at most {limit} are allowed")]
    Oversized {
        /// The structure that was being read.
        what: &'static str,
        /// Offset in bytes from its start.
        offset: usize,
        /// Bytes announced.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Bytes follow the value.
    #[error("{what}: {extra} unexpected bytes after byte {offset}")]
    Trailing {
        /// The structure that was being read.
        what: &'static str,
        /// Where the value ended.
        offset: usize,
        /// Bytes that follow.
        extra: usize,
    },
    /// A value outside its domain.
    #[error("{what}: invalid value before byte {offset}: {problem}")]
    Invalid {
        /// The structure that was being read.
        what: &'static str,
        /// Offset just after the value.
        offset: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Joins fields, each prefixed with its length as a big-endian `u32`: the `‖` of the design.
#[must_use]
pub fn join(fields: &[&[u8]]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(fields.iter().map(|field| field.len() + 4).sum());
    for field in fields {
        writer.field(field);
    }
    writer.into_vec()
}

/// Appends values to a growing buffer.
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    /// Appends two bytes, big-endian.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Appends four bytes, big-endian.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Appends eight bytes, big-endian.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Appends bytes as they are; the reader must know how many.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends a field with its length, a big-endian `u32`.
    ///
    /// # Panics
    /// If the field has 4 GiB or more: no structure of the protocol comes near.
    pub fn field(&mut self, bytes: &[u8]) -> &mut Self {
        let length = u32::try_from(bytes.len()).expect("fields are far below 4 GiB");
        self.u32(length).raw(bytes)
    }

    /// The bytes written.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

/// Reads values strictly from a slice; errors name the structure and the offset.
pub struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` as the structure called `what` in errors.
    #[must_use]
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, bytes, offset: 0 }
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// [`CodecError::Truncated`] if fewer are left.
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        let rest = &self.bytes[self.offset..];
        if rest.len() < length {
            return Err(CodecError::Truncated {
                what: self.what,
                offset: self.bytes.len(),
                missing: length - rest.len(),
            });
        }
        self.offset += length;
        Ok(&rest[..length])
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`CodecError::Truncated`] if fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let mut array = [0; N];
        array.copy_from_slice(self.raw(N)?);
        Ok(array)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`CodecError::Truncated`] at the end.
    pub fn u8(&mut self) -> Result<u8, CodecError> {
        Ok(self.array::<1>()?[0])
    }

    /// A big-endian `u16`.
    ///
    /// # Errors
    /// [`CodecError::Truncated`] at the end.
    pub fn u16(&mut self) -> Result<u16, CodecError> {
        self.array().map(u16::from_be_bytes)
    }

    /// A big-endian `u32`.
    ///
    /// # Errors
    /// [`CodecError::Truncated`] at the end.
    pub fn u32(&mut self) -> Result<u32, CodecError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A big-endian `u64`.
    ///
    /// # Errors
    /// [`CodecError::Truncated`] at the end.
    pub fn u64(&mut self) -> Result<u64, CodecError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A length-prefixed field of at most `limit` bytes.
    ///
    /// # Errors
    /// [`CodecError::Oversized`] or [`CodecError::Truncated`].
    pub fn field(&mut self, limit: usize) -> Result<&'a [u8], CodecError> {
        let offset = self.offset;
        let length = self.u32()? as usize;
        if length > limit {
            return Err(CodecError::Oversized { what: self.what, offset, length, limit });
        }
        self.raw(length)
    }

    /// A length-prefixed UTF-8 field of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Reader::field`], and [`CodecError::Invalid`] if it is not UTF-8.
    pub fn text(&mut self, limit: usize) -> Result<&'a str, CodecError> {
        let bytes = self.field(limit)?;
        std::str::from_utf8(bytes).map_err(|_| self.invalid("not UTF-8"))
    }

    /// An error at the current offset.
    #[must_use]
    pub fn invalid(&self, problem: &'static str) -> CodecError {
        CodecError::Invalid { what: self.what, offset: self.offset, problem }
    }

    /// How many bytes are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// Ends the structure.
    ///
    /// # Errors
    /// [`CodecError::Trailing`] if bytes are left.
    pub fn finish(self) -> Result<(), CodecError> {
        match self.remaining() {
            0 => Ok(()),
            extra => Err(CodecError::Trailing { what: self.what, offset: self.offset, extra }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut writer = Writer::new();
        writer.u8(1).u16(2).u32(3).u64(4).raw(&[5, 6]).field(b"seven");
        let bytes = writer.into_vec();
        let mut reader = Reader::new("sample", &bytes);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u16(), Ok(2));
        assert_eq!(reader.u32(), Ok(3));
        assert_eq!(reader.u64(), Ok(4));
        assert_eq!(reader.array(), Ok([5, 6]));
        assert_eq!(reader.text(5), Ok("seven"));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn refuses_truncated_oversized_and_trailing_input() {
        let bytes = join(&[b"four"]);
        let truncated = Reader::new("sample", &bytes[..6]).field(9);
        assert_eq!(truncated, Err(CodecError::Truncated { what: "sample", offset: 6, missing: 2 }));
        let oversized = Reader::new("sample", &bytes).field(3);
        assert!(matches!(oversized, Err(CodecError::Oversized { length: 4, limit: 3, .. })));
        let trailing = Reader::new("sample", &bytes).finish();
        assert!(matches!(trailing, Err(CodecError::Trailing { extra: 8, .. })));
    }

    #[test]
    fn joined_fields_cannot_run_into_each_other() {
        assert_ne!(join(&[b"ab", b"c"]), join(&[b"a", b"bc"]));
    }
}
