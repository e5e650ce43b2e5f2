//! Machines that stop in the middle of a write.
#![allow(clippy::disallowed_methods)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use common::*;
use lanyard_core::ids::Audience;
use lanyard_env::{AppendFile, DiskFiles, Env, FileError, Files, FolderLock, Mode, ReadAt};
use lanyard_feed::{FeedError, Mirror};

/// A disk that fails for good after so many writes, as if the machine had stopped there.
struct Failing {
    disk: DiskFiles,
    left: Arc<AtomicI64>,
}

impl Failing {
    fn spend(&self, path: &Path) -> Result<(), FileError> {
        spend(&self.left, path)
    }
}

fn spend(left: &AtomicI64, path: &Path) -> Result<(), FileError> {
    if left.fetch_sub(1, Ordering::SeqCst) > 0 {
        return Ok(());
    }
    Err(FileError::DiskFull { action: "write", path: path.to_owned() })
}

struct FailingAppend(Box<dyn AppendFile>, PathBuf, Arc<AtomicI64>);

impl AppendFile for FailingAppend {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        if let Err(error) = spend(&self.2, &self.1) {
            // Half of it may have reached the disk.
            let _ = self.0.write_all(&bytes[..bytes.len() / 2]);
            return Err(error);
        }
        self.0.write_all(bytes)
    }
    fn sync(&mut self) -> Result<(), FileError> {
        spend(&self.2, &self.1)?;
        self.0.sync()
    }
    fn len(&self) -> u64 {
        self.0.len()
    }
    fn truncate(&mut self, length: u64) -> Result<(), FileError> {
        spend(&self.2, &self.1)?;
        self.0.truncate(length)
    }
}

