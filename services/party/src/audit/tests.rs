use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use lanyard_env::{AppendFile, Files, FolderLock, ManualClock, Mode, ReadAt};
use lanyard_transport::PeerId;
use serde_json::Value;

use super::*;

fn act(sequence: u64) -> Act {
    Act {
        sequence,
        time: Timestamp::from_seconds(1_800_000_000 + sequence),
        operator: "spiffe://police/operator/anna".to_owned(),
        action: "suspend".to_owned(),
        object: format!("{sequence:024x}"),
        change: 7,
    }
}

fn peer(text: &str) -> PeerId {
    text.parse().unwrap()
}

fn call<'a>(peer: &'a PeerId, rpc: &'static str, code: &'a str) -> CallEnded<'a> {
    let refused = (code == "PERMISSION_DENIED").then_some("NOT_ALLOWED");
    CallEnded { peer, rpc, request_id: "0-1", code, refused }
}

struct World {
    _dir: tempfile::TempDir,
    env: Env,
    clock: ManualClock,
    folder: Folder,
    trail: Arc<Mutex<Vec<Act>>>,
}

impl World {
    fn new() -> Self {
        let (dir, clock) = (
            tempfile::tempdir().unwrap(),
            ManualClock::new(Timestamp::from_seconds(1_800_000_000)),
        );
        let env = Env::for_test(clock.clone());
        let folder = Folder::open(dir.path(), &env);
        Self { _dir: dir, env, clock, folder, trail: Arc::default() }
    }

    /// Runs a stream while `during` has it, then stops it as a service does.
    async fn run(&self, during: impl FnOnce(&Queue)) {
        self.run_in(&self.env, during).await;
    }

    async fn run_in(&self, env: &Env, during: impl FnOnce(&Queue)) {
        let (trail, dir) = (Arc::clone(&self.trail), self.folder.data_dir().join("audit"));
        let source: TrailSource = Arc::new(move |after| {
            let acts = trail.lock().unwrap();
            let page = acts.iter().filter(|act| act.sequence > after).take(TRAIL_PAGE as usize);
            let page: Vec<_> = page.cloned().collect();
            Box::pin(async move { Ok(page) })
        });
        let (files, last) = StreamFiles::open(Arc::clone(&env.files), dir, 30).unwrap();
        let queue = Arc::new(Queue::new(env.clone()));
        let mut writer = Writer {
            env: env.clone(),
            queue: Arc::clone(&queue),
            lines: Lines::new("police", last),
            files: Some(files),
            trail: Some(source),
            to_stdout: false,
        };
        during(&queue);
        writer.flush().await;
        writer.flush().await;
    }

    fn file_names(&self) -> Vec<String> {
        let mut names = self.env.files.list(&self.folder.data_dir().join("audit")).unwrap();
        names.sort();
        names
    }

    fn lines(&self) -> Vec<Value> {
        let dir = self.folder.data_dir().join("audit");
        let read = |name: &String| self.env.files.read(&dir.join(name)).unwrap();
        let text: Vec<u8> = self.file_names().iter().flat_map(read).collect();
        String::from_utf8(text).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }
}

#[tokio::test]
async fn acts_and_calls_are_numbered_on_across_restarts_and_none_comes_twice() {
    let world = World::new();
    let anna = peer("spiffe://police/operator/anna");
    world.trail.lock().unwrap().extend((1..=1_100).map(act));
    world.run(|queue| queue.call(&call(&anna, "/p.S/Read", "OK"))).await;
    world.trail.lock().unwrap().push(act(1_101));
    world.run(|_| {}).await;
    world.run(|_| {}).await;
    let lines = world.lines();
    assert_eq!(lines.len(), 1_102);
    for (number, line) in (1..).zip(&lines) {
        assert_eq!(line["event"]["sequence"], number);
    }
    let trail = |line: &Value| line["lanyard"]["trail"].as_u64().unwrap();
    assert!(lines[1..].iter().zip(1..).all(|(line, number)| trail(line) == number));
    let expected = serde_json::json!({
        "@timestamp": "2027-01-15T08:00:01.000Z",
        "event": {
            "sequence": 2, "kind": "event", "dataset": "lanyard.act", "action": "suspend",
            "outcome": "success",
        },
        "service": { "name": "police" },
        "user": { "id": "spiffe://police/operator/anna" },
        "lanyard": { "schema": 1, "trail": 1, "object": "000000000000000000000001", "change": 7 },
    });
    assert_eq!(lines[1], expected);
}

