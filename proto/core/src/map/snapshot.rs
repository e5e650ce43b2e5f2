//! A whole map as a stream of bytes: 31 bytes of header, then 68 bytes a row by ascending handle.
//!
//! ```text
//! "lanyard snapshot v1\n" | epoch (4) | audience (1) | authority (1) | depth (1) | count (4)
//! (handle (16) | version (4) | sealed record (48))* strictly ascending
//! ```
//!
//! Chunks may be cut anywhere. [`Loader`] is what a receiver wants: it takes no memory before the header fits what a
//! verified map head promised, and gives the map away only once its root does.

use thiserror::Error;

use super::{Builder, Commitment, MAX_DEPTH, Map, MapError, Row};
use crate::codec::{CodecError, Reader, Writer};
use crate::ids::{Audience, Authority, Epoch, Handle};

const MAGIC: &[u8; 20] = b"lanyard snapshot v1\n";

/// Why a snapshot is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Not a snapshot, or a value outside its domain.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// It ends before its last row does.
    #[error("snapshot: it ends after {rows} of {count} rows")]
    Truncated {
        /// Whole rows that were read.
        rows: u32,
        /// Rows that the header announced; 0 if it did not arrive.
        count: u32,
    },
    /// Bytes follow the last row.
    #[error("snapshot: unexpected bytes after the last of {count} rows")]
    Trailing {
        /// Rows that the header announced.
        count: u32,
    },
    /// A handle is not greater than the one before it.
    #[error("snapshot: row {row} is out of order")]
    Order {
        /// The row's index, from 0.
        row: u32,
    },
    /// It is a snapshot of something else.
    #[error("snapshot: {given} was sent, {expected} was asked for")]
    Other {
        /// What the header says.
        given: Header,
        /// What was wanted.
        expected: Header,
    },
    /// The rows are no map.
    #[error("snapshot: {0}")]
    Map(#[from] MapError),
    /// The rows are not those that were committed to.
    #[error("snapshot of {header}: its root is not the committed one")]
    Root {
        /// The header.
        header: Header,
    },
}

/// Which map a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Who publishes it.
    pub authority: Authority,
    /// Whom it is for.
    pub audience: Audience,
    /// The epoch of its handles.
    pub epoch: Epoch,
    /// The depth of its tree.
    pub depth: u8,
    /// How many rows follow.
    pub count: u32,
}

impl Header {
    /// Size in bytes.
    pub const SIZE: usize = MAGIC.len() + 11;

    /// The header for the directory's map with this commitment.
    #[must_use]
    pub const fn new(
        authority: Authority,
        audience: Audience,
        epoch: Epoch,
        commitment: &Commitment,
    ) -> Self {
        let Commitment { depth, count, .. } = *commitment;
        Self { authority, audience, epoch, depth, count }
    }

    /// Bytes of the whole snapshot.
    #[must_use]
    pub const fn snapshot_bytes(&self) -> u64 {
        Self::SIZE as u64 + self.count as u64 * Row::SIZE as u64
    }

    /// The bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(Self::SIZE);
        writer.raw(MAGIC).u32(self.epoch.get());
        writer.u8(self.audience.byte()).u8(self.authority.byte());
        writer.u8(self.depth).u32(self.count);
        writer.into_vec()
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// [`CodecError`] if they are not a header.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new("snapshot header", bytes);
        if reader.array()? != *MAGIC {
            return Err(reader.invalid("it does not start with \"lanyard snapshot v1\""));
        }
        let epoch = Epoch::new(reader.u32()?);
        let audience = Audience::from_byte(reader.u8()?);
        let audience = audience.ok_or_else(|| reader.invalid("no such audience"))?;
        let authority = Authority::from_byte(reader.u8()?);
        let authority = authority.ok_or_else(|| reader.invalid("no such authority"))?;
        let depth = reader.u8()?;
        if depth > MAX_DEPTH {
            return Err(reader.invalid("the map is too deep"));
        }
        let count = reader.u32()?;
        reader.finish()?;
        Ok(Self { authority, audience, epoch, depth, count })
    }
}

impl std::fmt::Display for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { authority, audience, epoch, depth, count } = self;
        write!(
            f,
            "{authority} directory for {audience}, epoch {epoch}, depth {depth}, {count} rows"
        )
    }
}

/// The snapshot of a map in chunks of about `chunk_bytes`, at least a row each.
pub fn encode(
    map: &Map,
    authority: Authority,
    audience: Audience,
    epoch: Epoch,
    chunk_bytes: usize,
) -> impl Iterator<Item = Vec<u8>> {
    let header = Header::new(authority, audience, epoch, &map.commitment()).to_bytes();
    let rows_per_chunk = (chunk_bytes / Row::SIZE).max(1);
    let mut slots = map.table.slots().peekable();
    let rows = std::iter::from_fn(move || {
        slots.peek()?;
        let mut chunk = Vec::with_capacity(rows_per_chunk * Row::SIZE);
        for slot in slots.by_ref().take(rows_per_chunk) {
            chunk.extend_from_slice(slot.as_bytes());
        }
        Some(chunk)
    });
    std::iter::once(header).chain(rows)
}

