//! Archiving: an own mirror's stream, as any follower gets it, is written into the store.
//!
//! The archive is a follower like any other: it takes what happened at its own pace, and what it cannot take is read from
//! the mirror's folder later. Nothing that is published, served or decided waits for it. The folder, synced, stays the
//! party's own truth; the store is for distribution and for the day when the folder is gone.
//!
//! One writer at a time: the newest list is replaced by a conditional write, so two cannot interleave and one that slept
//! cannot put its old list over a newer one. Whoever loses stands by, and takes over when the list stands still.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use lanyard_core::checkpoint::verify_checkpoint;
use lanyard_core::ids::{Hash, Timestamp};
use lanyard_core::manifest::Manifest;
use lanyard_core::note::Note;
use lanyard_env::Env;
use lanyard_feed::{FeedError, Frames, ManifestSource, Mirror};
use lanyard_telemetry::{Telemetry, metrics};
use lanyard_wire::feed::v1::{DirectoryId, FollowRequest, FollowResponse};
use rand::Rng as _;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::error::ObjectsError;
use crate::newest::{Newest, Piece, Unreadable, WriterId};
use crate::place::{Found, NEWEST, Place, Tag};
use crate::recorder::Recorder;
use crate::scrub::{first_damaged, is_whole};
use crate::store::Objects;
use crate::sweep::sweep;

/// How long the archive waits after it failed: at first, and at most.
const MIN_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The list of another writer has to stand still for so many ticks until this one takes over.
const STANDBY_TICKS: u32 = 10;

/// How often objects are looked at that are not needed any more.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);

/// One object is read back for so many lists that are written: about one a minute with ticks of two seconds.
const LISTS_A_SCRUB: usize = 32;

/// A new list begins once there are more bytes of ticks than this and than half the snapshots, more objects than that, or
/// another epoch's directories; and the own mirror has a newer base.
const MIN_TICK_BYTES: u64 = 16 * 1024 * 1024;
const MAX_TICK_OBJECTS: usize = 1_024;
const MAX_BESIDE: usize = 64;

/// How the archive of one log is getting on, for people and for metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveState {
    /// The size of the log that is archived, as far as this party knows; 0 before it has looked.
    pub size: u64,
    /// When that was written.
    pub written: Option<Timestamp>,
    /// Failures since, and what the last one was. Standing by is none.
    pub failures: u32,
    /// What was wrong last.
    pub problem: Option<String>,
    /// Whether another party archives there.
    pub standby: bool,
}

impl ArchiveState {
    /// Milliseconds since this party wrote last, and leaves that are not archived of a log of this size. Whoever stands by
    /// is not behind.
    fn behind(&self, size: u64, now: Timestamp) -> (u64, u64) {
        if self.standby {
            return (0, 0);
        }
        let age = self.written.map_or(0, |written| now.millis_since(written));
        (age, size.saturating_sub(self.size))
    }
}

/// Archives one mirror's log.
pub struct Archive {
    pub(crate) env: Env,
    pub(crate) objects: Objects,
    pub(crate) place: Place,
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) manifests: Arc<dyn ManifestSource>,
    pub(crate) keep: Duration,
    pub(crate) state: watch::Sender<ArchiveState>,
    /// Who wrote the list whose objects were all read back, or written, here.
    pub(crate) proven: Mutex<Option<WriterId>>,
}

/// What becomes of news of a log, for metrics.
const OUTCOMES: [&str; 3] = ["archived", "failed", "other_writer"];

/// Why a session ended without an error.
enum Next {
    /// A new list is due.
    Anew,
    Stopped,
}