impl Files for Failing {
    fn read(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        self.disk.read(path)
    }
    fn write_atomic(&self, path: &Path, bytes: &[u8], mode: Mode) -> Result<(), FileError> {
        self.spend(path)?;
        self.disk.write_atomic(path, bytes, mode)
    }
    fn append(&self, path: &Path) -> Result<Box<dyn AppendFile>, FileError> {
        self.spend(path)?;
        let file = self.disk.append(path)?;
        Ok(Box::new(FailingAppend(file, path.to_owned(), Arc::clone(&self.left))))
    }
    fn open(&self, path: &Path) -> Result<Box<dyn ReadAt>, FileError> {
        self.disk.open(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        self.spend(to)?;
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> Result<(), FileError> {
        self.spend(path)?;
        self.disk.remove(path)
    }
    fn list(&self, dir: &Path) -> Result<Vec<String>, FileError> {
        self.disk.list(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> Result<(), FileError> {
        self.disk.create_dir_all(dir)
    }
    fn exists(&self, path: &Path) -> Result<bool, FileError> {
        self.disk.exists(path)
    }
    fn lock(&self, dir: &Path) -> Result<FolderLock, FileError> {
        self.disk.lock(dir)
    }
}

/// Fails at every single write in turn: what was visible is there after a restart, and what was not is there whole or
/// not at all.
#[tokio::test]
async fn a_crash_at_any_write_loses_nothing_that_was_visible() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(60);
    committee.settled(put(&[1], 2));
    let first = sent(&committee.mirror, &world.gate("nobody")).await;
    let before = world.gate("before");
    apply(&before, first.clone()).unwrap();
    for version in 3..6 {
        committee.settled(put(&[1], version));
    }
    let mut directories = committee.unchanged(gate_key(), put(&[1], 6));
    directories.push(committee.directory(key(2, Audience::Gate), rows(30)));
    world.clock.advance_millis(TICK);
    let draft = committee.draft(directories);
    let signed = committee.publish(draft);
    committee.cosign(&signed);
    let second = sent(&committee.mirror, &before).await;
    let newest = committee.mirror.read().size();
    let mut crashes = 0;
    for writes in 0.. {
        let name = format!("gate-{writes}");
        let left = Arc::new(AtomicI64::new(writes));
        let disk = DiskFiles::new();
        let env =
            Env { files: Arc::new(Failing { disk, left: Arc::clone(&left) }), ..world.env.clone() };
        let open = |env: Env| {
            Mirror::open(env, &world.path(&name), world.gate_config(), world.manifests())
        };
        let mut seen = (0, 0);
        if let Ok(gate) = open(env) {
            let whole: Vec<_> = first.iter().chain(&second).cloned().collect();
            let mut intake = gate.intake("upstream");
            let failed = whole.into_iter().any(|response| intake.apply(response).is_err());
            let view = gate.read();
            seen = (view.size(), view.quorum().map_or(0, |quorum| quorum.size()));
            assert!(failed || seen.0 == newest);
            crashes += u32::from(failed);
        }
        // The machine starts again.
        let gate = open(world.env.clone()).unwrap();
        let (size, quorum) = {
            let view = gate.read();
            (view.size(), view.quorum().map_or(0, |quorum| quorum.size()))
        };
        assert!(size >= seen.0 && quorum >= seen.1, "after {writes} writes: {seen:?} was visible");
        if size > 0 {
            let expected = if size == newest { 6 } else { u32::try_from(size).unwrap() };
            assert_eq!(versions(&gate, 1).0, Some(expected), "after {writes} writes");
        }
        pull(&committee.mirror, &gate).await;
        assert_eq!(versions(&gate, 1), (Some(6), Some(6)));
        assert!(!gate.is_incomplete());
        if left.load(Ordering::SeqCst) > 0 {
            break;
        }
    }
    assert!(crashes > 10, "only {crashes} crashes");
}

/// The same for an authority that publishes.
#[tokio::test]
async fn a_publisher_that_crashes_at_any_write_signs_one_checkpoint_a_size() {
    let world = World::new();
    let mut base = world.publisher("base");
    base.begin(40);
    let keys = base.keys.clone();
    let mut failed = 0;
    drop(base);
    for writes in 0.. {
        let name = format!("committee-{writes}");
        copy(&world.path("base"), &world.path(&name));
        let left = Arc::new(AtomicI64::new(writes));
        let disk = DiskFiles::new();
        let env =
            Env { files: Arc::new(Failing { disk, left: Arc::clone(&left) }), ..world.env.clone() };
        let mut committee = world.publisher(&name);
        let config = lanyard_feed::MirrorConfig { publisher: true, ..world.config(&Audience::ALL) };
        drop(std::mem::replace(
            &mut committee.mirror,
            match Mirror::open(env, &world.path(&name), config, world.manifests()) {
                Ok(mirror) => mirror,
                Err(_) => continue,
            },
        ));
        committee.keys = keys.clone();
        let mut signed = Vec::new();
        for version in 2..5 {
            let mut directories = committee.unchanged(gate_key(), put(&[1], version));
            if version == 3 {
                directories.push(committee.directory(key(2, Audience::Gate), rows(30)));
            }
            let Ok(checkpoint) = committee.mirror.prepare(committee.draft(directories)) else {
                break;
            };
            let one = committee.sign(&checkpoint);
            signed.push(one.clone());
            if committee.mirror.publish(&one).is_err() {
                // It may have left: the process that goes on signs the same, even once the disk is well again.
                left.store(1_000, Ordering::SeqCst);
                let other = committee.draft(committee.unchanged(gate_key(), put(&[1], 99)));
                let refused = committee.mirror.prepare(other);
                assert!(matches!(refused, Err(FeedError::Unsigned { .. })), "{refused:?}");
                assert_eq!(committee.mirror.unsigned().as_ref(), Some(one.checkpoint()));
                left.store(0, Ordering::SeqCst);
                failed += 1;
                break;
            }
        }
        let is_last = left.load(Ordering::SeqCst) > 0;
        drop(committee);
        let mut committee = world.publisher(&name);
        committee.keys = keys.clone();
        if let Some(unsigned) = committee.mirror.unsigned() {
            let one = committee.sign(&unsigned);
            committee.mirror.publish(&one).unwrap();
            signed.push(one);
        }
        let version = u32::try_from(committee.mirror.read().size()).unwrap() + 1;
        signed.push(committee.tick(put(&[1], version)));
        for (index, one) in signed.iter().enumerate() {
            assert!(signed[index..].iter().all(|other| !one.contradicts(other)), "{writes} writes");
        }
        assert_eq!(versions(&committee.mirror, 1).0, Some(version));
        let gate = world.gate(&format!("gate-{writes}"));
        pull(&committee.mirror, &gate).await;
        if is_last {
            break;
        }
    }
    assert!(failed > 2, "only {failed} failed to publish");
}
