//! `lanyard demo`: a whole event, made, used and attacked, with what was expected and what came back.
//!
//! Nothing of it is mocked: real keys, a process for each party, mTLS, files on disk. The lying sponsor is a proxy of its
//! own (`lanyard-liar`) before the second gate; the first follows the honest one.
//!
//! | module | does |
//! | --- | --- |
//! | `plan` | the event |
//! | `input`, `people` | who is enrolled, who is on the watchlist, who plays which part |
//! | `world` | clients of everyone |
//! | `stages` | enrol, watchlist, issue, screen, publish |
//! | `scenes` | what is tried, in order |
//! | `holdings`, `needles` | what each party holds, and a search of all its bytes |
//! | `ledger`, `report` | expected and found, for people and machines |

mod error;
mod holdings;
mod input;
mod ledger;
mod needles;
mod people;
mod plan;
mod report;
mod scenes;
mod stages;
mod world;

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use lanyard_ceremony::{EventTree, Member};
use lanyard_env::{Env, Mode};
use lanyard_liar::{Liar, LiarHandle};
use lanyard_wire::committee::v1::Person;
use rand::Rng as _;
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::cluster::Cluster;
use crate::context::{Context, say};
use crate::demo::error::DemoError;
use crate::demo::holdings::{Holding, Sayings, Search};
use crate::demo::input::Input;
use crate::demo::ledger::{Ledger, Seen, millis};
use crate::demo::people::Inventor;
use crate::demo::plan::GATE_2;
use crate::demo::report::{Matches, Report};
use crate::demo::scenes::Play;
use crate::demo::stages::{Enrolled, Listed, Screened};
use crate::demo::world::{Badge, World};
use crate::error::CliError;
use crate::event;

/// How long the services may take to come up on a busy machine.
const START: Duration = Duration::from_secs(120);

/// `lanyard demo`.
#[derive(Args)]
pub(crate) struct DemoArgs {
    /// Where the event is made and stays; without it, a temporary directory that is removed if all went well.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How many people are invented, if no roster is given.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = at_least_100)]
    people: usize,
    /// A roster to enrol instead: CSV.
    #[arg(long, value_name = "FILE")]
    roster: Option<PathBuf>,
    /// Which of the roster's columns is what; see docs/FORMATS.md.
    #[arg(long, value_name = "FILE", requires = "roster")]
    columns: Option<PathBuf>,
    /// A watchlist to screen against: CSV in the format of the US Treasury's SDN list; people of the roster are added to
    /// a copy of it. Files that the mapping joins lie beside it.
    #[arg(long, value_name = "FILE")]
    watchlist: Option<PathBuf>,
    /// Which of the watchlist's columns is what; see docs/FORMATS.md.
    #[arg(long, value_name = "FILE", requires = "watchlist")]
    watchlist_columns: Option<PathBuf>,
    /// How many people of the roster are added to the copy of the watchlist; all must be found.
    #[arg(long, value_name = "K", default_value_t = 10, requires = "watchlist", value_parser = at_least_2)]
    plant: usize,
    /// Draws people and parts; the same seed draws the same.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

fn at_least_100(text: &str) -> Result<usize, String> {
    at_least(100, text)
}

fn at_least_2(text: &str) -> Result<usize, String> {
    at_least(2, text)
}

fn at_least(least: usize, text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number >= least => Ok(number),
        Ok(_) => Err(format!("at least {least}")),
        Err(error) => Err(format!("{error}")),
    }
}

/// Where the event is made.
enum Place {
    Given(PathBuf),
    Temporary(TempDir),
}

impl Place {
    fn new(dir: Option<PathBuf>) -> Result<Self, CliError> {
        let failed = |source| CliError::Io { action: "make a temporary directory", source };
        match dir {
            Some(dir) => Ok(Self::Given(dir)),
            None => tempfile::Builder::new()
                .prefix("lanyard-demo-")
                .tempdir()
                .map(Self::Temporary)
                .map_err(failed),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(dir) => dir,
            Self::Temporary(dir) => dir.path(),
        }
    }

    /// Leaves it where it is.
    fn keep(self) -> PathBuf {
        match self {
            Self::Given(dir) => dir,
            Self::Temporary(dir) => dir.keep(),
        }
    }
}

