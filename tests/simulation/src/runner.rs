//! Many seeds, each in a process of its own; and what to do about one that fails.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::course::{Course, Ended, run};
use crate::defect::Defect;
use crate::event::Event;
use crate::judged::Judged;
use crate::op::{Step, draw};

mod shrink;

/// A course that failed.
const FAILED: u8 = 1;
/// The command line is wrong, or a file cannot be read.
const UNUSABLE: u8 = 2;

/// What a course of many may take; it takes seconds, on a busy machine a minute or two.
const LONGEST_COURSE: Duration = Duration::from_secs(300);

/// Runs the real services on simulated machines.
#[derive(Debug, clap::Parser)]
#[command(name = "lanyard-simulation")]
pub struct Arguments {
    /// How many seeds to run, each in a process of its own, and the regressions before them
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["seed", "course"])]
    seeds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    first: u64,
    /// Begin no seed after so many minutes
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<f64>,
    /// Run so many courses at least, however many minutes it takes
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    at_least: usize,
    /// Processes at once; as many as there are cores if not given
    #[arg(long, value_name = "COUNT")]
    jobs: Option<usize>,
    /// Run one seed in this process, and print what it does
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Run the operations in a file in this process: `seed N`, then one step a line
    #[arg(long, value_name = "FILE")]
    course: Option<PathBuf>,
    /// Print everything that happens
    #[arg(long)]
    trace: bool,
    /// Leave a failure as it is: do not look for the fewest operations that fail
    #[arg(long)]
    no_shrink: bool,
    /// Break a part of the machines on purpose, and succeed if one of the seeds finds it
    #[arg(long, value_name = "DEFECT")]
    defect: Option<Defect>,
    /// The folder of an event that was made before; a new one is made if not given
    #[arg(long, value_name = "DIR", hide = true)]
    event: Option<PathBuf>,
    /// Give a course up that is not over by then
    #[arg(long, value_name = "SECONDS", hide = true)]
    within: Option<u64>,
}

/// Does what the command line says.
#[must_use]
pub fn main(arguments: &Arguments) -> ExitCode {
    let made = match &arguments.event {
        Some(_) => None,
        None => match tempfile::tempdir() {
            Ok(dir) => Some(dir),
            Err(error) => return unusable(&error),
        },
    };
    let dir = made
        .as_ref()
        .map_or_else(|| arguments.event.clone().unwrap_or_default(), |made| made.path().to_owned());
    match (&arguments.course, arguments.seed) {
        (Some(file), _) => match read_course(file) {
            Ok((seed, steps)) => one(arguments, &dir, seed, &steps),
            Err(error) => unusable(&error),
        },
        (None, Some(seed)) => one(arguments, &dir, seed, &draw(seed)),
        (None, None) => many(arguments, &dir, arguments.seeds.unwrap_or(20)),
    }
}

fn unusable(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(UNUSABLE)
}

/// The seed and the steps in the text of a course.
fn parse_course(text: &str) -> Result<(u64, Vec<Step>), String> {
    let lines = text.lines().map(str::trim);
    let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let seed = lines.next().and_then(|line| line.strip_prefix("seed ")?.parse().ok());
    let seed = seed.ok_or("the first line of a course is `seed NUMBER`")?;
    let steps = lines.map(|line| line.parse::<Step>().map_err(|error| error.to_string()));
    Ok((seed, steps.collect::<Result<_, _>>()?))
}

fn read_course(file: &Path) -> Result<(u64, Vec<Step>), String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| failed(&error))?;
    parse_course(&text).map_err(|error| failed(&error))
}

/// The text of a course, as [`parse_course`] reads it.
fn print_course(seed: u64, steps: &[Step]) -> String {
    let steps: String = steps.iter().map(|step| format!("{step}\n")).collect();
    format!("seed {seed}\n{steps}")
}

