//! The files that a party keeps once, however many instances of its service there are: in their shared store, sealed.
//!
//! What the witness remembers, what the share holder has counted, and the audience keys. Each replacement names the version
//! that was read here last, so two instances never overwrite each other: whoever is second is refused
//! ([`FileError::Replaced`]), reads again and decides anew. A replacement whose answer was lost may be done: whether what is
//! there is the own one is seen before the next, as no two are sealed to the same bytes.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use lanyard_env::{AppendFile, Env, FileError, Files, FolderLock, Mode, ReadAt};
use lanyard_party::{Cell, StoreKey};
use lanyard_store::{Document, Documents, Location, StoreError};
use tokio::runtime::{Builder, Runtime};

type Job = Box<dyn FnOnce(&Runtime, &Documents) + Send>;

/// Files in the shared store. Calls block, also from async code; what takes long there is the store alone.
pub(crate) struct SharedFiles {
    env: Env,
    store_key: Arc<StoreKey>,
    /// A thread with a runtime of its own does the asking, so that callers on any thread may block.
    clerk: mpsc::Sender<Job>,
    /// What is known of each, by name.
    known: Mutex<HashMap<String, Known>>,
}

/// What this instance knows of a file.
#[derive(Clone, Default)]
struct Known {
    /// The version last read or written here; 0 for none.
    version: i64,
    /// What was sent since, and not answered.
    unanswered: Option<Sent>,
}

#[derive(Clone)]
enum Sent {
    /// This body, sealed.
    Body(Vec<u8>),
    Removal,
}

impl SharedFiles {
    /// The files in the store at `location`, whose schema is there.
    pub(crate) fn open(
        env: Env,
        location: &Location,
        store_key: Arc<StoreKey>,
    ) -> Result<Self, StoreError> {
        let (clerk, jobs) = mpsc::channel::<Job>();
        let location = location.clone();
        let failed = |error: io::Error| StoreError::Unavailable { problem: error.to_string() };
        let (ready, is_ready) = mpsc::channel();
        std::thread::Builder::new()
            .name("shared-files".to_owned())
            .spawn(move || {
                // Made and dropped here: a runtime must be neither within another.
                let runtime = Builder::new_current_thread().enable_all().build();
                let opened = runtime.map_err(failed).and_then(|runtime| {
                    let documents = runtime.block_on(async { Documents::new(&location) })?;
                    Ok((runtime, documents))
                });
                let (runtime, documents) = match opened {
                    Ok(opened) => opened,
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return;
                    }
                };
                let _ = ready.send(Ok(()));
                for job in jobs {
                    job(&runtime, &documents);
                }
            })
            .map_err(failed)?;
        let gone = |_| StoreError::Unavailable { problem: "a thread ended early".to_owned() };
        is_ready.recv().map_err(gone)??;
        Ok(Self { env, store_key, clerk, known: Mutex::default() })
    }

    fn ask<T: Send + 'static>(
        &self,
        action: &'static str,
        path: &Path,
        work: impl AsyncFnOnce(&Documents) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, FileError> {
        let (reply, answer) = mpsc::channel();
        let job: Job = Box::new(move |runtime, documents| {
            let _ = reply.send(runtime.block_on(work(documents)));
        });
        let sent = self.clerk.send(job).is_ok();
        let gone = || io::Error::other("the thread that asks the store is gone");
        let answer = if sent { answer.recv().map_err(|_| gone()) } else { Err(gone()) };
        answer.and_then(|answer| answer.map_err(io::Error::other)).map_err(|source| FileError::Io {
            action,
            path: path.to_owned(),
            source,
        })
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, name: &str, version: i64) {
        self.known().insert(name.to_owned(), Known { version, unanswered: None });
    }

    fn stored(&self, action: &'static str, path: &Path) -> Result<Option<Document>, FileError> {
        let asked = name(path);
        self.ask(action, path, async move |documents| documents.read(&asked).await)
    }

    /// The version to replace. What was sent and not answered has been done if it is what is there now.
    fn replaced(&self, path: &Path) -> Result<i64, FileError> {
        let asked = name(path);
        let known = self.known().get(&asked).cloned().unwrap_or_default();
        let Some(sent) = known.unanswered else { return Ok(known.version) };
        let version = match (sent, self.stored("replace", path)?) {
            (Sent::Body(sent), Some(found)) if found.body == sent => found.version,
            (Sent::Removal, None) => 0,
            _ => known.version,
        };
        self.remember(&asked, version);
        Ok(version)
    }

    /// Remembers that this was sent, until it is answered.
    fn sends(&self, name: &str, sent: Sent) {
        self.known().entry(name.to_owned()).or_default().unanswered = Some(sent);
    }

    /// A document opens under its own name only.
    fn cell(&self, name: &str) -> Cell<'static> {
        let hash = self.store_key.local_hash("document", name.as_bytes());
        let (row, _) = hash.split_first_chunk().unwrap_or((&[0; 8], &[]));
        Cell { table: "documents", column: "body", row: u64::from_be_bytes(*row) }
    }
}

