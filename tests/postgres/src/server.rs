//! A server of the installed PostgreSQL, run by an ordinary user in a folder of its own.

use std::fmt;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `nobody`, on every system that has a PostgreSQL package.
const NOBODY: u32 = 65_534;

/// Runs a server until its own standard input closes, which the end of the test process does too, whatever its cause.
/// `$1` is its folder, removed then unless it was told to stay by the file `stay` in it; the rest is the server's command.
const WATCH: &str = r#"
trap '' INT
dir=$1
shift
"$@" </dev/null >>"$dir/log" 2>&1 &
server=$!
cat >/dev/null
kill -QUIT $server 2>/dev/null
wait $server
[ -e "$dir/stay" ] || rm -rf "$dir"
"#;

/// Why there is no server.
#[derive(Debug)]
pub struct NoServer(String);

impl fmt::Display for NoServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no PostgreSQL: {}; install it (apt-get install postgresql) or set DATABASE_URL",
            self.0
        )
    }
}

/// A running server; superuser `lanyard`, nobody else is let in. Dropping it stops and removes it.
pub struct Server {
    folder: PathBuf,
    programs: PathBuf,
    port: u16,
    settings: Vec<String>,
    watch: Option<Child>,
}

impl Server {
    /// Makes and starts one.
    ///
    /// # Errors
    /// [`NoServer`] if none is installed.
    ///
    /// # Panics
    /// If the one that is installed does not start.
    pub fn start() -> Result<Self, NoServer> {
        let mut server = Self::make(true)?;
        server.resume();
        Ok(server)
    }

    /// Makes and starts one whose pages have no checksums, which services refuse.
    ///
    /// # Errors
    /// [`NoServer`] if none is installed.
    ///
    /// # Panics
    /// If the one that is installed does not start.
    pub fn without_checksums() -> Result<Self, NoServer> {
        let mut server = Self::make(false)?;
        server.resume();
        Ok(server)
    }