/// Runs one course in this process.
fn one(arguments: &Arguments, dir: &Path, seed: u64, steps: &[Step]) -> ExitCode {
    init_logging();
    let event = Event::open(dir);
    let scratch = match tempfile::Builder::new().prefix("run").tempdir_in(scratch_root(dir)) {
        Ok(scratch) => scratch,
        Err(error) => return unusable(&error),
    };
    let started = Instant::now();
    if let Some(within) = arguments.within {
        give_up_after(seed, Duration::from_secs(within));
    }
    let ended = run(&event, scratch.path(), &Course { seed, steps, defect: arguments.defect });
    if arguments.trace {
        ended.trace.iter().for_each(|line| println!("{line}"));
    }
    summary(seed, steps, &ended, started.elapsed());
    match ended.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!(
                "FAILED {} at {} ms: {}",
                violation.invariant, violation.time, violation.detail
            );
            ExitCode::from(FAILED)
        }
    }
}

/// Ends this process as a failure if it is still there by then: in simulated time, a loop that does not wait never ends.
fn give_up_after(seed: u64, within: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(within);
        println!("FAILED ends: seed {seed} is not over after {} s", within.as_secs());
        std::process::exit(i32::from(FAILED));
    });
}

/// SQLite's files lie in memory where that is to be had: they are thrown away.
fn scratch_root(dir: &Path) -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { dir.to_owned() }
}

fn summary(seed: u64, steps: &[Step], ended: &Ended, took: Duration) {
    let answers: Vec<String> =
        ended.answers.iter().map(|(answer, count)| format!("{answer} {count}")).collect();
    println!(
        "seed {seed}: {} operations, {} s simulated in {:.1} s, {} checkpoints, trace {:016x}; {}",
        steps.len(),
        ended.millis / 1_000,
        took.as_secs_f64(),
        ended.checkpoints,
        fingerprint(&ended.trace),
        answers.join(", ")
    );
    println!("{}", ended.judged);
}

