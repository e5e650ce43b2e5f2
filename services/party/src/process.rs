//! A party's process: command line, logging, signals and exit codes.

use std::error::Error;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command, value_parser};
use lanyard_env::Env;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::config::PartyConfig;
use crate::inspection::{Found, Report};

/// Served and stopped as asked.
pub const EXIT_OK: u8 = 0;
/// Failed; the last line of the log says why.
pub const EXIT_FAILURE: u8 = 1;
/// The configuration or the command line is wrong.
pub const EXIT_CONFIG: u8 = 2;

/// What a service is built from, so that a test or another binary can run it too.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// `config.toml`.
    pub config: PathBuf,
    /// Only look over configuration and folder, and say what was found.
    pub check_config: Option<ReportFormat>,
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
    /// The command line of a service: `--config FILE [--check-config [--json]]`.
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
                    "Do all that starting does short of listening, say what to change, and stop",
                ),
            )
            .arg(
                Arg::new("json")
                    .long("json")
                    .action(ArgAction::SetTrue)
                    .requires("check-config")
                    .help("Print the findings as JSON"),
            )
            .after_help(
                "LANYARD_LOG sets what is logged (default: info), for example \
                 lanyard_feed=debug,info; LANYARD_LOG_FORMAT=json logs one JSON object a line.\n\
                 Exit codes: 0 stopped as asked, 1 failure, 2 bad configuration.",
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
    E: Error + 'static,
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
    E: Error + 'static,
    F: Future<Output = Result<(), E>>,
{
    init_logging();
    let env = Env::system();
    let config = match PartyConfig::<S>::read(&*env.files, &arguments.config) {
        Ok(config) => config,
        Err(error) => return refused(arguments, &error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let mut report = match arguments.check_config {
        Some(_) => Report::default(),
        None => Report::before_start(),
    };
    runtime.block_on(inspect(&config, &env, &mut report));
    if let Some(ended) = judge(arguments, &report) {
        return ended;
    }
    let name = config.common.name.clone();
    let ended = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        watch_signals(shutdown.clone())?;
        serve(config, env, shutdown).await.map_err(Box::<dyn Error>::from)
    });
    // Background tasks that ignore the shutdown must not hold the process up.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match ended {
        Ok(()) => {
            tracing::info!(name, "stopped");
            ExitCode::from(EXIT_OK)
        }
        Err(error) => failed(&*error),
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

fn watch_signals(shutdown: CancellationToken) -> Result<(), std::io::Error> {
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

/// What the process ends with before it serves, if it does.
fn judge(arguments: &Arguments, report: &Report) -> Option<ExitCode> {
    let code = if report.is_good() { EXIT_OK } else { EXIT_CONFIG };
    match arguments.check_config {
        Some(ReportFormat::Table) => print!("{}", report.table()),
        Some(ReportFormat::Json) => println!("{}", report.json()),
        None => {
            for finding in report.findings() {
                let (item, detail) = (&finding.item, &finding.detail);
                match finding.found {
                    Found::Good => {}
                    Found::Warning => tracing::warn!(item, "{detail}"),
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

fn refused(arguments: &Arguments, error: &dyn Error) -> ExitCode {
    let path = &arguments.config;
    if arguments.check_config == Some(ReportFormat::Json) {
        let mut report = Report::default();
        report.bad("config.toml", chain(error));
        println!("{}", report.json());
    }
    tracing::error!(file = %path.display(), "bad configuration: {}", chain(error));
    ExitCode::from(EXIT_CONFIG)
}

fn failed(error: &dyn Error) -> ExitCode {
    tracing::error!("failed: {}", chain(error));
    ExitCode::from(EXIT_FAILURE)
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

    use super::*;
    use crate::config::NoSection;

    const GOOD: &str = "name = \"trustee\"\nlisten = \"127.0.0.1:0\"\n";

    fn arguments(dir: &Path, text: &str) -> Arguments {
        let config = dir.join("config.toml");
        fs::write(&config, text).unwrap();
        Arguments { config, check_config: None }
    }

    fn is(code: ExitCode, expected: u8) -> bool {
        format!("{code:?}") == format!("{:?}", ExitCode::from(expected))
    }

    async fn never(
        _: PartyConfig<NoSection>,
        _: Env,
        _: CancellationToken,
    ) -> Result<(), std::fmt::Error> {
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
    fn exit_codes_tell_bad_configuration_from_failure() {
        let dir = tempfile::tempdir().unwrap();
        let bad = arguments(dir.path(), &GOOD.replace("listen", "lissen"));
        assert!(is(run::<NoSection, _, _>(&bad, nothing, never), EXIT_CONFIG));
        let missing =
            Arguments { config: dir.path().join("none"), check_config: Some(ReportFormat::Json) };
        assert!(is(run::<NoSection, _, _>(&missing, nothing, never), EXIT_CONFIG));
        let mut good = arguments(dir.path(), GOOD);
        let bad = async |_: &PartyConfig<NoSection>, _: &Env, report: &mut Report| {
            report.bad("keys", "missing; restore them");
        };
        assert!(is(run(&good, bad, never), EXIT_CONFIG), "also at start");
        good.check_config = Some(ReportFormat::Table);
        assert!(is(run(&good, nothing, never), EXIT_OK));
        assert!(is(run(&good, bad, never), EXIT_CONFIG));
        good.check_config = None;
        let fails = |_: PartyConfig<NoSection>, _, _| async { Err(std::fmt::Error) };
        assert!(is(run(&good, nothing, fails), EXIT_FAILURE));
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
                .map_err(|_| std::fmt::Error)?;
            shutdown.cancelled().await;
            Ok::<_, std::fmt::Error>(())
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