impl Archive {
    /// How it is getting on.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<ArchiveState> {
        self.state.subscribe()
    }

    /// Shows how it is getting on.
    pub fn observe(&self, telemetry: &Telemetry) {
        let authority = self.mirror.authority().name();
        metrics::ARCHIVE_UPLOADS.show(OUTCOMES.map(|outcome| [authority, outcome]));
        let (state, mirror, env) = (self.watch(), Arc::clone(&self.mirror), self.env.clone());
        telemetry.collect_now(move || {
            let (age, lag) = state.borrow().behind(mirror.read().size(), env.now());
            metrics::ARCHIVE_AGE.of([authority]).set(age as f64 / 1_000.0);
            metrics::ARCHIVE_LAG.of([authority]).set(lag as f64);
        });
    }

    /// Archives until `shutdown`. What fails is tried again, later each time; nobody waits for it.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut anew = false;
        loop {
            let problem = match self.session(anew, &shutdown).await {
                Ok(Next::Stopped) => return,
                Ok(Next::Anew) => ObjectsError::Restarted,
                Err(error) => error,
            };
            anew = matches!(problem, ObjectsError::Restarted);
            let pause = match problem {
                ObjectsError::Restarted => MIN_PAUSE,
                ObjectsError::OtherWriter { .. } => {
                    self.count("other_writer");
                    self.state.send_modify(|state| state.standby = true);
                    tracing::info!(origin = %self.mirror.origin(), "{problem}");
                    if shutdown.run_until_cancelled(self.stand_by()).await.is_none() {
                        return;
                    }
                    continue;
                }
                ObjectsError::Empty => self.tick(),
                problem => self.failed(&problem),
            };
            if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Says what failed; how long to wait.
    fn failed(&self, problem: &ObjectsError) -> Duration {
        self.count("failed");
        let mut failures = 0;
        self.state.send_modify(|state| {
            state.standby = false;
            state.failures = state.failures.saturating_add(1);
            state.problem = Some(problem.to_string());
            failures = state.failures;
        });
        let pause = (MIN_PAUSE * (1 << failures.min(7))).min(MAX_PAUSE);
        let origin = self.mirror.origin();
        tracing::warn!(%origin, failures, "not archived, tried again in {} s: {problem}", pause.as_secs());
        pause
    }

    fn count(&self, outcome: &'static str) {
        let authority = self.mirror.authority().name();
        metrics::ARCHIVE_UPLOADS.of([authority, outcome]).increment(1);
    }

    fn tick(&self) -> Duration {
        Duration::from_millis(u64::from(self.manifests.current().tick_millis))
    }

    /// Waits until the list of the other writer stands still.
    async fn stand_by(&self) {
        let mut seen: Option<Tag> = None;
        loop {
            tokio::time::sleep(self.tick() * STANDBY_TICKS).await;
            match self.place.newest(seen.as_ref()).await {
                Ok(Found::List { tag, .. }) => seen = Some(tag),
                // The next session says what is wrong.
                Ok(Found::Unchanged | Found::Nothing) | Err(_) => return,
            }
        }
    }

    /// Archives until something is wrong.
    async fn session(
        &self,
        anew: bool,
        shutdown: &CancellationToken,
    ) -> Result<Next, ObjectsError> {
        let (tag, newest) = self.begin(anew).await?;
        if newest.size > 0 {
            self.state.send_modify(|state| state.size = newest.size);
        }
        let request = self.request(&newest)?;
        let streaming = CancellationToken::new();
        let _stop = streaming.clone().drop_guard();
        let stream = self.mirror.stream(&request, streaming);
        let stream = stream.map_err(|status| ObjectsError::Mirror(Box::new(status)))?;
        let mut recorder =
            Recorder::new(self.place.clone(), newest.writer, self.mirror.audiences(), newest);
        if !recorder.remember().await? {
            return Ok(Next::Anew);
        }
        let mut session = Session { archive: self, stream, recorder, tag, swept: None, lists: 0 };
        let ended = tokio::select! {
            ended = session.run() => ended,
            () = shutdown.cancelled() => Ok(Next::Stopped),
        };
        session.recorder.abort().await;
        ended
    }

    /// Reads the newest list, and decides what the next one goes on from.
    async fn begin(&self, anew: bool) -> Result<(Option<Tag>, Newest), ObjectsError> {
        if self.mirror.read().size() == 0 {
            return Err(ObjectsError::Empty);
        }
        let manifest = self.manifests.current();
        self.objects.check_event(&manifest.event).await?;
        let mut id = [0; 8];
        self.env.rng().fill_bytes(&mut id);
        let writer = WriterId(id);
        let empty = Newest {
            origin: self.mirror.origin().as_str().to_owned(),
            writer,
            size: 0,
            checkpoint: String::new(),
            cosigned: String::new(),
            base: 0,
            directories: Vec::new(),
            objects: Vec::new(),
        };
        let (bytes, tag) = match self.place.newest(None).await? {
            Found::List { bytes, tag, .. } => (bytes, tag),
            Found::Nothing | Found::Unchanged => return Ok((None, empty)),
        };
        let found = match Newest::from_bytes(&bytes, self.mirror.origin()) {
            Ok(found) => found,
            Err(Unreadable::Malformed(error)) => {
                let place = self.place.name();
                tracing::error!(place, %error, "a damaged list of the newest objects is replaced");
                return Ok((Some(tag), empty));
            }
            Err(Unreadable::OtherVersion) => {
                let (place, name) = (self.place.name().to_owned(), NEWEST.to_owned());
                return Err(ObjectsError::OtherVersion { place, name });
            }
            Err(Unreadable::OtherLog { origin }) => {
                let (place, expected) = (self.place.name().to_owned(), empty.origin);
                return Err(ObjectsError::OtherEvent { place, found: origin, expected });
            }
        };
        self.check_known(&found)?;
        if anew {
            return Ok((Some(tag), empty));
        }
        // Whoever takes over goes on from what is there, and vouches for it.
        if self.proven() != Some(found.writer) {
            if let Some(name) = first_damaged(&self.place, &found).await? {
                self.say_damaged(&name);
                return Ok((Some(tag), empty));
            }
            self.prove(found.writer);
        }
        Ok((Some(tag), Newest { writer, ..found }))
    }

    fn proven(&self) -> Option<WriterId> {
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prove(&self, writer: WriterId) {
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
    }

    fn say_damaged(&self, name: &str) {
        let place = self.place.name();
        tracing::error!(
            place,
            name,
            "the store lost or damaged an object that it needs: all is archived anew"
        );
    }

    /// Whether the list found is one of this log, no newer than what is held here. A list that is newer, of another log, or
    /// signed by nobody known is never replaced.
    fn check_known(&self, found: &Newest) -> Result<(), ObjectsError> {
        let unknown = |problem: &str| self.place.damaged(NEWEST, problem);
        let note = Note::parse(&found.checkpoint).map_err(|error| unknown(&error.to_string()))?;
        let keys = self.manifests.notes_after(0).into_iter().filter_map(|note| {
            let text = Note::parse(&note).ok()?;
            let manifest = Manifest::parse_text(text.text()).ok()?;
            Some(manifest.log_key(self.mirror.authority()).clone())
        });
        let verified = keys.filter_map(|key| verify_checkpoint(&note, &key).ok()).next();
        let checkpoint = verified.filter(|checkpoint| checkpoint.size() == found.size).ok_or_else(|| {
            unknown(
                "it is not signed by this event's authority; remove it if nobody needs it, or give this event a bucket, prefix \
                 or folder of its own in [objects] store",
            )
        })?;
        let view = self.mirror.read();
        let (stored, held) = (checkpoint.size(), view.size());
        if stored > held {
            return Err(ObjectsError::Ahead { place: self.place.name().to_owned(), stored, held });
        }
        let is_same = view.log().root_at(stored).is_ok_and(|root| root == checkpoint.root());
        drop(view);
        if !is_same {
            // Says so, and keeps the evidence.
            self.mirror.cosigned(&found.checkpoint, self.place.name())?;
            return Err(FeedError::Fork { size: stored }.into());
        }
        Ok(())
    }

    /// What to ask the own mirror for: what the list lacks.
    fn request(&self, newest: &Newest) -> Result<FollowRequest, ObjectsError> {
        let root: Option<Hash> = match newest.size {
            0 => None,
            size => Some(self.mirror.read().log().root_at(size).map_err(FeedError::from)?),
        };
        let manifests = newest.objects.iter().filter_map(|object| match object.piece {
            Piece::Manifest { version } => Some(version),
            _ => None,
        });
        let directories = newest.directories.iter();
        Ok(FollowRequest {
            log_size: newest.size,
            log_root: root.map_or_else(Vec::new, |root| root.as_bytes().to_vec()),
            directories: directories.map(|key| DirectoryId::of(key.epoch, key.audience)).collect(),
            manifest_version: manifests.max().unwrap_or(0),
            ..self.mirror.follow_request()
        })
    }
}

/// One stream of the own mirror, on its way into the store.
struct Session<'a> {
    archive: &'a Archive,
    stream: Frames,
    recorder: Recorder,
    tag: Option<Tag>,
    swept: Option<Instant>,
    /// How many were written.
    lists: usize,
}