/// Reads a snapshot chunk by chunk, strictly; holds less than a row back. After an error it is of no more use.
#[derive(Default)]
pub struct Decoder {
    header: Option<Header>,
    /// The beginning of a header or row whose end has not arrived.
    partial: Vec<u8>,
    previous: Option<Handle>,
    rows: u32,
}

impl Decoder {
    /// A decoder at the start of a snapshot.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The header, once it has arrived.
    #[must_use]
    pub const fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Reads the next chunk and appends the rows that it completes.
    ///
    /// # Errors
    /// [`SnapshotError`] if the bytes are no snapshot; `rows` may have been appended to before.
    pub fn push(&mut self, mut chunk: &[u8], rows: &mut Vec<Row>) -> Result<(), SnapshotError> {
        let header = match self.header {
            Some(header) => header,
            None => {
                let Some(bytes) = self.take::<{ Header::SIZE }>(&mut chunk) else { return Ok(()) };
                *self.header.insert(Header::from_bytes(&bytes)?)
            }
        };
        while !chunk.is_empty() {
            if self.rows == header.count {
                return Err(SnapshotError::Trailing { count: header.count });
            }
            let Some(bytes) = self.take::<{ Row::SIZE }>(&mut chunk) else { return Ok(()) };
            let row = Row::from_bytes(&bytes)?;
            if self.previous.replace(row.handle) >= Some(row.handle) {
                return Err(SnapshotError::Order { row: self.rows });
            }
            rows.push(row);
            self.rows += 1;
        }
        Ok(())
    }

    /// Ends the snapshot.
    ///
    /// # Errors
    /// [`SnapshotError::Truncated`] if rows are missing.
    pub fn finish(self) -> Result<Header, SnapshotError> {
        match self.header {
            Some(header) if self.rows == header.count => Ok(header),
            header => {
                let count = header.map_or(0, |header| header.count);
                Err(SnapshotError::Truncated { rows: self.rows, count })
            }
        }
    }

    /// The next `N` bytes from what was held back and the chunk; holds the chunk back if they are too few.
    fn take<const N: usize>(&mut self, chunk: &mut &[u8]) -> Option<[u8; N]> {
        if self.partial.is_empty()
            && let Some((bytes, rest)) = chunk.split_first_chunk()
        {
            *chunk = rest;
            return Some(*bytes);
        }
        let (more, rest) = chunk.split_at(chunk.len().min(N - self.partial.len()));
        self.partial.extend_from_slice(more);
        *chunk = rest;
        let bytes = self.partial.as_slice().try_into().ok()?;
        self.partial.clear();
        Some(bytes)
    }
}

/// Builds a map from the chunks of a snapshot, and only the map that was committed to.
pub struct Loader {
    expected: Header,
    commitment: Commitment,
    decoder: Decoder,
    builder: Option<Builder>,
    rows: Vec<Row>,
}

impl Loader {
    /// For the map of this directory and commitment, which is taken from a verified map head: its count decides how
    /// much memory is taken.
    #[must_use]
    pub fn new(
        authority: Authority,
        audience: Audience,
        epoch: Epoch,
        commitment: Commitment,
    ) -> Self {
        Self {
            expected: Header::new(authority, audience, epoch, &commitment),
            commitment,
            decoder: Decoder::new(),
            builder: None,
            rows: Vec::new(),
        }
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// [`SnapshotError`] if the bytes are no snapshot, or one of something else.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), SnapshotError> {
        self.decoder.push(chunk, &mut self.rows)?;
        let Some(&given) = self.decoder.header() else { return Ok(()) };
        if given != self.expected {
            return Err(SnapshotError::Other { given, expected: self.expected });
        }
        let builder = self.builder.get_or_insert_with(|| Builder::new(given.depth, given.count));
        for row in self.rows.drain(..) {
            builder.push(&row)?;
        }
        Ok(())
    }

    /// The map.
    ///
    /// # Errors
    /// [`SnapshotError::Truncated`], or [`SnapshotError::Root`] if it is not the map that was committed to.
    pub fn finish(self) -> Result<Map, SnapshotError> {
        let header = self.decoder.finish()?;
        let builder = self.builder.filter(|_| header == self.expected);
        let map = builder.map(Builder::finish).ok_or(SnapshotError::Root { header })?;
        if map.commitment() == self.commitment {
            Ok(map)
        } else {
            Err(SnapshotError::Root { header })
        }
    }
}
