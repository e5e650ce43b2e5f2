//! A party's process: command line, logging, signals and exit codes.

use std::error::Error;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command, value_parser};
use lanyard_env::{Env, StartError};
use lanyard_telemetry::TelemetryAddress;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::config::PartyConfig;
use crate::inspection::{Found, Report};
use crate::toml_file::TomlError;

/// Served and stopped as asked.
pub const EXIT_OK: u8 = 0;
/// Failed, and trying again may help; the last line of the log says why.
pub const EXIT_FAILURE: u8 = 1;
/// Something must be changed first: the configuration, the command line, a key, a damaged file, a foreign store.
pub const EXIT_CONFIG: u8 = 2;

/// What a service is built from, so that a test or another binary can run it too.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// `config.toml`.
    pub config: PathBuf,
    /// Only look over configuration and folder, and say what was found.
    pub check_config: Option<ReportFormat>,
    /// Only ask the service that runs whether it is ready.
    pub check_ready: bool,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportFormat {
    /// A line for each.
    Table,
    /// One JSON object.
    Json,
}

impl ReportFormat {
    /// What `--check-config` and `--json` ask for together.
    #[must_use]
    pub fn asked_for(check_config: bool, json: bool) -> Option<Self> {
        check_config.then_some(if json { Self::Json } else { Self::Table })
    }
}

impl Arguments {
    /// The command line of a service: `--config FILE [--check-config [--json] | --check-ready]`.
    #[must_use]
    pub fn command(name: &'static str, about: &'static str) -> Command {
        Command::new(name)
            .about(about)
            .arg(
                Arg::new("config")
                    .long("config")
                    .value_name("FILE")
                    .required(true)
                    .value_parser(value_parser!(PathBuf))
                    .help("The party's config.toml; its folder is the party's folder"),
            )
            .arg(
                Arg::new("check-config").long("check-config").action(ArgAction::SetTrue).help(
                    "Look at all that starting needs, say what to change, and stop",
                ),
            )
            .arg(
                Arg::new("json")
                    .long("json")
                    .action(ArgAction::SetTrue)
                    .requires("check-config")
                    .help("Print the findings as JSON"),
            )
            .arg(
                Arg::new("check-ready")
                    .long("check-ready")
                    .action(ArgAction::SetTrue)
                    .conflicts_with("check-config")
                    .help("Ask the service that runs whether it is ready, print what it says, and exit with 0 or 1"),
            )
            .after_help(
                "LANYARD_LOG sets what is logged (default: info), for example \
                 lanyard_feed=debug,info; LANYARD_LOG_FORMAT=json logs one JSON object a line.\n\
                 Exit codes: 0 stopped as asked; 1 failed, trying again may help; 2 something must be changed first.",
            )
    }

    /// Takes the arguments of a parsed command line of [`Arguments::command`].
    #[must_use]
    pub fn from_matches(matches: &clap::ArgMatches) -> Self {
        Self {
            config: matches.get_one::<PathBuf>("config").cloned().unwrap_or_default(),
            check_config: ReportFormat::asked_for(
                matches.get_flag("check-config"),
                matches.get_flag("json"),
            ),
            check_ready: matches.get_flag("check-ready"),
        }
    }
}

/// The whole of a service's `main`: parses the command line, looks the party over with `inspect`, and runs the service.
pub fn main<S, E, F>(
    name: &'static str,
    about: &'static str,
    inspect: impl AsyncFnOnce(&PartyConfig<S>, &Env, &mut Report),
    serve: impl FnOnce(PartyConfig<S>, Env, CancellationToken) -> F,
) -> ExitCode
where
    S: DeserializeOwned,
    E: StartError,
    F: Future<Output = Result<(), E>>,
{
    let matches = Arguments::command(name, about).get_matches();
    run(&Arguments::from_matches(&matches), inspect, serve)
}

/// Reads the configuration, looks the party over with `inspect`, and, if nothing keeps it from serving, serves until SIGINT
/// or SIGTERM; a second signal ends the process at once.
pub fn run<S, E, F>(
    arguments: &Arguments,
    inspect: impl AsyncFnOnce(&PartyConfig<S>, &Env, &mut Report),
    serve: impl FnOnce(PartyConfig<S>, Env, CancellationToken) -> F,
) -> ExitCode
where
    S: DeserializeOwned,
    E: StartError,
    F: Future<Output = Result<(), E>>,
{
    run_in(Env::system(), arguments, inspect, serve)
}

