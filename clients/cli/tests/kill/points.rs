//! Named crash points: this test's program as the services run it, on a disk that kills its process once at each.
//!
//! A point is what is done to which kind of file, and how far it got. Points stand in this program only: the services'
//! own binary has none. They are armed by a file beside the parties' folders; each point at which a process has died is
//! written down there, so that it goes on past it when it is started again.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use lanyard_env::{AppendFile, DiskFiles, Env, FileError, Files, FolderLock, Mode, ReadAt};
use lanyard_party::{Arguments, run_in};
use rustix::process::{Signal, getpid, kill_process};

/// Beside the parties' folders.
const FOLDER: &str = "crash-points";

/// Serves a party as `lanyard serve PARTY --stop-with-parent --config FILE` does.
pub(crate) fn serve(arguments: &[String]) -> ExitCode {
    let [_, party, .., config] = arguments else { return ExitCode::FAILURE };
    std::thread::spawn(|| {
        let mut ignored = [0; 256];
        while matches!(std::io::stdin().read(&mut ignored), Ok(1..)) {}
        let _ = kill_process(getpid(), Signal::TERM);
    });
    let config = PathBuf::from(config);
    let folder = config.parent().expect("a party's folder").to_owned();
    let mut env = Env::system();
    env.files = Arc::new(Crashing { disk: DiskFiles::new(), points: Arc::new(Points::of(folder)) });
    let arguments = Arguments { config, check_config: None, check_ready: false };
    match party.as_str() {
        "committee" => {
            run_in(env, &arguments, lanyard_committee::inspect, lanyard_committee::serve)
        }
        "police" => run_in(env, &arguments, lanyard_police::inspect, lanyard_police::serve),
        "sponsor" => run_in(env, &arguments, lanyard_sponsor::inspect, lanyard_sponsor::serve),
        "trustee" => run_in(env, &arguments, lanyard_trustee::inspect, lanyard_trustee::serve),
        "gate" => run_in(env, &arguments, lanyard_gate::inspect, lanyard_gate::serve),
        _ => ExitCode::FAILURE,
    }
}

/// Lets processes die at their next new point, or no longer.
pub(crate) fn arm(event: &Path, armed: bool) {
    let path = event.join(FOLDER).join("armed");
    std::fs::create_dir_all(event.join(FOLDER)).expect("a folder");
    if armed {
        std::fs::write(path, "").expect("points are armed");
    } else {
        std::fs::remove_file(path).expect("points are disarmed");
    }
}