fn name(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn unsupported<T>(action: &'static str, path: &Path) -> Result<T, FileError> {
    let source = io::Error::new(io::ErrorKind::Unsupported, "the shared store has no such thing");
    Err(FileError::Io { action, path: path.to_owned(), source })
}

impl Files for SharedFiles {
    fn read(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        let asked = name(path);
        let Some(found) = self.stored("read", path)? else {
            self.remember(&asked, 0);
            return Err(FileError::NotFound { action: "read", path: path.to_owned() });
        };
        let opened = self.store_key.open(self.cell(&asked), &found.body).map_err(|error| {
            let source = io::Error::new(io::ErrorKind::InvalidData, error);
            FileError::Io { action: "read", path: path.to_owned(), source }
        })?;
        self.remember(&asked, found.version);
        Ok(opened.to_vec())
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8], _mode: Mode) -> Result<(), FileError> {
        let asked = name(path);
        let replaced = self.replaced(path)?;
        let body = self.store_key.seal(self.cell(&asked), bytes, &mut self.env.rng());
        self.sends(&asked, Sent::Body(body.clone()));
        let version = self.ask("replace", path, {
            let asked = asked.clone();
            async move |documents| documents.replace(&asked, replaced, &body).await
        })?;
        self.remember(&asked, version.unwrap_or(replaced));
        version.map(drop).ok_or_else(|| FileError::Replaced { path: path.to_owned() })
    }

    fn remove(&self, path: &Path) -> Result<(), FileError> {
        let asked = name(path);
        self.sends(&asked, Sent::Removal);
        self.ask("remove", path, {
            let asked = asked.clone();
            async move |documents| documents.remove(&asked).await
        })?;
        self.remember(&asked, 0);
        Ok(())
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, FileError> {
        let prefix = format!("{}/", name(dir));
        let length = prefix.len();
        let names = self.ask("list", dir, async move |documents| documents.names(&prefix).await)?;
        let names = names.into_iter().map(|name| name[length..].to_owned());
        Ok(names.filter(|name| !name.contains('/')).collect())
    }

    fn exists(&self, path: &Path) -> Result<bool, FileError> {
        Ok(self.read_if_exists(path)?.is_some())
    }

    /// Names hold slashes: there are no folders to make.
    fn create_dir_all(&self, _dir: &Path) -> Result<(), FileError> {
        Ok(())
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn append(&self, path: &Path) -> Result<Box<dyn AppendFile>, FileError> {
        unsupported("append to", path)
    }

    fn open(&self, path: &Path) -> Result<Box<dyn ReadAt>, FileError> {
        unsupported("open", path)
    }

    fn rename(&self, from: &Path, _to: &Path) -> Result<(), FileError> {
        unsupported("rename", from)
    }

    fn lock(&self, dir: &Path) -> Result<FolderLock, FileError> {
        unsupported("lock", dir)
    }
}

#[cfg(test)]
mod tests;