/// As [`run`], in this environment.
pub fn run_in<S, E, F>(
    env: Env,
    arguments: &Arguments,
    inspect: impl AsyncFnOnce(&PartyConfig<S>, &Env, &mut Report),
    serve: impl FnOnce(PartyConfig<S>, Env, CancellationToken) -> F,
) -> ExitCode
where
    S: DeserializeOwned,
    E: StartError,
    F: Future<Output = Result<(), E>>,
{
    init_logging();
    let config = match PartyConfig::<S>::read(&*env.files, &arguments.config) {
        Ok(config) => config,
        Err(error) => return refused(arguments, &error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error, EXIT_FAILURE),
    };
    if arguments.check_ready {
        return runtime.block_on(check_ready(&env, config.common.telemetry));
    }
    let mut report = match arguments.check_config {
        Some(_) => Report::default(),
        None => Report::before_start(),
    };
    runtime.block_on(inspect(&config, &env, &mut report));
    if let Some(ended) = judge(arguments, &report) {
        return ended;
    }
    raise_open_files();
    let name = config.common.name.clone();
    let ended = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        watch_signals(shutdown.clone()).map_err(|error| failed(&error, EXIT_FAILURE))?;
        serve(config, env, shutdown).await.map_err(|error| {
            failed(&error, if error.is_permanent() { EXIT_CONFIG } else { EXIT_FAILURE })
        })
    });
    // Background tasks that ignore the shutdown must not hold the process up.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match ended {
        Ok(()) => {
            tracing::info!(name, "stopped");
            ExitCode::from(EXIT_OK)
        }
        Err(code) => code,
    }
}

/// Logs to stderr: `LANYARD_LOG` filters, `LANYARD_LOG_FORMAT=json` makes one JSON object a line, with `timestamp`, `level`,
/// `target`, `message`, the event's own fields, and within a call `span` with its `id` and `rpc`. Once a process.
pub fn init_logging() {
    let filter = EnvFilter::try_from_env("LANYARD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let json = std::env::var("LANYARD_LOG_FORMAT").is_ok_and(|format| format == "json");
    // A second call, as in tests, keeps the first subscriber.
    let _ = if json {
        builder.json().flatten_event(true).with_span_list(false).try_init()
    } else {
        builder.with_target(false).try_init()
    };
}

/// Lets this process open as many files as the system allows: each follower of a mirror is one, and the usual limit is a
/// thousand.
fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => tracing::debug!(?maximum, "open files"),
        // It serves as many as it can.
        Err(error) => tracing::warn!(%error, ?current, "the limit of open files stays as it is"),
    }
}

fn watch_signals(shutdown: CancellationToken) -> Result<(), io::Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            }
        };
        let signal = next().await;
        tracing::info!(signal, "stopping");
        shutdown.cancel();
        let signal = next().await;
        tracing::warn!(signal, "stopping at once");
        std::process::exit(i32::from(EXIT_FAILURE));
    });
    Ok(())
}

