//! Where the objects of one log lie, and the few things that are done with them.
//!
//! ```text
//! event                        which event the store holds
//! committee/newest             the newest list; in a folder newest/NUMBER, of which the highest counts
//! committee/manifests/… beside/… leaves/… snapshots/… ticks/…
//! police/…
//! ```
//!
//! The lock is the store's own conditional write. A bucket's `newest` is replaced only if it is still the one that was read
//! (`If-Match`, `If-None-Match`). A folder has no such thing; there each list is a new file, created only if no other has that
//! number.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use lanyard_core::ids::Origin;
use object_store::path::Path;
use object_store::{
    Error as StoreError, GetOptions, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt as _,
    PutMode, PutOptions, PutPayload, UpdateVersion,
};

use crate::error::{ObjectsError, StoreProblem};
use crate::newest::MAX_NEWEST_BYTES;

/// No single request takes longer: a store that takes less than 8 MiB a minute is too slow to be of use.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Files of the newest list that a folder keeps.
const KEPT_NUMBERS: u64 = 16;

/// How the newest list is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// One object, replaced if it is still the one that was read.
    Match,
    /// A new file for each, created if it is not there.
    Number,
}

/// Which newest list was read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tag {
    Match { e_tag: Option<String>, version: Option<String> },
    Number(u64),
}

/// The newest list as it was found.
pub(crate) enum Found {
    Nothing,
    /// Still the one that is known.
    Unchanged,
    List {
        bytes: Bytes,
        tag: Tag,
        meta: ObjectMeta,
    },
}

/// The objects of one log in a store.
#[derive(Clone)]
pub(crate) struct Place {
    store: Arc<dyn ObjectStore>,
    lock: Lock,
    /// The store as configured, for people.
    name: Arc<str>,
    root: Path,
}

