//! What changes from one state of a map to the next.

use super::{MapError, Row};
use crate::codec::{CodecError, Reader, Writer};
use crate::ids::Handle;

/// Rows removed, and rows inserted or replaced; each in strictly ascending order of handles, and disjoint.
///
/// On the wire: count (`u32`) and handles removed, count (`u32`) and rows put.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delta {
    removed: Vec<Handle>,
    upserts: Vec<Row>,
}

impl Delta {
    /// A delta from changes in any order.
    ///
    /// # Errors
    /// [`MapError::Duplicate`] if one handle occurs twice.
    pub fn new(mut removed: Vec<Handle>, mut upserts: Vec<Row>) -> Result<Self, MapError> {
        removed.sort_unstable();
        upserts.sort_unstable_by_key(|row| row.handle);
        let delta = Self { removed, upserts };
        match delta.misplaced() {
            None => Ok(delta),
            Some(handle) => Err(MapError::Duplicate { handle }),
        }
    }

    /// The handles removed, ascending.
    #[must_use]
    pub fn removed(&self) -> &[Handle] {
        &self.removed
    }

    /// The rows inserted or replaced, by ascending handle.
    #[must_use]
    pub fn upserts(&self) -> &[Row] {
        &self.upserts
    }

    /// How many rows change.
    #[must_use]
    pub fn len(&self) -> usize {
        self.removed.len() + self.upserts.len()
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes.
    ///
    /// # Panics
    /// If there are 2^32 changes or more; a map has fewer rows.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let count = |length| u32::try_from(length).expect("a map has fewer than 2^32 rows");
        let size = 8 + self.removed.len() * Handle::SIZE + self.upserts.len() * Row::SIZE;
        let mut writer = Writer::with_capacity(size);
        writer.u32(count(self.removed.len()));
        for handle in &self.removed {
            writer.raw(handle.as_bytes());
        }
        writer.u32(count(self.upserts.len()));
        for row in &self.upserts {
            writer.raw(&row.to_bytes());
        }
        writer.into_vec()
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// [`CodecError`] if they are truncated or too long, out of order, not disjoint, or a version is 0.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new("map delta", bytes);
        let removed =
            read_many(&mut reader, Handle::SIZE, |reader| Ok(Handle::new(reader.array()?)))?;
        let upserts = read_many(&mut reader, Row::SIZE, Row::read)?;
        let delta = Self { removed, upserts };
        if delta.misplaced().is_some() {
            return Err(reader.invalid("handles are not strictly ascending and disjoint"));
        }
        reader.finish()?;
        Ok(delta)
    }

    /// All handles, ascending if both lists are.
    pub(super) fn handles(&self) -> impl Iterator<Item = Handle> {
        let mut removed = self.removed.iter().copied().peekable();
        let mut upserts = self.upserts.iter().map(|row| row.handle).peekable();
        std::iter::from_fn(move || match (removed.peek(), upserts.peek()) {
            (Some(left), Some(right)) if left < right => removed.next(),
            (Some(_), None) => removed.next(),
            _ => upserts.next(),
        })
    }

    /// The first handle that is not greater than all before it, if there is one.
    fn misplaced(&self) -> Option<Handle> {
        let mut previous = None;
        self.handles().find(|handle| previous.replace(*handle) >= Some(*handle))
    }
}

/// Reads a count and as many values of `size` bytes; allocates no more than the input can hold.
pub(super) fn read_many<'a, T>(
    reader: &mut Reader<'a>,
    size: usize,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, CodecError>,
) -> Result<Vec<T>, CodecError> {
    let count = reader.u32()? as usize;
    let mut values = Vec::with_capacity(count.min(reader.remaining() / size));
    for _ in 0..count {
        values.push(read(reader)?);
    }
    Ok(values)
}

#[cfg(test)]
impl Delta {
    pub(super) const fn unchecked(removed: Vec<Handle>, upserts: Vec<Row>) -> Self {
        Self { removed, upserts }
    }
}
