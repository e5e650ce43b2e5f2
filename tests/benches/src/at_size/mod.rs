//! Screening at the size of the Games: real services as processes, made-up people and lists, one kill -9 in the middle of
//! each long job.
//!
//! People and entries are written to files and go the way that an operator's files go: through the command line. Checked
//! are the planted matches, all verdicts, and that the trustee has counted exactly the evaluations that its callers
//! needed. CPU time is each process's own, as the system accounts for it.

mod checks;
mod input;
mod peer;
mod processes;

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lanyard::cluster::Cluster;
use lanyard::event;
use lanyard_ceremony::Member;
use lanyard_env::Env;
use lanyard_wire::pseudonym::v1::Purpose;
use tempfile::TempDir;

use self::input::Input;
use self::processes::{Machine, Step};
use crate::pseudonyms;
use crate::report::time;

pub(crate) type Failure = Box<dyn Error>;

/// How long the services may take to come up.
const START: Duration = Duration::from_secs(120);
/// Longest wait for verdicts after everybody was submitted.
const VERDICTS: Duration = Duration::from_secs(600);
/// The parties whose services take part.
const PARTIES: [Member; 4] = [Member::Committee, Member::Police, Member::Trustee, Member::Sponsor];

/// What is asked for.
pub(crate) struct Options {
    pub(crate) people: u32,
    pub(crate) entries: u32,
    /// Whether to measure the peer too.
    pub(crate) peer: bool,
}

impl Options {
    pub(crate) const USAGE: &str =
        "usage: lanyard-benches at-size [--people N] [--entries M] [--no-peer]";

    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self { people: 1_000_000, entries: 100_000, peer: true };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--people" => options.people = arguments.next()?.parse().ok()?,
                "--entries" => options.entries = arguments.next()?.parse().ok()?,
                "--no-peer" => options.peer = false,
                _ => return None,
            }
        }
        // Fewer would make no second batch to be killed in.
        (options.people >= 5_000 && options.entries >= 500 && options.entries <= options.people)
            .then_some(options)
    }
}

/// Runs it; whether everything was as it must be.
pub(crate) fn run(options: &Options) -> Result<bool, Failure> {
    tokio::runtime::Runtime::new()?.block_on(measure(options))
}