#[tokio::test]
async fn a_line_that_a_crash_cut_off_is_taken_away_and_its_act_written_again() {
    let world = World::new();
    world.trail.lock().unwrap().extend([act(1), act(2)]);
    world.run(|_| {}).await;
    let path = world.folder.data_dir().join("audit").join(&world.file_names()[0]);
    let length = world.env.files.open(&path).unwrap().len().unwrap();
    world.env.files.append(&path).unwrap().truncate(length - 9).unwrap();
    world.run(|_| {}).await;
    let numbers: Vec<_> = world.lines().iter().map(|l| l["event"]["sequence"].clone()).collect();
    assert_eq!(numbers, [1, 2]);
}

#[tokio::test]
async fn a_flood_of_refusals_is_one_line_and_services_are_not_watched_at_work() {
    let world = World::new();
    let (gate, anna) = (peer("spiffe://gate/service/gate-1"), peer("spiffe://police/desk/one"));
    world
        .run(|queue| {
            for _ in 0..100_000 {
                queue.call(&call(&gate, "/p.S/Write", "PERMISSION_DENIED"));
                queue.handshake("unknown_authority");
                queue.call(&call(&gate, "/p.S/Follow", "OK"));
            }
            for _ in 0..10_000 {
                queue.call(&call(&anna, "/p.S/Read", "OK"));
            }
        })
        .await;
    let lines = world.lines();
    let of = |dataset: &str| lines.iter().filter(|l| l["event"]["dataset"] == dataset).count();
    assert_eq!(lines[0]["lanyard"]["count"], 100_000);
    assert_eq!(lines[0]["lanyard"]["refused"], "NOT_ALLOWED");
    assert_eq!((of("lanyard.handshake"), of("lanyard.lost")), (1, 1));
    assert_eq!(of("lanyard.call"), 4_096 - 1);
    assert_eq!(lines.last().unwrap()["lanyard"]["count"], 10_000 - (4_096 - 2));
    assert!(!lines.iter().any(|line| line["event"]["action"] == "/p.S/Follow"));
}

#[tokio::test]
async fn what_happens_to_a_service_is_told_without_a_person() {
    let world = World::new();
    let sponsor = peer("spiffe://sponsor/service/sponsor");
    world
        .run(|queue| {
            queue.incident(Incident::ManifestAdopted, "2".to_owned());
            queue.incident(Incident::ForkRefused, "games/police".to_owned());
            queue.incident(Incident::ForkRefused, "games/police".to_owned());
            queue.call(&CallEnded {
                peer: &sponsor,
                rpc: "/witness/add-checkpoint",
                request_id: "0-2",
                code: "403",
                refused: None,
            });
        })
        .await;
    let lines = world.lines();
    let expected = serde_json::json!({
        "@timestamp": "2027-01-15T08:00:00.000Z",
        "event": {
            "sequence": 2, "kind": "event", "dataset": "lanyard.incident", "action": "fork-refused",
            "outcome": "failure",
        },
        "service": { "name": "police" },
        "lanyard": { "schema": 1, "trail": 0, "about": "games/police", "count": 2 },
    });
    assert_eq!(lines[1], expected);
    assert_eq!(lines[0]["event"]["outcome"], "success");
    assert_eq!(lines[2]["event"]["outcome"], "failure");
}

