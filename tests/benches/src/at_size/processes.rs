//! The event's processes, and what they use.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lanyard::cluster::Cluster;
use lanyard_ceremony::Member;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::{Failure, START};
use crate::measure::cpu_seconds;
use crate::report::time;

/// How often a command's use is read: it is gone with the process.
const SAMPLE: Duration = Duration::from_millis(20);

/// What a process has used.
#[derive(Clone, Copy, Default)]
struct Used {
    cpu_seconds: f64,
    peak_bytes: u64,
}

impl Used {
    /// Of a process that runs; nothing of one that does not.
    fn of(id: Option<u32>) -> Self {
        id.and_then(Self::read).unwrap_or_default()
    }

    fn read(id: u32) -> Option<Self> {
        let cpu_seconds = cpu_seconds(id)?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let peak: u64 = peak.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(Self { cpu_seconds, peak_bytes: peak * 1_024 })
    }
}

/// The services of an event and the commands of its operators.
pub(super) struct Machine {
    cluster: Cluster,
    program: PathBuf,
    /// CPU seconds of processes that were killed.
    before: BTreeMap<Member, f64>,
    peaks: BTreeMap<String, u64>,
}

/// One command, or the same one after a kill.
pub(super) struct Step {
    wall: Duration,
    /// CPU seconds by process.
    cpu: BTreeMap<String, f64>,
    /// How much of the job was done when the service was killed.
    pub(super) killed_at: Option<f64>,
    answer: Result<Value, String>,
}

impl Machine {
    pub(super) fn new(cluster: Cluster, program: PathBuf) -> Self {
        Self { cluster, program, before: BTreeMap::new(), peaks: BTreeMap::new() }
    }

    pub(super) const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// CPU seconds of each service so far; notes their memory.
    fn services(&mut self) -> BTreeMap<String, f64> {
        let mut seconds = BTreeMap::new();
        for member in self.cluster.members() {
            let used = Used::of(self.cluster.process_id(&member));
            let before = self.before.get(&member).copied().unwrap_or_default();
            if used.peak_bytes > 0 {
                self.note(member.to_string(), used);
                seconds.insert(member.to_string(), before + used.cpu_seconds);
            }
        }
        seconds
    }

    fn note(&mut self, who: String, used: Used) {
        let peak = self.peaks.entry(who).or_default();
        *peak = (*peak).max(used.peak_bytes);
    }

    pub(super) fn peaks(&self) -> impl Iterator<Item = (&str, u64)> {
        self.peaks.iter().map(|(who, bytes)| (who.as_str(), *bytes))
    }

    /// Runs a command of the party's operator; kills the party's service once so much of the job is done.
    pub(super) async fn run(
        &mut self,
        member: Member,
        arguments: &[&str],
        kill_at: Option<f64>,
    ) -> Result<Step, Failure> {
        let began = Instant::now();
        let before = self.services();
        let mut child = Command::new(&self.program)
            .args(["--json", member.party().name(), "--folder"])
            .arg(self.cluster.folder(&member))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (used, said, killed_at, after) = self.follow(&mut child, &member, kill_at).await?;
        let mut answer = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut answer).await?;
        }
        let ended = child.wait().await?;
        let answer = match ended.success() {
            true => serde_json::from_str(&answer).map_err(|error| error.to_string()),
            false => Err(format!("{} {answer}", said.trim())),
        };
        let after = after.unwrap_or_else(|| self.services());
        let mut cpu: BTreeMap<String, f64> = after
            .into_iter()
            .map(|(who, seconds)| {
                let earlier = before.get(&who).copied().unwrap_or_default();
                (who, seconds - earlier)
            })
            .collect();
        cpu.insert("command line".to_owned(), used.cpu_seconds);
        self.note(format!("lanyard {} {}", member.party(), arguments[0]), used);
        Ok(Step { wall: began.elapsed(), cpu, killed_at, answer })
    }

    /// Reads what a command says until it ends: what it used, its words, when its service was killed, and what the
    /// services had used until then.
    #[allow(clippy::type_complexity)]
    async fn follow(
        &mut self,
        child: &mut Child,
        member: &Member,
        kill_at: Option<f64>,
    ) -> Result<(Used, String, Option<f64>, Option<BTreeMap<String, f64>>), Failure> {
        let id = child.id();
        let mut lines = BufReader::new(child.stderr.take().ok_or("no stderr")?).lines();
        let (mut used, mut said) = (Used::default(), String::new());
        let (mut killed_at, mut after) = (None, None);
        loop {
            let line = tokio::select! {
                line = lines.next_line() => line?,
                () = tokio::time::sleep(SAMPLE) => {
                    used = Used::read(id.unwrap_or_default()).filter(|now| now.peak_bytes > 0).unwrap_or(used);
                    continue;
                }
            };
            let Some(line) = line else { return Ok((used, said, killed_at, after)) };
            let Some(share) = progress(&line) else {
                said = line;
                continue;
            };
            if killed_at.is_none() && kill_at.is_some_and(|limit| share >= limit) {
                let services = self.services();
                let seconds = services.get(&member.to_string()).copied().unwrap_or_default();
                self.before.insert(member.clone(), seconds);
                self.cluster.kill(member).await?;
                (killed_at, after) = (Some(share), Some(services));
            }
        }
    }

    /// Starts a service again that was killed.
    pub(super) async fn restart(&mut self, member: &Member) -> Result<(), Failure> {
        self.cluster.start(member)?;
        Ok(self.cluster.wait_ready(START).await?)
    }

    pub(super) async fn stop(&mut self) -> Result<(), Failure> {
        Ok(self.cluster.stop_all().await?)
    }
}

/// The share of a job that a line of progress says is done.
fn progress(line: &str) -> Option<f64> {
    let line: Value = serde_json::from_str(line).ok()?;
    line.get("progress")?;
    let (done, total) = (line.get("done")?.as_f64()?, line.get("total")?.as_f64()?);
    Some(done / total.max(1.0))
}

impl Step {
    /// Fails if the command did.
    pub(super) fn done(&self) -> Result<&Value, Failure> {
        self.answer.as_ref().map_err(|said| said.as_str().into())
    }

    pub(super) fn number(&self, name: &str) -> Result<u64, Failure> {
        let number = self.done()?.get(name).and_then(Value::as_u64);
        number.ok_or_else(|| format!("the answer has no number {name}").into())
    }

    /// CPU seconds of all processes.
    pub(super) fn cpu(&self) -> f64 {
        self.cpu.values().sum()
    }

    /// This, and what came after the kill.
    pub(super) fn then(mut self, next: Self) -> Self {
        self.wall += next.wall;
        for (who, seconds) in next.cpu {
            *self.cpu.entry(who).or_default() += seconds;
        }
        self.answer = next.answer;
        self
    }

    pub(super) fn print(&self, what: &str, evaluations: u64) {
        let killed = match self.killed_at {
            Some(share) => format!(", killed at {:.0} % and resumed", 100.0 * share),
            None if evaluations > 0 => ", over before it could be killed".to_owned(),
            None => String::new(),
        };
        println!("\n{what}: {:.1} s{killed}", self.wall.as_secs_f64());
        for (who, seconds) in &self.cpu {
            let each = match evaluations {
                0 => String::new(),
                count => format!("{:>10} a key", time(seconds * 1e9 / count as f64)),
            };
            println!("  {who:<24} {seconds:>8.2} CPU s {each}");
        }
        if evaluations > 0 {
            println!("  {:<24} {evaluations:>8}", "evaluations, padding included");
        }
    }
}