async fn measure(options: &Options) -> Result<bool, Failure> {
    let folder = TempDir::new()?;
    let input = Input::write(folder.path(), options.people, options.entries)?;
    println!(
        "{} people, {} entries of a list, {} of them planted",
        options.people,
        options.entries,
        input.planted()
    );
    let peer = options.peer.then(|| peer::Running::start(folder.path(), &input));
    let mut machine = start(folder.path().join("event"), options).await?;

    let profiles = folder.path().join("profiles.toml");
    std::fs::write(&profiles, include_str!("../../../../clients/cli/samples/profiles.toml"))?;
    let path = |path: &std::path::Path| path.display().to_string();
    let (profiles, people, list) = (path(&profiles), path(&input.people), path(&input.list));
    machine.run(Member::Committee, &["profiles", &profiles], None).await?.done()?;

    let enrol = machine.run(Member::Committee, &["import", &people], None).await?;
    enrol.print("import of people", 0);
    enrol.done()?;

    let import = ["watchlist", "import", list.as_str(), "--list", "at-size"];
    let listed = again(&mut machine, Member::Police, &import).await?;
    let list_evaluations = listed.number("evaluations")?;
    listed.print("import of the list", list_evaluations);

    let mut screened = again(&mut machine, Member::Committee, &["screen"]).await?;
    // Whoever matches is refused or waits for an officer; everybody else is released by and by. Names of few syllables and
    // few birth dates make some people sound like an entry: weak keys find them, and so they should.
    let found = checks::found(machine.cluster(), &input).await?;
    let cleared = u64::from(options.people) - found.planted - found.others;
    let began = Instant::now();
    while screened.number("cleared")? < cleared && began.elapsed() < VERDICTS {
        tokio::time::sleep(Duration::from_secs(1)).await;
        screened = screened.then(machine.run(Member::Committee, &["screen"], None).await?);
    }
    let evaluations = screened.number("evaluations")?;
    screened.print("screening", evaluations);

    println!("\npeak memory, resident");
    for (who, bytes) in machine.peaks() {
        println!("  {who:<24} {:>7.1} MB", bytes as f64 / 1e6);
    }

    println!("\nchecks");
    let mut good = true;
    let mut check = |what: &str, found: u64, expected: u64| {
        let holds = found == expected;
        good &= holds;
        let verdict = if holds { "holds" } else { "MISSED" };
        println!("  {what:<58} {found:>9} of {expected:>9}  {verdict}");
    };
    let usage = checks::usage(machine.cluster()).await?;
    let counted = |purpose: Purpose| usage.get(&(purpose as i32)).copied().unwrap_or_default();
    check(
        "evaluations counted by the trustee, list",
        counted(Purpose::Watchlist),
        list_evaluations,
    );
    check("evaluations counted by the trustee, people", counted(Purpose::Enrolment), evaluations);
    check("planted people found", found.planted, u64::from(input.planted()));
    check("others found by a document or their whole name", found.others_named, 0);
    check("people cleared: all whom nothing matches", screened.number("cleared")?, cleared);
    println!("  others who sound like an entry, for an officer: {}", found.others);
    machine.stop().await?;

    println!("\nCPU of all parties");
    let (bare, single) = pseudonyms::bare();
    let all = listed.cpu() + screened.cpu();
    let each = all * 1e9 / (list_evaluations + evaluations) as f64;
    println!("  a key, storing and matching included             {:>10}", time(each));
    println!(
        "  the bare scalar multiplications that it needs    {:>10}  ({:.2}×)",
        time(bare),
        each / bare
    );
    println!("  one scalar multiplication                        {:>10}", time(single));
    if let Some(peer) = peer {
        match peer.wait() {
            Ok(peer) => {
                let needed = peer.each_nanos();
                println!(
                    "  {:<48} {:>10}  ({:.2}× of it)",
                    peer.name(),
                    time(needed),
                    each / needed
                );
                check("planted keys found by it", peer.found, u64::from(input.planted()));
            }
            Err(problem) => println!("  SKIPPED: openmined.psi could not be measured: {problem}"),
        }
    }
    Ok(good)
}

/// Makes an event with room in its quotas, and starts the services that take part.
async fn start(dir: PathBuf, options: &Options) -> Result<Machine, Failure> {
    let env = Env::system();
    let mut plan = event::plan(&env, None)?;
    plan.screening.verdict_delay_seconds = 1;
    for quota in &mut plan.quotas {
        quota.evaluations = 64 * u64::from(options.people);
    }
    let addresses = event::free_addresses(&plan)?;
    event::create(&env, &dir, &plan, &addresses, "screening at size", |_, _| {})?;
    let program = std::env::current_exe()?.with_file_name("lanyard");
    if !program.exists() {
        return Err(
            "build the command line beside this: cargo build --release --bin lanyard".into()
        );
    }
    let mut cluster = Cluster::open(&env, &dir)?.with_program(&program);
    for party in &PARTIES {
        cluster.start(party)?;
    }
    cluster.wait_ready(START).await?;
    Ok(Machine::new(cluster, program))
}

/// Runs a long job, kills the service in the middle, and runs it again until it is done. A small job can be over before.
async fn again(machine: &mut Machine, member: Member, arguments: &[&str]) -> Result<Step, Failure> {
    let first = machine.run(member.clone(), arguments, Some(0.4)).await?;
    if first.killed_at.is_none() {
        first.done()?;
        return Ok(first);
    }
    machine.restart(&member).await?;
    let second = machine.run(member, arguments, None).await?;
    second.done()?;
    Ok(first.then(second))
}
