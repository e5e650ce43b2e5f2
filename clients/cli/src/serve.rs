//! `lanyard serve`: one party's service, as its own binary runs it. `lanyard up` and the demo start themselves so.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use lanyard_party::{Arguments, ReportFormat, run};
use rustix::process::{Signal, getpid, kill_process};

/// `lanyard serve`.
#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Whose service.
    #[arg(value_enum)]
    party: Party,
    /// The party's config.toml; its folder is the party's folder.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Look at all that starting needs, say what to change, and stop.
    #[arg(long)]
    check_config: bool,
    /// Print the findings of --check-config as JSON.
    #[arg(long, requires = "check_config")]
    json: bool,
    /// Stop when stdin ends, as it does when the process that started this one ends.
    #[arg(long)]
    stop_with_parent: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Party {
    Committee,
    Police,
    Sponsor,
    Trustee,
    Gate,
}

impl ServeArgs {
    pub(crate) fn run(self) -> ExitCode {
        if self.stop_with_parent {
            std::thread::spawn(stop_at_end_of_input);
        }
        let check_config = ReportFormat::asked_for(self.check_config, self.json);
        let arguments = Arguments { config: self.config, check_config, check_ready: false };
        match self.party {
            Party::Committee => {
                run(&arguments, lanyard_committee::inspect, lanyard_committee::serve)
            }
            Party::Police => run(&arguments, lanyard_police::inspect, lanyard_police::serve),
            Party::Sponsor => run(&arguments, lanyard_sponsor::inspect, lanyard_sponsor::serve),
            Party::Trustee => run(&arguments, lanyard_trustee::inspect, lanyard_trustee::serve),
            Party::Gate => run(&arguments, lanyard_gate::inspect, lanyard_gate::serve),
        }
    }
}

fn stop_at_end_of_input() {
    let mut stdin = std::io::stdin().lock();
    let mut ignored = [0; 256];
    while matches!(stdin.read(&mut ignored), Ok(1..)) {}
    // The same way as any other request to stop; this process always exists.
    let _ = kill_process(getpid(), Signal::TERM);
}