impl Place {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, lock: Lock, name: &str, root: Path) -> Self {
        Self { store, lock, name: name.into(), root }
    }

    /// The same place in another store.
    #[cfg(test)]
    pub(crate) fn over(&self, store: Arc<dyn ObjectStore>) -> Self {
        Self { store, ..self.clone() }
    }

    /// The place of one log in this store.
    pub(crate) fn of(&self, origin: &Origin) -> Self {
        let log = origin.as_str().rsplit('/').next().unwrap_or_default();
        Self { root: self.root.clone().join(log), ..self.clone() }
    }

    /// The store as configured.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn damaged(&self, name: &str, problem: impl ToString) -> ObjectsError {
        let (place, problem) = (self.name.to_string(), problem.to_string());
        ObjectsError::Damaged { place, name: format!("{}/{name}", self.root), problem }
    }

    pub(crate) fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.root.clone(), Path::join)
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    fn failed(&self, action: &'static str, problem: StoreProblem) -> ObjectsError {
        ObjectsError::Store { place: self.name.to_string(), action, problem }
    }

    /// Waits for a request, but not for ever.
    pub(crate) async fn timely<T>(
        &self,
        action: &'static str,
        request: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, ObjectsError> {
        let problem = match tokio::time::timeout(TIMEOUT, request).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => StoreProblem::of(&error),
            Err(_) => StoreProblem::TimedOut { seconds: TIMEOUT.as_secs() },
        };
        Err(self.failed(action, problem))
    }

    /// Writes an immutable object whole.
    pub(crate) async fn put(&self, name: &str, bytes: Bytes) -> Result<(), ObjectsError> {
        let path = self.path(name);
        self.timely("write an object", self.store.put(&path, bytes.into())).await?;
        Ok(())
    }

    /// Opens an object; `None` if it is not there.
    pub(crate) async fn get(&self, name: &str) -> Result<Option<GetResult>, ObjectsError> {
        let path = self.path(name);
        match self.timely("read an object", self.store.get(&path)).await {
            Err(error) if error.is(|problem| matches!(problem, StoreProblem::NotFound(_))) => {
                Ok(None)
            }
            got => got.map(Some),
        }
    }

    /// A small object whole; `None` if it is not there.
    pub(crate) async fn get_small(
        &self,
        name: &str,
        limit: u64,
    ) -> Result<Option<Bytes>, ObjectsError> {
        let Some(found) = self.get(name).await? else { return Ok(None) };
        self.whole(name, found, limit).await.map(Some)
    }

    async fn whole(&self, name: &str, found: GetResult, limit: u64) -> Result<Bytes, ObjectsError> {
        if found.meta.size > limit {
            return Err(self.damaged(
                name,
                format_args!("it has {} bytes, more than {limit}", found.meta.size),
            ));
        }
        let bytes = self.timely("read an object", found.bytes()).await?;
        if bytes.len() as u64 > limit {
            return Err(self.damaged(name, format_args!("it has more than {limit} bytes")));
        }
        Ok(bytes)
    }

    /// The next bytes of an object being read.
    pub(crate) async fn next_bytes(
        &self,
        stream: &mut BoxStream<'static, Result<Bytes, StoreError>>,
    ) -> Result<Option<Bytes>, ObjectsError> {
        self.timely("read an object", stream.try_next()).await
    }

    /// Creates an object if it is not there; `false` if it is.
    pub(crate) async fn create(&self, name: &str, bytes: Bytes) -> Result<bool, ObjectsError> {
        let path = self.path(name);
        let options = PutOptions::from(PutMode::Create);
        match self
            .timely("create an object", self.store.put_opts(&path, bytes.into(), options))
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if error.is_condition() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The newest list, unless it is still `known`. One request, conditional where the store can.
    pub(crate) async fn newest(&self, known: Option<&Tag>) -> Result<Found, ObjectsError> {
        match self.lock {
            Lock::Match => self.newest_matching(known).await,
            Lock::Number => self.newest_numbered(known).await,
        }
    }

    async fn newest_matching(&self, known: Option<&Tag>) -> Result<Found, ObjectsError> {
        let if_none_match = match known {
            Some(Tag::Match { e_tag, .. }) => e_tag.clone(),
            _ => None,
        };
        let options = GetOptions { if_none_match, ..GetOptions::default() };
        let path = self.path(NEWEST);
        let got = self.timely("read the newest list", self.store.get_opts(&path, options)).await;
        let found = match got {
            Ok(found) => found,
            Err(error) if error.is(|problem| *problem == StoreProblem::Unchanged) => {
                return Ok(Found::Unchanged);
            }
            // A bucket that is not there is not an empty one.
            Err(error)
                if error.is(
                    |p| matches!(p, StoreProblem::NotFound(code) if !code.contains("NoSuchBucket")),
                ) =>
            {
                return Ok(Found::Nothing);
            }
            Err(error) => return Err(error),
        };
        let meta = found.meta.clone();
        let tag = Tag::Match { e_tag: meta.e_tag.clone(), version: meta.version.clone() };
        let bytes = self.whole(NEWEST, found, MAX_NEWEST_BYTES).await?;
        Ok(Found::List { bytes, tag, meta })
    }

    async fn newest_numbered(&self, known: Option<&Tag>) -> Result<Found, ObjectsError> {
        loop {
            let Some(number) = self.numbers().await?.last().copied() else {
                return Ok(Found::Nothing);
            };
            if known == Some(&Tag::Number(number)) {
                return Ok(Found::Unchanged);
            }
            let name = numbered(number);
            // Gone already if a writer was that fast: then there is a higher one.
            let Some(found) = self.get(&name).await? else { continue };
            let meta = found.meta.clone();
            let bytes = self.whole(&name, found, MAX_NEWEST_BYTES).await?;
            return Ok(Found::List { bytes, tag: Tag::Number(number), meta });
        }
    }

    /// The numbers of a folder's newest lists, ascending.
    async fn numbers(&self) -> Result<Vec<u64>, ObjectsError> {
        let listed = self.list(NEWEST).await?;
        let number =
            |meta: &ObjectMeta| meta.location.filename().and_then(|name| name.parse().ok());
        let mut numbers: Vec<u64> = listed.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Replaces the newest list if it is still the one of `tag`; `None` if another writer was first.
    pub(crate) async fn replace(
        &self,
        tag: Option<&Tag>,
        bytes: Bytes,
    ) -> Result<Option<Tag>, ObjectsError> {
        match self.lock {
            Lock::Match => self.replace_matching(tag, bytes).await,
            Lock::Number => self.replace_numbered(tag, bytes).await,
        }
    }

    async fn replace_matching(
        &self,
        tag: Option<&Tag>,
        bytes: Bytes,
    ) -> Result<Option<Tag>, ObjectsError> {
        let mode = match tag {
            Some(Tag::Match { e_tag, version }) => {
                PutMode::Update(UpdateVersion { e_tag: e_tag.clone(), version: version.clone() })
            }
            _ => PutMode::Create,
        };
        let path = self.path(NEWEST);
        let put = self.store.put_opts(&path, PutPayload::from(bytes.clone()), mode.into());
        match self.timely("replace the newest list", put).await {
            Ok(put) => Ok(Some(Tag::Match { e_tag: put.e_tag, version: put.version })),
            // A list that vanished is no longer the one that was read, either.
            Err(error)
                if error.is_condition() || error.is(|p| matches!(p, StoreProblem::NotFound(_))) =>
            {
                self.is_mine(&bytes).await
            }
            Err(error) => Err(error),
        }
    }

    /// A request that was answered with an error may have been carried out, and repeated by the client.
    async fn is_mine(&self, bytes: &Bytes) -> Result<Option<Tag>, ObjectsError> {
        match self.newest(None).await? {
            Found::List { bytes: found, tag, .. } if found == *bytes => Ok(Some(tag)),
            _ => Ok(None),
        }
    }

    async fn replace_numbered(
        &self,
        tag: Option<&Tag>,
        bytes: Bytes,
    ) -> Result<Option<Tag>, ObjectsError> {
        let before = match tag {
            Some(Tag::Number(number)) => *number,
            _ => 0,
        };
        let Some(number) = before.checked_add(1) else { return Ok(None) };
        if !self.create(&numbered(number), bytes).await? {
            return Ok(None);
        }
        let numbers = self.numbers().await?;
        if numbers.last() != Some(&number) {
            // A writer that slept while the file of its number came and went.
            self.delete(vec![self.path(&numbered(number))]).await?;
            return Ok(None);
        }
        let old = numbers.iter().filter(|old| **old + KEPT_NUMBERS <= number);
        self.delete(old.map(|old| self.path(&numbered(*old))).collect()).await?;
        Ok(Some(Tag::Number(number)))
    }

    /// Everything under a name.
    pub(crate) async fn list(&self, name: &str) -> Result<Vec<ObjectMeta>, ObjectsError> {
        let prefix = if name.is_empty() { self.root.clone() } else { self.path(name) };
        let listed = self.store.list(Some(&prefix)).try_collect();
        self.timely("list objects", listed).await
    }

    /// Deletes objects; those that are gone already are no error.
    pub(crate) async fn delete(&self, paths: Vec<Path>) -> Result<(), ObjectsError> {
        let paths = futures::stream::iter(paths.into_iter().map(Ok)).boxed();
        let mut deleted = self.store.delete_stream(paths);
        while let Some(one) = deleted.next().await {
            match one.as_ref().map_err(StoreProblem::of) {
                Ok(_) | Err(StoreProblem::NotFound(_)) => {}
                Err(problem) => return Err(self.failed("delete an object", problem)),
            }
        }
        Ok(())
    }
}

/// The name of the newest list.
pub(crate) const NEWEST: &str = "newest";

fn numbered(number: u64) -> String {
    format!("{NEWEST}/{number:020}")
}

impl ObjectsError {
    /// Whether the store had this against a request.
    pub(crate) fn is(&self, what: impl Fn(&StoreProblem) -> bool) -> bool {
        matches!(self, Self::Store { problem, .. } if what(problem))
    }

    fn is_condition(&self) -> bool {
        self.is(|problem| *problem == StoreProblem::Condition)
    }
}