impl DemoArgs {
    /// Shows the demo; good only if every expectation held.
    pub(crate) async fn run(self, context: &Context) -> Result<(), CliError> {
        let place = Place::new(self.dir.clone())?;
        let shown = tokio::select! {
            shown = self.show(&context.env, place.path()) => shown,
            _ = tokio::signal::ctrl_c() => {
                // The processes end with their handles, a temporary directory with the place.
                eprintln!("stopped");
                return Err(CliError::Negative);
            }
        };
        let ok = match shown {
            Ok(report) => {
                if context.json {
                    say(&serde_json::to_string_pretty(&report).unwrap_or_default())?;
                } else {
                    say(&format!("\n{}", report.text()))?;
                }
                report.ok
            }
            Err(error) => {
                eprintln!("error: {}", lanyard_party::chain(&error));
                false
            }
        };
        let is_given = self.dir.is_some();
        if ok && !is_given {
            return Ok(());
        }
        let dir = place.keep();
        if ok {
            eprintln!("The event is in {}; go on with: lanyard up --dir {0}", dir.display());
            return Ok(());
        }
        eprintln!("The event is kept in {}; logs are in MEMBER/data/log.txt there.", dir.display());
        Err(CliError::Negative)
    }

    async fn show(&self, env: &Env, dir: &Path) -> Result<Report, DemoError> {
        let start = Instant::now();
        let now = env.now();
        let zone = plan::time_zone(now)?;
        let mut ledger = Ledger::new();
        let mut inventor = Inventor::new(self.seed);
        let input = Input::new(self, env, dir, &zone, now, &mut inventor)?;
        let quota = 1_000_000 + 20 * input.people.len() as u64 + 300 * input.entries.len() as u64;
        let plan = plan::event_plan(zone.clone(), quota)?;

        let passphrase = passphrase(env);
        let liar = ledger.stage("make the event", create(env, dir, &plan, &passphrase)).await?;
        let cluster = ledger.stage("start six processes", bring_up(env, dir)).await?;
        let mut world = World::open(env, cluster, liar, &passphrase)?;
        let profiles = plan::profiles(plan::today(&zone, now))?;
        ledger.stage("define profiles", stages::define_profiles(&world, profiles)).await?;
        let mut made = make(&world, &mut ledger, &input).await?;

        let mut play = Play {
            world: &mut world,
            ledger: &mut ledger,
            cast: &input.cast,
            planted: &input.planted,
            people: &input.people,
            inventor: &mut inventor,
            badges: std::mem::take(&mut made.badges),
            impostors: vec![],
            referred: vec![],
        };
        scenes::play(&mut play).await?;
        let sample = Sample {
            reference: play.reference(input.cast.crew),
            text: play.text(input.cast.crew)?,
            impostors: std::mem::take(&mut play.impostors),
        };
        let search = search(&mut world, &input, &made, &sample);
        let holdings = ledger.stage("search everybody's bytes", search).await?;
        if self.dir.is_some() {
            leave(env, dir, &world, &passphrase)?;
        }
        let ok = ledger.all_held() && holdings.iter().all(|holding| holding.ok);
        Ok(Report {
            ok,
            seed: self.seed,
            millis: millis(start.elapsed()),
            people: input.people.len(),
            roster_skipped: input.roster_skipped,
            enrolled: made.enrolled,
            watchlist: made.listed,
            watchlist_skipped: input.list_skipped,
            screened: made.screened,
            matches: made.matches,
            stages: ledger.stages,
            scenarios: ledger.outcomes,
            holdings,
        })
    }
}

fn passphrase(env: &Env) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; 16]);
    env.rng().fill_bytes(bytes.as_mut_slice());
    Zeroizing::new(hex::encode(bytes.as_slice()))
}

/// The ceremony; then the second gate is pointed at a sponsor that lies when told to.
async fn create(
    env: &Env,
    dir: &Path,
    plan: &lanyard_ceremony::EventPlan,
    passphrase: &str,
) -> Result<(LiarHandle, String), DemoError> {
    let addresses = event::free_addresses(plan)?;
    let tree = tokio::task::block_in_place(|| {
        event::create(env, dir, plan, &addresses, passphrase, |_, _| {})
    })?;
    let sponsor = addresses.get(&Member::Sponsor).copied();
    let sponsor = sponsor.ok_or_else(|| DemoError::unexpected("the sponsor has no address"))?;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let folder = EventTree::folder(dir, &Member::Sponsor);
    let liar = Liar::start(env, &folder, ("sponsor", &sponsor.to_string()), listen).await?;
    point_second_gate(env, dir, sponsor, liar.address())?;
    let detail = format!("{} in {}", tree.title, dir.display());
    Ok((liar, detail))
}

/// Has the second gate follow the sponsor at another address.
fn point_second_gate(
    env: &Env,
    dir: &Path,
    from: SocketAddr,
    to: SocketAddr,
) -> Result<(), DemoError> {
    let config = EventTree::folder(dir, &Member::Gate(GATE_2.parse()?)).join("config.toml");
    let text = String::from_utf8_lossy(&env.files.read(&config)?)
        .replace(&from.to_string(), &to.to_string());
    Ok(env.files.write_atomic(&config, text.as_bytes(), Mode::Private)?)
}