    fn make(checksums: bool) -> Result<Self, NoServer> {
        let programs = programs().ok_or_else(|| NoServer("initdb is nowhere".to_owned()))?;
        let folder = new_folder().map_err(|error| NoServer(error.to_string()))?;
        if rustix::process::geteuid().is_root() {
            chown(&folder, Some(NOBODY), Some(NOBODY)).expect("root may give a folder away");
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = port.map_err(|error| NoServer(error.to_string()))?.port();
        let server = Self { folder, programs, port, settings: Vec::new(), watch: None };
        let initdb = || as_ordinary_user(&server.programs.join("initdb"));
        let help = initdb().arg("--help").output().map_err(|error| NoServer(error.to_string()))?;
        let without = "--no-data-checksums";
        // Since PostgreSQL 18 they are there unless they are refused.
        let can_refuse = String::from_utf8_lossy(&help.stdout).contains(without);
        let checksums =
            if checksums { Some("--data-checksums") } else { can_refuse.then_some(without) };
        let initialised = initdb()
            .args(["--username=lanyard", "--auth=trust", "--encoding=UTF8", "--locale=C"])
            .args(["--no-sync", "--no-instructions"])
            .args(checksums)
            .arg("-D")
            .arg(server.data())
            .current_dir("/")
            .output()
            .map_err(|error| NoServer(error.to_string()))?;
        let said = String::from_utf8_lossy(&initialised.stderr);
        assert!(initialised.status.success(), "initdb: {said}");
        Ok(server)
    }

    /// The URL of one of its databases, on its Unix socket.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!(
            "postgres://lanyard@localhost:{}/{database}?host={folder}&sslmode=disable",
            self.port
        )
    }

    /// Where it listens on the loopback once `listen_addresses` says so.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Writes a file into its folder, for its eyes only, and returns where it is.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, text).expect("the server's folder");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our file");
        if rustix::process::geteuid().is_root() {
            chown(&path, Some(NOBODY), Some(NOBODY)).expect("root may give a file away");
        }
        path
    }

    /// Starts it again with more settings, as `postgresql.conf` has them.
    pub fn configure(&mut self, settings: &[&str]) {
        self.crash();
        self.settings.extend(settings.iter().map(|&setting| setting.to_owned()));
        self.resume();
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Exchanges one bit of a file below its data folder, as a failing disk would. To be done while it does not run.
    ///
    /// # Panics
    /// If the file is shorter.
    pub fn flip_bit(&self, file: &str, byte: usize) {
        let path = self.data().join(file);
        let mut bytes = fs::read(&path).expect("a file of the server");
        bytes[byte] ^= 1;
        fs::write(&path, bytes).expect("the server's folder");
    }

    /// Stops it at once, as a crash would; it recovers when it is started again.
    pub fn crash(&mut self) {
        if let Some(mut watch) = self.watch.take() {
            fs::write(self.folder.join("stay"), "").expect("the server's folder");
            drop(watch.stdin.take());
            let _ = watch.wait();
        }
    }

    /// Starts it again, and returns when it takes connections.
    ///
    /// # Panics
    /// If it does not within half a minute.
    pub fn resume(&mut self) {
        let _ = fs::remove_file(self.folder.join("stay"));
        let mut command = as_ordinary_user(Path::new("/bin/sh"));
        command.args(["-c", WATCH, "watch"]).arg(&self.folder);
        command.arg(self.programs.join("postgres")).arg("-D").arg(self.data());
        command.arg("-p").arg(self.port.to_string()).arg("-k").arg(&self.folder);
        for setting in ["listen_addresses=", "max_connections=200"] {
            command.args(["-c", setting]);
        }
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        command.current_dir("/").stdin(Stdio::piped());
        self.watch = Some(command.spawn().expect("a shell"));
        // The eighth line of its file says so; the socket is there before.
        let state = self.data().join("postmaster.pid");
        let is_ready = || {
            let lines = fs::read_to_string(&state).unwrap_or_default();
            lines.lines().nth(7).is_some_and(|line| line.trim() == "ready")
        };
        let until = Instant::now() + Duration::from_secs(30);
        while !is_ready() {
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "PostgreSQL does not start: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.crash();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A folder of its own: in memory where there is room, for syncing costs nothing there, and services take no server that
/// does not sync.
fn new_folder() -> std::io::Result<PathBuf> {
    const ROOM: u64 = 1 << 30;
    let memory = Path::new("/dev/shm");
    let has_room = rustix::fs::statvfs(memory)
        .is_ok_and(|there| there.f_bavail.saturating_mul(there.f_frsize) >= ROOM);
    let parent = if has_room { memory.to_owned() } else { std::env::temp_dir() };
    Ok(tempfile::Builder::new().prefix("lanyard-pg-").tempdir_in(parent)?.keep())
}

/// A command that does not run as root, which PostgreSQL refuses.
fn as_ordinary_user(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program);
    command
}

/// The folder of the newest installed server's programs.
fn programs() -> Option<PathBuf> {
    folders()
        .into_iter()
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
}

/// Folders in which programs of PostgreSQL may be, the preferred first.
fn folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // Debian keeps them out of the path.
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    folders
}

/// Writes all of a database to a new file, as docs/OPERATIONS.md tells to back it up.
///
/// # Panics
/// If that fails.
pub fn dump(url: &str, to: &Path) {
    run("pg_dump", &["--format=custom", &format!("--file={}", to.display())], url);
}

/// Puts what [`dump`] wrote in the place of all that a database holds, as docs/OPERATIONS.md tells to.
///
/// # Panics
/// If that fails.
pub fn restore(url: &str, from: &Path) {
    run("pg_restore", &["--clean", "--if-exists", &from.display().to_string()], url);
}

fn run(program: &str, arguments: &[&str], url: &str) {
    let mut folders = folders().into_iter();
    let folder = folders.find(|folder| folder.join(program).is_file());
    let folder = folder.unwrap_or_else(|| panic!("{program} is not installed"));
    let mut command = Command::new(folder.join(program));
    let done = command.args(arguments).arg(format!("--dbname={url}")).output();
    let done = done.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
}
