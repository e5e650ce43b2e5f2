//! Writing a large object in parts: none is held in memory whole.

use bytes::Bytes;
use lanyard_core::ids::Hash;
use object_store::Error as StoreError;
use object_store::buffered::BufWriter;
use tokio::io::AsyncWriteExt as _;

use crate::error::ObjectsError;
use crate::newest::{Object, Piece, WriterId};
use crate::place::Place;

/// Bytes of a part, and parts on their way at once.
const PART: usize = 8 * 1024 * 1024;
const PARTS: usize = 2;

/// An object that is being written. It is not there before [`Upload::finish`].
pub(crate) struct Upload {
    place: Place,
    object: Object,
    hasher: blake3::Hasher,
    writer: BufWriter,
}

impl Upload {
    pub(crate) fn begin(place: &Place, piece: Piece, writer: WriterId) -> Self {
        let object = Object { piece, writer, length: 0, hash: Hash::new([0; 32]) };
        let path = place.path(&object.name());
        let writer = BufWriter::with_capacity(std::sync::Arc::clone(place.store()), path, PART);
        let writer = writer.with_max_concurrency(PARTS);
        Self { place: place.clone(), object, hasher: blake3::Hasher::new(), writer }
    }

    pub(crate) async fn push(&mut self, bytes: Bytes) -> Result<(), ObjectsError> {
        self.hasher.update(&bytes);
        self.object.length += bytes.len() as u64;
        self.place.timely(ACTION, self.writer.put(bytes)).await
    }

    pub(crate) async fn finish(mut self) -> Result<Object, ObjectsError> {
        let ended = async {
            self.writer.shutdown().await.map_err(|error| match error.downcast::<StoreError>() {
                Ok(error) => error,
                Err(error) => StoreError::Generic { store: "", source: Box::new(error) },
            })
        };
        self.place.timely(ACTION, ended).await?;
        self.object.hash = Hash::new(*self.hasher.finalize().as_bytes());
        Ok(self.object)
    }

    /// Gives up what was written. A store keeps parts of a dead writer until its own rule for unfinished uploads removes them.
    pub(crate) async fn abort(mut self) {
        if let Err(error) = self.place.timely(ACTION, self.writer.abort()).await {
            tracing::debug!(%error, "an unfinished upload stays behind");
        }
    }
}

const ACTION: &str = "write a large object";