/// The same for the same trace, and for no other that anybody will meet.
fn fingerprint(trace: &[String]) -> u64 {
    // FNV-1a.
    let bytes = trace.iter().flat_map(|line| line.bytes().chain([b'\n']));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn init_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("LANYARD_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).without_time();
    // A second simulation of a process is a test's.
    let _ = subscriber.with_writer(std::io::stderr).try_init();
}

/// Regressions by name: courses that once failed.
const REGRESSIONS: &[(&str, &str)] = &[
    ("epoch-missed-by-a-gate", include_str!("../regressions/epoch-missed-by-a-gate.txt")),
    (
        "crash-at-the-start-of-an-epoch",
        include_str!("../regressions/crash-at-the-start-of-an-epoch.txt"),
    ),
    ("silent-on-trial", include_str!("../regressions/silent-on-trial.txt")),
    ("one-witness-behind", include_str!("../regressions/one-witness-behind.txt")),
    ("restored-alone", include_str!("../regressions/restored-alone.txt")),
];

/// A course that is to be run.
enum Job {
    Seed(u64),
    Regression(&'static str, &'static str),
}

impl Job {
    fn course(&self) -> Result<(u64, Vec<Step>), String> {
        match self {
            Self::Seed(seed) => Ok((*seed, draw(*seed))),
            Self::Regression(_, text) => parse_course(text),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Seed(seed) => format!("seed {seed}"),
            Self::Regression(name, _) => format!("regression {name}"),
        }
    }
}

/// What became of a job.
struct Done {
    name: String,
    seed: u64,
    steps: Vec<Step>,
    report: String,
    failed: bool,
}

/// Runs regressions and seeds, several at once.
fn many(arguments: &Arguments, dir: &Path, count: u64) -> ExitCode {
    drop(Event::open(dir));
    let regressions = REGRESSIONS.iter().map(|(name, text)| Job::Regression(name, text));
    let regressions = regressions.filter(|_| arguments.defect.is_none());
    let seeds = (arguments.first..arguments.first.saturating_add(count)).map(Job::Seed);
    let queue = Mutex::new(regressions.chain(seeds).collect::<VecDeque<_>>());
    let done = Mutex::new(Vec::new());
    let started = Instant::now();
    let minutes = arguments.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
    let is_over = || {
        let done = lock(&done);
        let late = minutes.is_some_and(|minutes| started.elapsed() > minutes);
        let found = |done: &Done| arguments.defect.is_some() && done.failed;
        (late && done.len() >= arguments.at_least) || done.iter().any(found)
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.unwrap_or(cores) {
            scope.spawn(|| {
                while !is_over() {
                    let Some(job) = lock(&queue).pop_front() else { break };
                    let finished = run_job(&job, arguments.defect, dir);
                    if finished.failed {
                        print!("{}", finished.report);
                    }
                    lock(&done).push(finished);
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    conclude(arguments, dir, &done, count, started)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn run_job(job: &Job, defect: Option<Defect>, dir: &Path) -> Done {
    match job.course() {
        Err(error) => {
            let (name, steps) = (job.name(), Vec::new());
            Done { name, seed: 0, steps, report: format!("{error}\n"), failed: true }
        }
        Ok((seed, steps)) => {
            let (report, failed) = run_apart(dir, seed, &steps, defect);
            Done { name: job.name(), seed, steps, report, failed }
        }
    }
}

/// Runs a course in a process of its own; what it printed, and whether it failed.
fn run_apart(dir: &Path, seed: u64, steps: &[Step], defect: Option<Defect>) -> (String, bool) {
    let course = tempfile::NamedTempFile::new_in(dir).and_then(|file| {
        std::fs::write(file.path(), print_course(seed, steps))?;
        Ok(file)
    });
    let outcome = course.and_then(|file| {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--course").arg(file.path()).arg("--event").arg(dir);
        command.arg("--within").arg(LONGEST_COURSE.as_secs().to_string());
        if let Some(defect) = defect.as_ref().and_then(clap::ValueEnum::to_possible_value) {
            command.arg("--defect").arg(defect.get_name());
        }
        command.stdin(Stdio::null()).output()
    });
    match outcome {
        Ok(output) => {
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            if !output.status.success() {
                text.push_str(&String::from_utf8_lossy(&output.stderr));
            }
            (text, !output.status.success())
        }
        Err(error) => (format!("cannot run a course: {error}\n"), true),
    }
}

fn conclude(
    arguments: &Arguments,
    dir: &Path,
    done: &[Done],
    count: u64,
    started: Instant,
) -> ExitCode {
    let failed: Vec<&Done> = done.iter().filter(|done| done.failed).collect();
    let took = started.elapsed().as_secs_f64();
    println!(
        "{} courses run ({count} seeds asked for), {} failed, {took:.0} s, {:.0} a minute",
        done.len(),
        failed.len(),
        done.len() as f64 * 60.0 / took.max(0.001)
    );
    let mut judged = Judged::default();
    done.iter().for_each(|one| judged.add(&Judged::read(&one.report)));
    println!("{judged}");
    for one in &failed {
        println!("failed: {}", one.name);
    }
    if let Some(defect) = arguments.defect {
        let found = !failed.is_empty();
        println!("{defect:?}: {}", if found { "found" } else { "NOT FOUND" });
        return if found { ExitCode::SUCCESS } else { ExitCode::from(FAILED) };
    }
    let Some(first) = failed.first() else { return ExitCode::SUCCESS };
    if !arguments.no_shrink {
        let apart = |steps: &[Step]| run_apart(dir, first.seed, steps, None);
        let fewest = shrink::fewest(&first.steps, &first.report, apart);
        println!("\nthe fewest operations that fail alike, to be kept as a regression:\n");
        println!("{}", print_course(first.seed, &fewest));
    }
    ExitCode::from(FAILED)
}