#[tokio::test]
async fn a_stream_begins_with_the_start_and_ends_with_the_stop() {
    let world = World::new();
    let telemetry = Telemetry::new(None);
    let config = AuditStreamConfig { to: AuditStreamTarget::Files, keep_days: 30 };
    let (env, folder) = (&world.env, &world.folder);
    let stream = AuditStream::open(env, folder, Some(&config), "police", None, &telemetry);
    let stream = stream.unwrap().unwrap();
    telemetry.incidents().tell(Incident::CertificateChanged, 1_900_000_000);
    stream.close().await;
    let lines = world.lines();
    let actions: Vec<_> = lines.iter().map(|line| line["event"]["action"].clone()).collect();
    assert_eq!(actions, ["started", "certificate-changed", "stopped"]);
    assert_eq!(lines[1]["lanyard"]["about"], "1900000000");
}

#[tokio::test]
async fn old_files_go_and_the_numbers_go_on() {
    let world = World::new();
    for day in 0..40 {
        world.trail.lock().unwrap().push(act(day + 1));
        world.clock.set(Timestamp::from_seconds(1_800_000_000 + day * 24 * 3_600));
        let time = world.env.now();
        world.trail.lock().unwrap().last_mut().unwrap().time = time;
        world.run(|_| {}).await;
    }
    let lines = world.lines();
    assert_eq!(lines.last().unwrap()["event"]["sequence"], 40);
    assert!((30..=32).contains(&lines.len()), "{}", lines.len());
}

/// A disk that refuses while it is told to.
struct Refusing(Arc<dyn Files>, Arc<AtomicBool>);

impl Files for Refusing {
    fn append(&self, path: &Path) -> Result<Box<dyn AppendFile>, FileError> {
        if self.1.load(Ordering::SeqCst) {
            let full = std::io::ErrorKind::StorageFull.into();
            return Err(FileError::new("append to", path, full));
        }
        self.0.append(path)
    }
    fn read(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        self.0.read(path)
    }
    fn write_atomic(&self, path: &Path, bytes: &[u8], mode: Mode) -> Result<(), FileError> {
        self.0.write_atomic(path, bytes, mode)
    }
    fn open(&self, path: &Path) -> Result<Box<dyn ReadAt>, FileError> {
        self.0.open(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> Result<(), FileError> {
        self.0.remove(path)
    }
    fn list(&self, dir: &Path) -> Result<Vec<String>, FileError> {
        self.0.list(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> Result<(), FileError> {
        self.0.create_dir_all(dir)
    }
    fn exists(&self, path: &Path) -> Result<bool, FileError> {
        self.0.exists(path)
    }
    fn permissions(&self, path: &Path) -> Result<u32, FileError> {
        self.0.permissions(path)
    }
    fn lock(&self, dir: &Path) -> Result<FolderLock, FileError> {
        self.0.lock(dir)
    }
}

#[tokio::test]
async fn what_a_full_disk_did_not_take_is_written_when_there_is_room() {
    let world = World::new();
    let is_full = Arc::new(AtomicBool::new(true));
    let files = Arc::new(Refusing(Arc::clone(&world.env.files), Arc::clone(&is_full)));
    let env = Env { files, ..world.env.clone() };
    world.trail.lock().unwrap().push(act(1));
    let dir = world.folder.data_dir().join("audit");
    let (files, last) = StreamFiles::open(Arc::clone(&env.files), dir, 30).unwrap();
    let queue = Arc::new(Queue::new(env.clone()));
    let anna = peer("spiffe://police/operator/anna");
    queue.call(&call(&anna, "/p.S/Read", "OK"));
    let mut writer = Writer {
        env,
        queue: Arc::clone(&queue),
        lines: Lines::new("police", last),
        files: Some(files),
        trail: None,
        to_stdout: false,
    };
    writer.flush().await;
    queue.call(&call(&anna, "/p.S/Next", "OK"));
    assert!(world.lines().is_empty());
    is_full.store(false, Ordering::SeqCst);
    writer.flush().await;
    let actions: Vec<_> = world.lines().iter().map(|l| l["event"]["action"].clone()).collect();
    assert_eq!(actions, ["/p.S/Read", "/p.S/Next"]);
}