/// What the service that runs says of itself.
async fn check_ready(env: &Env, telemetry: Option<TelemetryAddress>) -> ExitCode {
    let Some(address) = telemetry else {
        eprintln!("config.toml: nothing to ask without telemetry = \"127.0.0.1:PORT\"");
        return ExitCode::from(EXIT_CONFIG);
    };
    match lanyard_telemetry::ask_ready(env, address).await {
        Ok((is_ready, said)) => {
            print!("{said}");
            ExitCode::from(if is_ready { EXIT_OK } else { EXIT_FAILURE })
        }
        Err(error) => {
            eprintln!("not ready: {}", chain(&error));
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

/// What the process ends with before it serves, if it does.
fn judge(arguments: &Arguments, report: &Report) -> Option<ExitCode> {
    let code = match report.worst() {
        Found::Bad => EXIT_CONFIG,
        Found::NotNow => EXIT_FAILURE,
        Found::Warning | Found::Good => EXIT_OK,
    };
    match arguments.check_config {
        Some(ReportFormat::Table) => print!("{}", report.table()),
        Some(ReportFormat::Json) => println!("{}", report.json()),
        None => {
            for finding in report.findings() {
                let (item, detail) = (&finding.item, &finding.detail);
                match finding.found {
                    Found::Good => {}
                    Found::Warning => tracing::warn!(item, "{detail}"),
                    Found::NotNow => tracing::error!(item, "does not start now: {detail}"),
                    Found::Bad => tracing::error!(item, "does not start: {detail}"),
                }
            }
            if code == EXIT_OK {
                return None;
            }
        }
    }
    Some(ExitCode::from(code))
}

fn refused(arguments: &Arguments, error: &TomlError) -> ExitCode {
    let path = &arguments.config;
    if arguments.check_config == Some(ReportFormat::Json) {
        let mut report = Report::default();
        report.refused("config.toml", error);
        println!("{}", report.json());
    }
    tracing::error!(file = %path.display(), "bad configuration: {}", chain(error));
    ExitCode::from(if error.is_permanent() { EXIT_CONFIG } else { EXIT_FAILURE })
}

fn failed(error: &dyn Error, code: u8) -> ExitCode {
    tracing::error!("failed: {}", chain(error));
    ExitCode::from(code)
}

/// An error and its sources, each told once.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests write what users would
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process;

    use lanyard_telemetry::Telemetry;

    use super::*;
    use crate::config::NoSection;

    const GOOD: &str = "name = \"trustee\"\nlisten = \"127.0.0.1:0\"\n";

    fn arguments(dir: &Path, text: &str) -> Arguments {
        let config = dir.join("config.toml");
        fs::write(&config, text).unwrap();
        Arguments { config, check_config: None, check_ready: false }
    }

    fn is(code: ExitCode, expected: u8) -> bool {
        format!("{code:?}") == format!("{:?}", ExitCode::from(expected))
    }

    #[derive(Debug, thiserror::Error)]
    #[error("not served")]
    struct Refused {
        is_permanent: bool,
    }

    impl StartError for Refused {
        fn is_permanent(&self) -> bool {
            self.is_permanent
        }
    }

    async fn never(_: PartyConfig<NoSection>, _: Env, _: CancellationToken) -> Result<(), Refused> {
        panic!("it must not be served")
    }

    async fn nothing(_: &PartyConfig<NoSection>, _: &Env, _: &mut Report) {}

    #[test]
    fn the_command_line_is_sound() {
        let command = Arguments::command("lanyard-trustee", "The trustee's service");
        command.clone().debug_assert();
        let matches =
            command.try_get_matches_from(["x", "--config", "a/b.toml", "--check-config"]).unwrap();
        let arguments = Arguments::from_matches(&matches);
        assert_eq!(arguments.check_config, Some(ReportFormat::Table));
        assert_eq!(arguments.config, Path::new("a/b.toml"));
    }

    #[test]
    fn exit_codes_tell_what_may_pass_from_what_must_be_changed() {
        let dir = tempfile::tempdir().unwrap();
        let bad = arguments(dir.path(), &GOOD.replace("listen", "lissen"));
        assert!(is(run::<NoSection, _, _>(&bad, nothing, never), EXIT_CONFIG));
        let (config, check_config) = (dir.path().join("none"), Some(ReportFormat::Json));
        let missing = Arguments { config, check_config, check_ready: false };
        assert!(is(run::<NoSection, _, _>(&missing, nothing, never), EXIT_CONFIG));
        let mut good = arguments(dir.path(), GOOD);
        let bad = async |_: &PartyConfig<NoSection>, _: &Env, report: &mut Report| {
            report.not_now("store", "it does not answer");
            report.bad("keys", "missing; restore them");
        };
        let not_now = async |_: &PartyConfig<NoSection>, _: &Env, report: &mut Report| {
            report.warning("tls", "it expires soon");
            report.not_now("store", "it does not answer");
        };
        for check_config in [None, Some(ReportFormat::Table)] {
            good.check_config = check_config;
            assert!(is(run(&good, bad, never), EXIT_CONFIG), "what passes does not hide the rest");
            assert!(is(run(&good, not_now, never), EXIT_FAILURE), "{check_config:?}");
        }
        assert!(is(run(&good, nothing, never), EXIT_OK));
        good.check_config = None;
        for (is_permanent, code) in [(true, EXIT_CONFIG), (false, EXIT_FAILURE)] {
            let fails =
                |_: PartyConfig<NoSection>, _, _| async move { Err(Refused { is_permanent }) };
            assert!(is(run(&good, nothing, fails), code), "{is_permanent}");
        }
    }

    #[test]
    fn whoever_asks_is_told_whether_the_service_is_ready() {
        let dir = tempfile::tempdir().unwrap();
        let ask = |text: &str| {
            let arguments = Arguments { check_ready: true, ..arguments(dir.path(), text) };
            run::<NoSection, _, _>(&arguments, nothing, never)
        };
        assert!(is(ask(GOOD), EXIT_CONFIG), "there is nothing to ask");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let any = TelemetryAddress::loopback("127.0.0.1:0".parse().unwrap()).unwrap();
        let (telemetry, stop) = (Telemetry::new(Some(any)), CancellationToken::new());
        let listening = runtime.block_on(telemetry.listen(&Env::system(), stop.clone()));
        let watched = format!("telemetry = \"{}\"\n{GOOD}", listening.unwrap().unwrap());
        assert!(is(ask(&watched), EXIT_FAILURE), "it does not serve yet");
        telemetry.serving(stop);
        assert!(is(ask(&watched), EXIT_OK));
        drop(runtime);
        assert!(is(ask(&watched), EXIT_FAILURE), "nobody listens");
    }

    #[test]
    fn a_termination_signal_stops_the_service() {
        let dir = tempfile::tempdir().unwrap();
        let good = arguments(dir.path(), GOOD);
        let code = run(&good, nothing, |config: PartyConfig<NoSection>, _, shutdown| async move {
            assert_eq!(config.common.name, "trustee");
            process::Command::new("kill")
                .args(["-TERM", &process::id().to_string()])
                .status()
                .unwrap();
            shutdown.cancelled().await;
            Ok::<_, Refused>(())
        });
        assert!(is(code, EXIT_OK));
    }

    #[test]
    fn causes_are_told_once() {
        let io = std::io::Error::other("no space");
        let error = lanyard_env::FileError::new("write", Path::new("/x"), io);
        assert_eq!(chain(&error), "cannot write /x: no space");
    }
}
