//! CPU time, and what to make of several rounds of it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time that this thread has used.
fn thread_time() -> Duration {
    time_of(ClockId::ThreadCPUTime)
}

/// CPU time that this process has used, in all its threads.
pub(crate) fn process_time() -> Duration {
    time_of(ClockId::ProcessCPUTime)
}

fn time_of(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    // CPU times are neither negative nor near the end of the range.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Nanoseconds of CPU that `work` takes, for each of its `units`, and what it returns.
fn cpu<T>(units: usize, work: impl FnOnce() -> T) -> (f64, T) {
    let before = thread_time();
    let result = work();
    let taken = thread_time() - before;
    (taken.as_secs_f64() * 1e9 / units as f64, result)
}

/// One figure, measured in several rounds.
#[derive(Default, Clone)]
pub(crate) struct Rounds(Vec<f64>);

impl Rounds {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Measures one more round of `work`, a unit's share of it.
    pub(crate) fn time<T>(&mut self, units: usize, work: impl FnOnce() -> T) -> T {
        let (value, result) = cpu(units, work);
        self.push(value);
        result
    }

    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            length if length % 2 == 1 => sorted[length / 2],
            length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
        }
    }

    /// Each round divided by the same round of another figure: what slows both down drops out.
    pub(crate) fn over(&self, other: &Self) -> Self {
        Self(std::iter::zip(&self.0, &other.0).map(|(one, other)| one / other).collect())
    }

    /// Round by round, the sum of several figures, each taken a number of times.
    pub(crate) fn sum(parts: &[(&Self, f64)]) -> Self {
        let rounds = parts.iter().map(|(part, _)| part.0.len()).min().unwrap_or(0);
        let total = |round: usize| parts.iter().map(|(part, times)| part.0[round] * times).sum();
        Self((0..rounds).map(total).collect())
    }

    /// The figure with the smaller median.
    pub(crate) fn fastest(self, other: Self) -> Self {
        if other.median() < self.median() { other } else { self }
    }
}

/// Bytes of memory that the system says this process holds; `None` where it does not say.
pub(crate) fn resident_bytes() -> Option<u64> {
    resident_bytes_of(std::process::id())
}

/// The same for any process.
pub(crate) fn resident_bytes_of(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1_024)
}

/// What the system counts CPU time in: USER_HZ, a hundredth of a second on Linux.
const USER_HZ: f64 = 100.0;

/// CPU time that processes have used together, in seconds.
pub(crate) struct CpuTime(f64);

impl CpuTime {
    /// Of processes that run; nothing of those that do not.
    pub(crate) fn of(processes: &[u32]) -> Self {
        Self(processes.iter().filter_map(|process| cpu_seconds(*process)).sum())
    }

    /// Seconds since an earlier look.
    pub(crate) fn since(&self, earlier: &Self) -> f64 {
        self.0 - earlier.0
    }
}

/// CPU time of one process, in seconds.
pub(crate) fn cpu_seconds(process: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // After the name, which stands in brackets and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / USER_HZ)
}
