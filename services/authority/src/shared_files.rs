//! The files that a party keeps once, however many instances of its service there are: in their shared store, sealed.
//!
//! What the witness remembers, what the share holder has counted, and the audience keys. Each replacement names the version
//! that was read here last, so two instances never overwrite each other: whoever is second is refused
//! ([`FileError::Replaced`]), reads again and decides anew.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use lanyard_env::{AppendFile, Env, FileError, Files, FolderLock, Mode, ReadAt};
use lanyard_party::{Cell, StoreKey};
use lanyard_store::{Documents, Location, StoreError};
use tokio::runtime::{Builder, Runtime};

type Job = Box<dyn FnOnce(&Runtime, &Documents) + Send>;

/// Files in the shared store. Calls block, also from async code; what takes long there is the store alone.
pub(crate) struct SharedFiles {
    env: Env,
    store_key: Arc<StoreKey>,
    /// A thread with a runtime of its own does the asking, so that callers on any thread may block.
    clerk: mpsc::Sender<Job>,
    /// The versions last read or written here, by name; 0 for none.
    versions: Mutex<HashMap<String, i64>>,
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
        Ok(Self { env, store_key, clerk, versions: Mutex::default() })
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

    fn remember(&self, name: String, version: i64) {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).insert(name, version);
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
        let found = self.ask("read", path, {
            let asked = asked.clone();
            async move |documents| documents.read(&asked).await
        })?;
        let Some(found) = found else {
            self.remember(asked, 0);
            return Err(FileError::NotFound { action: "read", path: path.to_owned() });
        };
        let opened = self.store_key.open(self.cell(&asked), &found.body).map_err(|error| {
            let source = io::Error::new(io::ErrorKind::InvalidData, error);
            FileError::Io { action: "read", path: path.to_owned(), source }
        })?;
        self.remember(asked, found.version);
        Ok(opened.to_vec())
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8], _mode: Mode) -> Result<(), FileError> {
        let asked = name(path);
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = versions.get(&asked).copied().unwrap_or_default();
        drop(versions);
        let body = self.store_key.seal(self.cell(&asked), bytes, &mut self.env.rng());
        let version = self.ask("replace", path, {
            let asked = asked.clone();
            async move |documents| documents.replace(&asked, replaced, &body).await
        })?;
        match version {
            Some(version) => {
                self.remember(asked, version);
                Ok(())
            }
            None => Err(FileError::Replaced { path: path.to_owned() }),
        }
    }

    fn remove(&self, path: &Path) -> Result<(), FileError> {
        let asked = name(path);
        self.remember(asked.clone(), 0);
        self.ask("remove", path, async move |documents| documents.remove(&asked).await)
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
