//! The calls of a file system, on the model of a disk.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::MutexGuard;

use super::LossyDisk;
use super::model::{Model, Node};
use crate::files::FolderLock;
use crate::system::{System, SystemFile};

/// An open file of a [`LossyDisk`].
pub struct LossyFile {
    disk: LossyDisk,
    path: PathBuf,
    inode: usize,
    life: u64,
}

impl LossyDisk {
    fn file(&self, path: &Path, inode: usize, life: u64) -> LossyFile {
        LossyFile { disk: self.clone(), path: path.to_owned(), inode, life }
    }
}

impl System for LossyDisk {
    type File = LossyFile;

    fn create_new(&self, path: &Path, permissions: u32) -> io::Result<LossyFile> {
        let mut model = self.lock();
        if model.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = model.make_file(path, permissions)?;
        Ok(self.file(path, inode, model.life))
    }

    fn append(&self, path: &Path, permissions: u32) -> io::Result<LossyFile> {
        let mut model = self.lock();
        let inode = match model.find(path) {
            Ok((inode, _)) => inode,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                model.make_file(path, permissions)?
            }
            Err(error) => return Err(error),
        };
        Ok(self.file(path, inode, model.life))
    }

    fn open(&self, path: &Path) -> io::Result<LossyFile> {
        let model = self.lock();
        let (inode, _) = model.find(path)?;
        Ok(self.file(path, inode, model.life))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let model = self.lock();
        let (inode, _) = model.find(path)?;
        Ok(model.inodes[inode].content.clone())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut model = self.lock();
        let (inode, permissions) = model.find(from)?;
        if model.names.get(to) == Some(&Node::Directory) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        model.parent(to)?;
        model.call()?;
        model.names.remove(from);
        model.names.insert(to.to_owned(), Node::File { inode, permissions });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut model = self.lock();
        model.find(path)?;
        model.call()?;
        model.names.remove(path);
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut model = self.lock();
        if model.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        model.parent(path)?;
        model.call()?;
        model.names.insert(path.to_owned(), Node::Directory);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut model = self.lock();
        model.running()?;
        if model.names.get(path) != Some(&Node::Directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let is_in = |name: &PathBuf| name.parent() == Some(path);
        let within = |names: &BTreeMap<PathBuf, Node>| -> Vec<(PathBuf, Node)> {
            let names = names.iter().filter(|(name, _)| is_in(name));
            names.map(|(name, node)| (name.clone(), *node)).collect()
        };
        let now = within(&model.names);
        if now == within(&model.durable_names) {
            return Ok(());
        }
        model.call()?;
        model.durable_names.retain(|name, _| !is_in(name));
        model.durable_names.extend(now);
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(OsString, bool)>> {
        let model = self.lock();
        model.running()?;
        if model.names.get(path) != Some(&Node::Directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let entries = model.names.iter().filter(|(name, _)| name.parent() == Some(path));
        Ok(entries
            .filter_map(|(name, node)| {
                Some((name.file_name()?.to_owned(), *node == Node::Directory))
            })
            .collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let model = self.lock();
        model.running()?;
        Ok(model.names.contains_key(path))
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.lock().names.get(path) == Some(&Node::Directory)
    }

    fn permissions(&self, path: &Path) -> io::Result<u32> {
        Ok(self.lock().find(path)?.1)
    }

    fn lock(&self, path: &Path, _: u32) -> io::Result<Option<FolderLock>> {
        let mut model = Self::lock(self);
        model.running()?;
        if !model.locks.insert(path.to_owned()) {
            return Ok(None);
        }
        let (disk, life) = (self.clone(), model.life);
        Ok(Some(FolderLock::new(Held { disk, path: path.to_owned(), life })))
    }
}

struct Held {
    disk: LossyDisk,
    path: PathBuf,
    life: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut model = self.disk.lock();
        if model.life == self.life {
            model.locks.remove(&self.path);
        }
    }
}

impl LossyFile {
    fn model(&self) -> io::Result<MutexGuard<'_, Model>> {
        let model = self.disk.lock();
        if model.life != self.life {
            let problem = format!("{} was open before the machine stopped", self.path.display());
            return Err(io::Error::other(problem));
        }
        model.running()?;
        Ok(model)
    }

    fn sync(&self) -> io::Result<()> {
        let mut model = self.model()?;
        let inode = &model.inodes[self.inode];
        if inode.content == inode.durable {
            return Ok(());
        }
        model.call()?;
        let inode = &mut model.inodes[self.inode];
        inode.durable.clone_from(&inode.content);
        Ok(())
    }
}

impl SystemFile for LossyFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut model = self.model()?;
        let called = model.call();
        // A machine that stops in the middle of it has written half.
        let written = if called.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        let fits = model.space.map_or(written.len(), |space| {
            usize::try_from(space).unwrap_or(usize::MAX).min(written.len())
        });
        model.take_space(fits)?;
        model.inodes[self.inode].content.extend_from_slice(&written[..fits]);
        called?;
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut model = self.model()?;
        model.call()?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let content = &mut model.inodes[self.inode].content;
        let freed = content.len().saturating_sub(length);
        content.truncate(length);
        if let Some(space) = &mut model.space {
            *space += freed as u64;
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.model()?.inodes[self.inode].content.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let model = self.model()?;
        let content = &model.inodes[self.inode].content;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let there = start.checked_add(buffer.len()).and_then(|end| content.get(start..end));
        let there = there.ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(there);
        Ok(())
    }
}