/// The points at which a member's process has died.
pub(crate) fn died_at(event: &Path, member: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(event.join(FOLDER).join(member)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The kind of file: its path in the party's folder, with `*` for names that are drawn or counted.
pub(crate) fn kind_of(folder: &Path, path: &Path) -> String {
    let path = path.strip_prefix(folder).unwrap_or(path);
    let names = path.iter().map(|name| name.to_string_lossy().into_owned());
    let mut kind = Vec::new();
    let mut counted = false;
    for name in names {
        counted |= name.starts_with(|first: char| first.is_ascii_digit())
            || (name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
            || name.ends_with(".checkpoint");
        kind.push(if counted { "*".to_owned() } else { name });
    }
    let kind = kind.join("/");
    let kind = kind.strip_prefix("data/").unwrap_or(&kind);
    // Gates and the sponsor call the folder of their feeds so.
    let kind = kind.replacen("mirror", "feeds", 1);
    kind.replace("feeds/committee/", "feeds/AUTHORITY/")
        .replace("feeds/police/", "feeds/AUTHORITY/")
}

struct Points {
    folder: PathBuf,
    notes: PathBuf,
    armed: PathBuf,
    died_at: Mutex<BTreeSet<String>>,
}

impl Points {
    fn of(folder: PathBuf) -> Self {
        let event = folder.parent().expect("an event's folder");
        let member = folder.file_name().expect("a member").to_string_lossy().into_owned();
        Self {
            notes: event.join(FOLDER).join(&member),
            armed: event.join(FOLDER).join("armed"),
            died_at: Mutex::new(died_at(event, &member)),
            folder,
        }
    }

    /// Whether the process is to die here, which is then written down.
    fn dies(&self, path: &Path, how_far: &str) -> bool {
        let kind = kind_of(&self.folder, path);
        // A file per feed, so that a party dies in its own and in what it mirrors.
        let feed = path.iter().skip_while(|name| *name != "feeds" && *name != "mirror").nth(1);
        let feed = feed.map(|name| format!(" of {}", name.to_string_lossy())).unwrap_or_default();
        let point = format!("{kind}: {how_far}{feed}");
        let mut died_at = self.died_at.lock().expect("nobody panics holding it");
        if died_at.contains(&point) || !self.armed.exists() {
            return false;
        }
        let notes = std::fs::OpenOptions::new().create(true).append(true).open(&self.notes);
        notes.and_then(|mut notes| writeln!(notes, "{point}")).expect("a point is written down");
        // Held until the end: one point at a time.
        died_at.insert(point);
        std::mem::forget(died_at);
        true
    }

    fn at(&self, path: &Path, how_far: &str) {
        if self.dies(path, how_far) {
            die();
        }
    }
}

fn die() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    loop {
        std::thread::park();
    }
}

struct Crashing {
    disk: DiskFiles,
    points: Arc<Points>,
}

struct CrashingAppend {
    file: Box<dyn AppendFile>,
    path: PathBuf,
    points: Arc<Points>,
}

impl AppendFile for CrashingAppend {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        if self.points.dies(&self.path, "half appended") {
            let _ = self.file.write_all(&bytes[..bytes.len() / 2]);
            die();
        }
        self.file.write_all(bytes)?;
        self.points.at(&self.path, "appended, not synced");
        Ok(())
    }
    fn sync(&mut self) -> Result<(), FileError> {
        self.file.sync()?;
        self.points.at(&self.path, "synced");
        Ok(())
    }
    fn len(&self) -> u64 {
        self.file.len()
    }
    fn truncate(&mut self, length: u64) -> Result<(), FileError> {
        let is_cut = length < self.file.len();
        self.file.truncate(length)?;
        if is_cut {
            self.points.at(&self.path, "cut");
        }
        Ok(())
    }
}

impl Files for Crashing {
    fn read(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        self.disk.read(path)
    }
    fn write_atomic(&self, path: &Path, bytes: &[u8], mode: Mode) -> Result<(), FileError> {
        if self.points.dies(path, "half written") {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let beside = path.with_file_name(format!(".{name}.0-0.tmp"));
            let _ = std::fs::write(beside, &bytes[..bytes.len() / 2]);
            die();
        }
        self.disk.write_atomic(path, bytes, mode)?;
        self.points.at(path, "written");
        Ok(())
    }
    fn append(&self, path: &Path) -> Result<Box<dyn AppendFile>, FileError> {
        let (path, points) = (path.to_owned(), Arc::clone(&self.points));
        Ok(Box::new(CrashingAppend { file: self.disk.append(&path)?, path, points }))
    }
    fn open(&self, path: &Path) -> Result<Box<dyn ReadAt>, FileError> {
        self.disk.open(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        self.points.at(to, "to be renamed");
        self.disk.rename(from, to)?;
        self.points.at(to, "renamed");
        Ok(())
    }
    fn remove(&self, path: &Path) -> Result<(), FileError> {
        let is_there = self.disk.exists(path)?;
        if is_there {
            self.points.at(path, "to be removed");
        }
        self.disk.remove(path)?;
        if is_there {
            self.points.at(path, "removed");
        }
        Ok(())
    }
    fn list(&self, dir: &Path) -> Result<Vec<String>, FileError> {
        self.disk.list(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> Result<(), FileError> {
        let is_there = self.disk.exists(dir)?;
        self.disk.create_dir_all(dir)?;
        if !is_there {
            self.points.at(dir, "made");
        }
        Ok(())
    }
    fn exists(&self, path: &Path) -> Result<bool, FileError> {
        self.disk.exists(path)
    }
    fn permissions(&self, path: &Path) -> Result<u32, FileError> {
        self.disk.permissions(path)
    }
    fn settle(&self, dir: &Path) -> Result<(), FileError> {
        self.disk.settle(dir)
    }
    fn lock(&self, dir: &Path) -> Result<FolderLock, FileError> {
        self.disk.lock(dir)
    }
}