impl Session<'_> {
    async fn run(&mut self) -> Result<Next, ObjectsError> {
        loop {
            let first = self.stream.next().await;
            self.take(first).await?;
            // All that waits goes into one list.
            while !self.recorder.is_full() {
                match self.stream.next().now_or_never() {
                    Some(next) => self.take(next).await?,
                    None => break,
                }
            }
            if !self.recorder.is_consistent() || !self.recorder.write().await? {
                continue;
            }
            self.list().await?;
            if self.is_new_list_due().await || self.finds_damage().await? {
                return Ok(Next::Anew);
            }
            self.sweep().await;
        }
    }

    async fn take(
        &mut self,
        next: Option<Result<FollowResponse, Status>>,
    ) -> Result<(), ObjectsError> {
        match next {
            Some(Ok(response)) => self.recorder.take(response).await,
            Some(Err(status)) => Err(ObjectsError::Mirror(Box::new(status))),
            None => Err(ObjectsError::Mirror(Box::new(Status::unavailable("the stream ended")))),
        }
    }

    /// Replaces the newest list.
    async fn list(&mut self) -> Result<(), ObjectsError> {
        let (archive, newest) = (self.archive, &self.recorder.newest);
        let replaced = archive.place.replace(self.tag.as_ref(), newest.to_bytes().into()).await?;
        let Some(tag) = replaced else {
            return Err(ObjectsError::OtherWriter { place: archive.place.name().to_owned() });
        };
        self.tag = Some(tag);
        self.lists += 1;
        archive.prove(newest.writer);
        archive.count("archived");
        let (size, time) = (newest.size, archive.env.now());
        let before = archive.state.send_replace(ArchiveState {
            size,
            written: Some(time),
            ..ArchiveState::default()
        });
        if before.written.is_none() || before.failures > 0 || before.standby {
            tracing::info!(origin = newest.origin, size, place = archive.place.name(), "archived");
        }
        Ok(())
    }

    async fn is_new_list_due(&mut self) -> bool {
        let newest = &self.recorder.newest;
        let (objects, bytes) = newest.tick_bytes();
        let count = |is: fn(&Piece, u64) -> bool| {
            newest.objects.iter().filter(|object| is(&object.piece, newest.base)).count()
        };
        let brought =
            count(|piece, base| matches!(piece, Piece::Snapshot { size, .. } if *size > base));
        let beside = count(|piece, _| matches!(piece, Piece::Beside { .. }));
        let is_due = bytes > MIN_TICK_BYTES.max(newest.snapshot_bytes() / 2)
            || objects > MAX_TICK_OBJECTS
            || beside > MAX_BESIDE
            || brought > 0;
        if !is_due {
            return false;
        }
        let mirror = Arc::clone(&self.archive.mirror);
        let base = lanyard_env::blocking(move || mirror.base_size()).await;
        base.is_ok_and(|base| base > newest.base)
    }

    /// Now and then, reads one object back, in turn.
    async fn finds_damage(&mut self) -> Result<bool, ObjectsError> {
        let objects = &self.recorder.newest.objects;
        if !self.lists.is_multiple_of(LISTS_A_SCRUB) || objects.is_empty() {
            return Ok(false);
        }
        let object = &objects[(self.lists / LISTS_A_SCRUB - 1) % objects.len()];
        if is_whole(&self.archive.place, object).await? {
            return Ok(false);
        }
        self.archive.say_damaged(&object.name());
        Ok(true)
    }

    /// Now and then. What fails is tried again the next time.
    async fn sweep(&mut self) {
        if self.swept.is_some_and(|swept| swept.elapsed() < SWEEP_EVERY) {
            return;
        }
        self.swept = Some(Instant::now());
        let place = &self.archive.place;
        match sweep(place, self.archive.mirror.origin(), self.archive.keep).await {
            Ok(0) => {}
            Ok(objects) => tracing::info!(place = place.name(), objects, "old objects removed"),
            Err(error) => tracing::warn!(%error, "old objects were not removed"),
        }
    }
}
