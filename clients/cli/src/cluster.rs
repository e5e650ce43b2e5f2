//! A whole event on one machine: each party's service in a process of its own.
//!
//! Everything stands in one directory that [`crate::event::create`] (or `lanyard init`) made: `DIR/MEMBER` for each
//! party, `DIR/event.toml` with the addresses. The processes are this program running itself (`lanyard serve PARTY
//! --config DIR/MEMBER/config.toml`), each in a process group of its own; they stop by themselves when this process
//! ends, however it ends.
//!
//! ```text
//! let mut cluster = Cluster::open(&env, dir)?;         // or .with_program(path of the `lanyard` binary)
//! cluster.start_all()?;
//! cluster.wait_ready(Duration::from_secs(30)).await?;  // every service listens
//! cluster.wait_synced(Duration::from_secs(60)).await?; // every gate has both authorities' directories and keys
//! cluster.kill(&Member::Sponsor).await?;               // kill -9
//! cluster.start(&Member::Sponsor)?;
//! cluster.stop_all().await?;                           // SIGTERM, then kill -9 after a while
//! ```
//!
//! What a process says goes to `DIR/MEMBER/data/log.txt` ([`Cluster::log_path`]); an error about a party that died
//! carries the end of it. Dropping a cluster kills its processes.

mod error;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use lanyard_ceremony::{EventTree, Member};
use lanyard_client::{Connection, call};
use lanyard_env::Env;
use lanyard_transport::{PartyName, Role};
use lanyard_wire::gate::v1::GetSyncStateRequest;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

pub use self::error::{ClusterError, Death};

/// How long a process may take to stop when asked to.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);
/// Lines of a log that an error shows.
const TAIL_LINES: usize = 12;
/// Bytes of a log that are read for that.
const TAIL_BYTES: u64 = 16 * 1024;

/// The processes of one event. See the module's documentation.
pub struct Cluster {
    env: Env,
    dir: PathBuf,
    program: PathBuf,
    tree: EventTree,
    running: BTreeMap<Member, Child>,
}

impl Cluster {
    /// The event under `dir`, with nothing started yet.
    ///
    /// # Errors
    /// [`ClusterError::Event`] if no event was made there.
    pub fn open(env: &Env, dir: &Path) -> Result<Self, ClusterError> {
        let program = std::env::current_exe().map_err(|source| ClusterError::Program { source })?;
        let tree = EventTree::read(&*env.files, dir)?;
        let (env, dir) = (env.clone(), dir.to_owned());
        Ok(Self { env, dir, program, tree, running: BTreeMap::new() })
    }

    /// Runs this `lanyard` binary instead of the current program.
    #[must_use]
    pub fn with_program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Reads `event.toml` again, as after a gate was added.
    ///
    /// # Errors
    /// [`ClusterError::Event`].
    pub fn reload(&mut self) -> Result<(), ClusterError> {
        self.tree = EventTree::read(&*self.env.files, &self.dir)?;
        Ok(())
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The event and who stands where.
    #[must_use]
    pub const fn event(&self) -> &EventTree {
        &self.tree
    }

    /// All members that run a service.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.tree.services.keys().cloned().collect()
    }

    /// The gates among them.
    #[must_use]
    pub fn gates(&self) -> Vec<Member> {
        let mut gates = self.members();
        gates.retain(|member| member.party() == PartyName::Gate);
        gates
    }

    /// A member's folder.
    #[must_use]
    pub fn folder(&self, member: &Member) -> PathBuf {
        EventTree::folder(&self.dir, member)
    }

    /// Where a member's service listens.
    ///
    /// # Errors
    /// [`ClusterError::NoService`].
    pub fn address(&self, member: &Member) -> Result<SocketAddr, ClusterError> {
        self.tree.services.get(member).copied().ok_or_else(|| ClusterError::NoService {
            member: member.clone(),
            services: self.members(),
        })
    }

    /// Where a member's process writes its log.
    #[must_use]
    pub fn log_path(&self, member: &Member) -> PathBuf {
        self.folder(member).join("data/log.txt")
    }