/// Leaves the event so that `lanyard up` can go on with it.
fn leave(env: &Env, dir: &Path, world: &World, passphrase: &str) -> Result<(), DemoError> {
    let sponsor = world.cluster.address(&Member::Sponsor)?;
    point_second_gate(env, dir, world.liar.address(), sponsor)?;
    let path = dir.join("issuing-passphrase.txt");
    let line = Zeroizing::new(format!("{passphrase}\n"));
    Ok(env.files.write_atomic(&path, line.as_bytes(), Mode::Private)?)
}

async fn bring_up(env: &Env, dir: &Path) -> Result<(Cluster, String), DemoError> {
    let mut cluster = Cluster::open(env, dir)?;
    cluster.start_all()?;
    cluster.wait_ready(START).await?;
    cluster.wait_synced(START).await?;
    let names: Vec<String> = cluster.members().iter().map(ToString::to_string).collect();
    Ok((cluster, names.join(", ")))
}

/// What making the event came to.
struct Made {
    enrolled: Enrolled,
    listed: Listed,
    badges: HashMap<String, Badge>,
    screened: Screened,
    matches: Matches,
    /// Planted people who matched: places on the roster.
    matched: HashSet<usize>,
}

async fn make(world: &World, ledger: &mut Ledger, input: &Input) -> Result<Made, DemoError> {
    let enrolled = ledger.stage("enrol", stages::enrol(world, &input.people, input.mode)).await?;
    let list = stages::import_list(world, &input.list, &input.entries);
    let listed = ledger.stage("import the watchlist", list).await?;
    let badges = ledger.stage("issue", stages::issue(world, &[])).await?;
    let screened = ledger.stage("screen", stages::screen(world)).await?;
    ledger.stage("publish", stages::publish(world)).await?;
    let mut matched = HashSet::new();
    let mut matches = Matches { planted: input.planted.len(), ..Matches::default() };
    let attempt = async {
        (matches.found, matches.others) = compare(world, input, &mut matched).await?;
        let found = format!("{} found, {} others", matches.found, matches.others);
        Ok(Seen::new(matches.found == matches.planted, found))
    };
    let expected = format!("all {} found", input.planted.len());
    ledger.expect("people planted on the watchlist", &expected, attempt).await;
    Ok(Made { enrolled, listed, badges, screened, matches, matched })
}

/// Joins the police's matches with the committee's people by subject id, which neither could do alone; returns how many
/// planted people matched, and how many others.
async fn compare(
    world: &World,
    input: &Input,
    matched: &mut HashSet<usize>,
) -> Result<(usize, usize), DemoError> {
    let subjects = stages::matched_subjects(world).await?;
    let subjects: HashSet<Vec<u8>> =
        subjects.into_iter().map(|subject| subject.subject_id).collect();
    let planted: HashMap<String, usize> = [&input.planted.by_document, &input.planted.by_name]
        .into_iter()
        .flatten()
        .map(|index| (input.people[*index].reference.clone(), *index))
        .collect();
    let references: Vec<String> = planted.keys().cloned().collect();
    for state in stages::people(world, &references).await? {
        let person = state.person.as_ref().map_or("", |person| person.reference.as_str());
        if let (true, Some(index)) = (subjects.contains(&state.subject_id), planted.get(person)) {
            matched.insert(*index);
        }
    }
    Ok((matched.len(), subjects.len() - matched.len()))
}

/// Whom everyone is asked about, and who was enrolled beside the roster.
struct Sample {
    reference: String,
    text: Zeroizing<String>,
    impostors: Vec<(usize, Person)>,
}

/// Asks everyone about one person, stops everything, and searches what is left on disk.
async fn search(
    world: &mut World,
    input: &Input,
    made: &Made,
    sample: &Sample,
) -> Result<(Vec<Holding>, String), DemoError> {
    let sayings = Sayings::ask(world, &sample.reference, &sample.text).await?;
    world.cluster.stop_all().await?;
    let holdings = tokio::task::block_in_place(|| {
        let Sample { impostors, .. } = sample;
        let enrolled = usize::try_from(made.enrolled.enrolled).unwrap_or(usize::MAX);
        Search::new(&input.people, impostors, &input.entries, &made.matched, enrolled)
            .everywhere(world, &sayings)
    })?;
    let bytes: u64 = holdings.iter().map(|holding| holding.bytes).sum();
    Ok((holdings, format!("{} MiB searched", bytes >> 20)))
}
