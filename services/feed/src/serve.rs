//! Serving followers: each is brought up to date from the disk, then fed what happens, at its own pace.
//!
//! What a follower that does not read takes of this machine is bounded: [`QUEUE`] frames that wait for it, one in hand and one
//! in the connection. Frames of ticks that are in memory are shared by all followers; only parts of snapshots
//! ([`PART`] bytes) and old ticks are its own. One that takes nothing for
//! [`PATIENCE`] is let go, with its connection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lanyard_core::head::MapHead;
use lanyard_core::ids::Hash;
use lanyard_env::ReadAt;
use lanyard_transport::{Hangup, status};
use lanyard_wire::feed::v1::follow_response::Update;
use lanyard_wire::feed::v1::{
    Cosigned, DirectoryId, LogLeaves, ManifestUpdate, SealedKey, SnapshotChunk, Tick,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::commit::wire_profiles;
use crate::events::{Event, TickEvent, tick_frame};
use crate::frame::{FrameSender, frame};
use crate::incoming::chunks;
use crate::mirror::Mirror;
use crate::plan::{Plan, Position, Whole};
use crate::state::read;
use crate::{DirectoryKey, FeedError};

/// The reason in the status of a mirror that has less than the follower: ask another.
pub const BEHIND: &str = "BEHIND";
/// The mirror holds another log than the follower.
pub(crate) const FORKED: &str = "FORKED";
/// Objects were replaced while they were being sent: follow again.
const REPLACED: &str = "REPLACED";
/// The follower does not take what it asked for.
const TOO_SLOW: &str = "TOO_SLOW";

/// Frames on their way to a follower.
pub(crate) const QUEUE: usize = 2;

/// Bytes of a snapshot that are sent at once.
const PART: usize = 64 * 1024;

/// A follower that takes nothing for so long is let go, unless the server says otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Leaf hashes a message.
const LEAVES: usize = 2_048;

/// Why a stream ends.
enum End {
    /// The follower is gone, or the service stops.
    Quiet,
    /// With an error for the follower.
    Status(Status),
    /// The follower takes nothing.
    TooSlow,
}

impl From<FeedError> for End {
    fn from(error: FeedError) -> Self {
        Self::Status(match error {
            FeedError::Disk(error) if error.is_not_found() => {
                status::error(Code::Unavailable, REPLACED, "objects were replaced; follow again")
            }
            error => status::internal(&error),
        })
    }
}

/// Who is served.
pub(crate) struct Follower {
    pub(crate) sender: FrameSender,
    /// It is let go if it takes nothing for so long.
    pub(crate) patience: Duration,
    /// Ends its connection; `None` within the process.
    pub(crate) hangup: Option<Hangup>,
    pub(crate) shutdown: CancellationToken,
}

impl Follower {
    fn let_go(self) {
        let millis = self.patience.as_millis();
        let message = format!("nothing was taken for {millis} ms; follow again");
        self.sender.end(status::error(Code::Aborted, TOO_SLOW, message));
        // It does not read that either, and would keep its connection for ever.
        if let Some(hangup) = self.hangup {
            hangup.hang_up();
        }
    }
}

/// Whether ticks could be sent.
enum Ticks {
    Sent,
    /// One of them, or a directory that it brings, is not kept any more.
    Gone,
}

/// What one follower is served.
pub(crate) struct Serving {
    mirror: Arc<Mirror>,
    position: Position,
    manifest_version: u32,
    /// The head of the last tick sent.
    head: Option<Bytes>,
    follower: Follower,
}

impl Serving {
    pub(crate) fn new(
        mirror: Arc<Mirror>,
        position: Position,
        manifest_version: u32,
        follower: Follower,
    ) -> Self {
        Self { mirror, position, manifest_version, head: None, follower }
    }

    /// Serves until the follower leaves or the service stops.
    pub(crate) async fn run(mut self) {
        loop {
            match self.serve().await {
                Ok(()) => {}
                Err(End::Quiet) => return,
                Err(End::Status(status)) => return self.follower.sender.end(status),
                Err(End::TooSlow) => return self.follower.let_go(),
            }
        }
    }

    /// Brings it up to date, then follows along until it has to be brought up to date again.
    async fn serve(&mut self) -> Result<(), End> {
        let cursor = self.mirror.events.next();
        self.send(Update::Route(self.mirror.route.wire())).await?;
        self.send_manifests().await?;
        self.send_beside().await?;
        self.catch_up().await?;
        let quorum = read(&self.mirror.state).quorum.clone();
        if let Some(quorum) = quorum {
            let checkpoint = quorum.checkpoint.note().to_string();
            self.send(Update::Cosigned(Cosigned { checkpoint })).await?;
        }
        self.follow_along(cursor).await
    }

    async fn send(&self, update: Update) -> Result<(), End> {
        self.send_frame(frame(update)).await
    }

    async fn send_frame(&self, frame: Bytes) -> Result<(), End> {
        let Follower { sender, patience, shutdown, .. } = &self.follower;
        let sent = tokio::select! {
            sent = tokio::time::timeout(*patience, sender.send(frame)) => sent,
            () = shutdown.cancelled() => return Err(End::Quiet),
        };
        match sent {
            Ok(sent) => sent.map_err(|_| End::Quiet),
            Err(_) => Err(End::TooSlow),
        }
    }

    /// Runs what blocks on the disk.
    async fn on_disk<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Mirror) -> Result<T, FeedError> + Send + 'static,
    ) -> Result<T, End> {
        let mirror = Arc::clone(&self.mirror);
        match lanyard_env::blocking(move || run(&mirror)).await {
            Ok(result) => Ok(result?),
            // The runtime stops, or the task panicked and said so.
            Err(_) => Err(End::Quiet),
        }
    }

    async fn send_manifests(&mut self) -> Result<(), End> {
        let after = self.manifest_version;
        let notes = self.on_disk(move |mirror| Ok(mirror.manifests.notes_after(after))).await?;
        self.manifest_version = self.mirror.manifests.current().version.max(after);
        for note in notes {
            self.send(Update::Manifest(ManifestUpdate { note })).await?;
        }
        Ok(())
    }

    /// All keys and tables that are here, before the ticks that need them.
    async fn send_beside(&self) -> Result<(), End> {
        let mut updates = Vec::new();
        {
            let state = read(&self.mirror.state);
            for (key, held) in
                state.directories.iter().filter(|(key, _)| self.position.wants(**key))
            {
                let directory = Some(DirectoryId::of(key.epoch, key.audience));
                for table in &held.tables {
                    updates.push(Update::Profiles(wire_profiles(*key, table).1));
                }
                for (recipient, sealed) in &held.sealed_keys {
                    let (recipient, sealed) = (recipient.clone(), sealed.to_vec());
                    updates.push(Update::Key(SealedKey { directory, recipient, sealed }));
                }
            }
        }
        for update in updates {
            self.send(update).await?;
        }
        Ok(())
    }

    async fn catch_up(&mut self) -> Result<(), End> {
        if let Some(head) = &self.head {
            // It has been sent all that this head lists.
            let head = MapHead::from_bytes(head).map_err(FeedError::from)?;
            self.position.directories = self.wanted_in(&head);
            let root: Option<Hash> = read(&self.mirror.state).log.root_at(self.position.size).ok();
            self.position.root = root;
        }
        let position = Position {
            audiences: self.position.audiences.clone(),
            directories: self.position.directories.clone(),
            ..self.position
        };
        match self.on_disk(move |mirror| mirror.plan(&position)).await? {
            Plan::Nothing => Ok(()),
            Plan::Ticks(to) => match self.send_ticks(to).await? {
                Ticks::Sent => Ok(()),
                Ticks::Gone => self.send_from_base().await,
            },
            Plan::Whole(whole) => self.send_whole(whole).await,
            Plan::Behind => {
                let message = "this mirror has less than the follower; ask another";
                Err(End::Status(status::error(Code::FailedPrecondition, BEHIND, message)))
            }
            Plan::Forked(checkpoint) => {
                // For the follower to see for itself, and to keep.
                if let Some(checkpoint) = checkpoint {
                    self.send(Update::Cosigned(Cosigned { checkpoint })).await?;
                }
                let message = "this mirror holds another log of that size";
                Err(End::Status(status::error(Code::Aborted, FORKED, message)))
            }
        }
    }

    async fn send_whole(&mut self, whole: Whole) -> Result<(), End> {
        let mut start = whole.start;
        for leaves in whole.leaves.chunks(LEAVES) {
            let hashes = leaves.iter().flat_map(|leaf| *leaf.as_bytes()).collect();
            self.send(Update::Leaves(LogLeaves { start, hashes })).await?;
            start += leaves.len() as u64;
        }
        for (key, file) in whole.snapshots {
            self.send_snapshot(whole.size, key, file).await?;
        }
        self.send_tick(whole.size, &whole.tick).await?;
        match self.send_ticks(whole.to).await? {
            Ticks::Sent => Ok(()),
            Ticks::Gone => {
                let message = "ticks were removed; follow again";
                Err(End::Status(status::error(Code::Unavailable, REPLACED, message)))
            }
        }
    }

    /// Starts a follower anew to whom its next tick cannot be sent.
    async fn send_from_base(&mut self) -> Result<(), End> {
        let position = Position {
            audiences: self.position.audiences.clone(),
            directories: self.position.directories.clone(),
            ..self.position
        };
        let whole = self.on_disk(move |mirror| mirror.plan_whole(&position)).await?;
        self.send_whole(whole).await
    }

    async fn send_snapshot(
        &self,
        log_size: u64,
        key: DirectoryKey,
        file: Box<dyn ReadAt>,
    ) -> Result<(), End> {
        let file: Arc<dyn ReadAt> = file.into();
        let length = file.len().map_err(FeedError::from)?;
        let directory = Some(DirectoryId::of(key.epoch, key.audience));
        for chunk in chunks(length, PART) {
            let file = Arc::clone(&file);
            let data = self.on_disk(move |_| {
                let mut data = vec![0; chunk.length];
                file.read_exact_at(&mut data, chunk.offset)?;
                Ok(Bytes::from(data))
            });
            let data = data.await?;
            let chunk = SnapshotChunk { log_size, directory, data, last: chunk.last };
            self.send(Update::Snapshot(chunk)).await?;
        }
        Ok(())
    }

    /// The ticks that it lacks up to `to`, with the directories that they bring. Ticks stay longer than these: once a base
    /// was made, only the newest snapshot of a directory is there.
    async fn send_ticks(&mut self, to: u64) -> Result<Ticks, End> {
        while self.position.size < to {
            let size = self.position.size + 1;
            let before = self.head.clone();
            let kept = self.mirror.events.tick(size);
            let tick = self.on_disk(move |mirror| {
                let tick = match kept.as_deref() {
                    Some(Event::Tick(event)) => event.tick.clone(),
                    _ => match mirror.store.tick(size)? {
                        Some(tick) => tick,
                        None => return Ok(None),
                    },
                };
                let before = match before {
                    Some(head) => Some(head),
                    None => mirror.store.tick(size - 1)?.map(|tick| tick.head),
                };
                let head = MapHead::from_bytes(&tick.head)?;
                let before = before.map(|head| MapHead::from_bytes(&head)).transpose()?;
                Ok(Some((kept, tick, head, before)))
            });
            let Some((kept, tick, head, before)) = tick.await? else { return Ok(Ticks::Gone) };
            let held = before.map_or_else(
                || self.position.directories.clone(),
                |before| self.wanted_in(&before),
            );
            let brought: Vec<_> = self.wanted_in(&head).difference(&held).copied().collect();
            // All are opened before the first is sent: what is open stays.
            let opened = self.on_disk(move |mirror| mirror.store.open_all(size, &brought)).await?;
            let Some(opened) = opened else { return Ok(Ticks::Gone) };
            for (key, file) in opened {
                self.send_snapshot(size, key, file).await?;
            }
            match kept.as_deref() {
                Some(Event::Tick(event)) => self.send_event(event).await?,
                _ => self.send_tick(size, &tick).await?,
            }
        }
        Ok(Ticks::Sent)
    }

    async fn send_brought(&self, size: u64, key: DirectoryKey) -> Result<(), End> {
        let file = self.on_disk(move |mirror| mirror.store.open_snapshot(size, key)).await?;
        self.send_snapshot(size, key, file).await
    }

    /// Sends a tick without the deltas that are not wanted.
    async fn send_tick(&mut self, size: u64, tick: &Tick) -> Result<(), End> {
        let frame = tick_frame(tick, &self.position.audiences);
        self.sent_tick(size, &tick.head, frame).await
    }

    /// Sends a tick that is in memory: its frame is shared.
    async fn send_event(&mut self, event: &TickEvent) -> Result<(), End> {
        let frame = event.frame(&self.position.audiences);
        self.sent_tick(event.size, &event.tick.head, frame).await
    }

    /// After the manifest that its head may name: the one who serves may have it from its folder, and whoever gets a head of
    /// an unknown manifest takes the sender for a liar.
    async fn sent_tick(&mut self, size: u64, head: &Bytes, frame: Bytes) -> Result<(), End> {
        if self.mirror.manifests.current().version > self.manifest_version {
            self.send_manifests().await?;
        }
        self.send_frame(frame).await?;
        self.head = Some(head.clone());
        self.position.size = size;
        Ok(())
    }

    fn wanted_in(&self, head: &MapHead) -> BTreeSet<DirectoryKey> {
        let keys = head.directories.iter().map(DirectoryKey::of);
        keys.filter(|key| self.position.wants(*key)).collect()
    }

    /// Sends what happens from event `cursor` on; returns when the follower has to be brought up to date again.
    async fn follow_along(&mut self, mut cursor: u64) -> Result<(), End> {
        let mut next = self.mirror.events.subscribe();
        loop {
            let Ok(event) = self.mirror.events.get(cursor) else { return Ok(()) };
            let Some(event) = event else {
                tokio::select! {
                    changed = next.changed() => changed.map_err(|_| End::Quiet)?,
                    () = self.follower.sender.closed() => return Err(End::Quiet),
                    () = self.follower.shutdown.cancelled() => return Err(End::Quiet),
                }
                continue;
            };
            cursor += 1;
            match &*event {
                Event::Tick(tick) if tick.size <= self.position.size => {}
                Event::Tick(tick) if tick.size > self.position.size + 1 => return Ok(()),
                Event::Tick(tick) => {
                    for key in tick.brought.iter().filter(|key| self.position.wants(**key)) {
                        self.send_brought(tick.size, *key).await?;
                    }
                    self.send_event(tick).await?;
                }
                Event::Jumped => {
                    if read(&self.mirror.state).size() > self.position.size {
                        return Ok(());
                    }
                }
                Event::Beside(key, frame) if self.position.wants(*key) => {
                    self.send_frame(frame.clone()).await?;
                }
                Event::Beside(..) => {}
                Event::ForAll(frame) => self.send_frame(frame.clone()).await?,
            }
        }
    }
}