    /// The last lines of a member's log; empty if there is none.
    #[must_use]
    pub fn log_tail(&self, member: &Member) -> String {
        read_tail(&self.log_path(member)).unwrap_or_default()
    }

    /// The process id of a member's process, if it was started and not stopped.
    #[must_use]
    pub fn process_id(&self, member: &Member) -> Option<u32> {
        self.running.get(member)?.id()
    }

    /// Starts all that do not run.
    ///
    /// # Errors
    /// [`ClusterError::Start`].
    pub fn start_all(&mut self) -> Result<(), ClusterError> {
        self.members().iter().try_for_each(|member| self.start(member))
    }

    /// Starts a member's process, unless it runs.
    ///
    /// # Errors
    /// [`ClusterError::NoService`], [`ClusterError::Start`].
    pub fn start(&mut self, member: &Member) -> Result<(), ClusterError> {
        self.address(member)?;
        if self.is_running(member) {
            return Ok(());
        }
        let failed = |source| ClusterError::Start { member: member.clone(), source };
        self.env.files.create_dir_all(&self.folder(member).join("data"))?;
        let log = OpenOptions::new().create(true).append(true).open(self.log_path(member));
        let log = log.map_err(failed)?;
        let child = Command::new(&self.program)
            .args(["serve", member.party().name(), "--stop-with-parent", "--config"])
            .arg(self.folder(member).join("config.toml"))
            // Colours have no place in a file.
            .env("NO_COLOR", "1")
            // The process stops when this end of the pipe is closed, as it is when this process ends.
            .stdin(Stdio::piped())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            // So that Ctrl-C reaches this process only, which then stops the others in turn.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        self.running.insert(member.clone(), child);
        Ok(())
    }

    /// Whether a member's process runs.
    pub fn is_running(&mut self, member: &Member) -> bool {
        self.running.get_mut(member).is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Whether any process is left, but for those that were found to have ended.
    #[must_use]
    pub fn has_processes(&self) -> bool {
        !self.running.is_empty()
    }

    /// Whether all that were started still run.
    ///
    /// # Errors
    /// [`ClusterError::Died`] tells of the first that does not, with the end of its log.
    pub fn check(&mut self) -> Result<(), ClusterError> {
        self.find_death().map_or(Ok(()), |death| Err(death.into()))
    }

    fn find_death(&mut self) -> Option<Death> {
        let ended = self.running.iter_mut().find_map(|(member, child)| {
            let status = child.try_wait().ok()??;
            Some((member.clone(), status))
        });
        let (member, status) = ended?;
        self.running.remove(&member);
        let (log, tail) = (self.log_path(&member), self.log_tail(&member));
        Some(Death { member, status, log, tail })
    }

    /// Waits until a process ends that should not; the others go on.
    pub async fn next_death(&mut self) -> Death {
        loop {
            match self.find_death() {
                Some(death) => return death,
                None => sleep(4 * POLL).await,
            }
        }
    }

    /// Waits until every process that was started takes connections.
    ///
    /// # Errors
    /// [`ClusterError::Died`], [`ClusterError::NotReady`].
    pub async fn wait_ready(&mut self, limit: Duration) -> Result<(), ClusterError> {
        let deadline = Instant::now() + limit;
        let mut waiting: Vec<Member> = self.running.keys().cloned().collect();
        loop {
            self.check()?;
            let mut still = Vec::new();
            for member in waiting {
                let address = self.address(&member)?;
                match timeout(Duration::from_secs(1), TcpStream::connect(address)).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) | Err(_) => still.push(member),
                }
            }
            waiting = still;
            if waiting.is_empty() {
                // Somebody else may listen there: then the member's own process has died by now.
                sleep(POLL).await;
                return self.check();
            }
            if Instant::now() >= deadline {
                return Err(ClusterError::NotReady { members: waiting, limit });
            }
            sleep(POLL).await;
        }
    }

    /// Waits until every gate that runs has directories with a quorum and keys of both authorities.
    ///
    /// # Errors
    /// [`ClusterError::Died`], [`ClusterError::NotSynced`].
    pub async fn wait_synced(&mut self, limit: Duration) -> Result<(), ClusterError> {
        let deadline = Instant::now() + limit;
        for gate in self.gates() {
            if !self.running.contains_key(&gate) {
                continue;
            }
            let folder = self.folder(&gate);
            let connection = Connection::open(&self.env, &folder, &[Role::Operator], None)?;
            while let Some(problem) = out_of_sync(&connection).await? {
                self.check()?;
                if Instant::now() >= deadline {
                    return Err(ClusterError::NotSynced { gate, problem, limit });
                }
                sleep(2 * POLL).await;
            }
        }
        Ok(())
    }

    /// Kills a member's process as a power cut would (SIGKILL), and waits for its end.
    ///
    /// # Errors
    /// [`ClusterError::Stop`].
    pub async fn kill(&mut self, member: &Member) -> Result<(), ClusterError> {
        let Some(mut child) = self.running.remove(member) else { return Ok(()) };
        let killed = child.kill().await;
        killed.map_err(|source| ClusterError::Stop { member: member.clone(), source })
    }

    /// Stops a member's process (SIGTERM); kills it if it does not stop in ten seconds.
    ///
    /// # Errors
    /// [`ClusterError::Stop`].
    pub async fn stop(&mut self, member: &Member) -> Result<(), ClusterError> {
        if let Some(child) = self.running.get(member) {
            terminate(member, child)?;
        }
        self.reap(member).await
    }

    /// Stops all.
    ///
    /// # Errors
    /// [`ClusterError::Stop`].
    pub async fn stop_all(&mut self) -> Result<(), ClusterError> {
        let members: Vec<Member> = self.running.keys().cloned().collect();
        for (member, child) in &self.running {
            terminate(member, child)?;
        }
        for member in &members {
            self.reap(member).await?;
        }
        Ok(())
    }

    /// Kills a member's process and starts it again.
    ///
    /// # Errors
    /// [`ClusterError::Stop`], [`ClusterError::Start`].
    pub async fn restart(&mut self, member: &Member) -> Result<(), ClusterError> {
        self.kill(member).await?;
        self.start(member)
    }

    async fn reap(&mut self, member: &Member) -> Result<(), ClusterError> {
        let Some(mut child) = self.running.remove(member) else { return Ok(()) };
        let failed = |source| ClusterError::Stop { member: member.clone(), source };
        // Waiting would close the pipe, and so ask a second time, which means at once.
        let _pipe = child.stdin.take();
        match timeout(STOP_LIMIT, child.wait()).await {
            Ok(ended) => ended.map(drop).map_err(failed),
            Err(_) => child.kill().await.map_err(failed),
        }
    }
}

fn terminate(member: &Member, child: &Child) -> Result<(), ClusterError> {
    // Without an id the process has ended and been waited for.
    let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let Some(id) = id else { return Ok(()) };
    match kill_process(id, Signal::TERM) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(ClusterError::Stop { member: member.clone(), source: error.into() }),
    }
}

/// What a gate still lacks; `None` if nothing.
async fn out_of_sync(connection: &Connection) -> Result<Option<String>, ClusterError> {
    let asked = connection.gate()?.get_sync_state(GetSyncStateRequest {}).await;
    let state = match call("ask the gate what it knows", asked) {
        Ok(state) => state,
        Err(error) => return Ok(Some(error.to_string())),
    };
    let lacking = state.authorities.iter().find(|a| a.quorum_size == 0 || !a.key_present);
    Ok(match (state.authorities.len(), lacking) {
        (2, None) => None,
        (2, Some(authority)) if !authority.problem.is_empty() => Some(authority.problem.clone()),
        _ => Some("it has not received both authorities' directories and keys yet".to_owned()),
    })
}

fn read_tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_the_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.txt");
        assert!(read_tail(&path).is_err());
        let lines: Vec<String> = (0..5_000).map(|line| format!("line {line}")).collect();
        std::fs::write(&path, lines.join("\n")).unwrap();
        let tail = read_tail(&path).unwrap();
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("line 4999"));
    }

    #[test]
    fn a_directory_without_an_event_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = Cluster::open(&Env::system(), dir.path()).err().unwrap().to_string();
        assert!(error.contains("event.toml"), "{error}");
    }
}
