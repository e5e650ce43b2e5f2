//! The command line as a whole.

use clap::{Parser, Subcommand};

use crate::backup::BackupArgs;
use crate::ceremony::CeremonyArgs;
use crate::code::CodeArgs;
use crate::committee::CommitteeArgs;
use crate::demo::DemoArgs;
use crate::fsck::FsckArgs;
use crate::gate::GateArgs;
use crate::init::InitArgs;
use crate::lookup::LookupArgs;
use crate::panic::PanicArgs;
use crate::police::PoliceArgs;
use crate::quota::QuotaArgs;
use crate::scan::ScanArgs;
use crate::screening::ScreeningArgs;
use crate::serve::ServeArgs;
use crate::sponsor::SponsorArgs;
use crate::up::UpArgs;
use crate::verify::VerifyArgs;

/// Accreditation checks for events in which no party holds the whole file.
#[derive(Parser)]
#[command(name = "lanyard", version, arg_required_else_help = true, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// Print JSON instead of text and tables.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
People act with a certificate in their party's folder: give the folder with --folder or LANYARD_FOLDER, and who you are
with --as if several people could do it.
Exit codes: 0 done, or the answer is yes; 1 failed, or the answer is no; 2 wrong usage or input.";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make an event in a directory: every party's folder, keys, certificates and the signed manifest.
    Init(InitArgs),
    /// Take one step of the ceremony, for one party over its own folder.
    Ceremony(CeremonyArgs),
    /// The committee's people: enrol, screen, issue and stop badges, desk.
    Committee(CommitteeArgs),
    /// The police's people: watchlists, cases, stops, desk.
    Police(PoliceArgs),
    /// The sponsor's desk.
    Sponsor(SponsorArgs),
    /// The gate's people: single checks, overrides, receipts, attestations.
    Gate(GateArgs),
    /// Start a new epoch at once, after printing what it costs: what a stolen gate holds is then worth nothing.
    Panic(PanicArgs),
    /// Show how many evaluations a share holder has counted, per caller and purpose, and how many are left.
    Quota(QuotaArgs),
    /// Look a party's folder over, running or stopped: keys, manifests, store, feeds, witness, quotas, receipts.
    Fsck(FsckArgs),
    /// Copy what a party cannot get again to another folder, while its service runs, and look the copy over.
    Backup(BackupArgs),
    /// A scanner's loop: reads badges from a keyboard-wedge scanner or a pipe and shows each verdict.
    Scan(ScanArgs),
    /// Derive from a badge the code for one audience and the current epoch, as a phone does.
    Code(CodeArgs),
    /// Look a badge up at any mirror, which learns only a prefix of its handle, and verify the answer.
    Lookup(LookupArgs),
    /// Measure on plaintext what identity keys find and whom they accuse.
    Screening(ScreeningArgs),
    /// Verify exported attestations and receipts, offline.
    Verify(VerifyArgs),
    /// Run an event's services on this machine until Ctrl-C; makes the event first if there is none.
    Up(UpArgs),
    /// See it all at work: make an event, use it, attack it, and compare with what was expected.
    Demo(DemoArgs),
    /// Run one party's service.
    #[command(hide = true)]
    Serve(ServeArgs),
}

#[cfg(test)]
mod documented;

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_names_every_command_and_hides_the_services() {
        let help = Cli::command().render_long_help().to_string();
        for command in Cli::command().get_subcommands() {
            let shown = help.contains(&format!("\n  {} ", command.get_name()));
            assert_eq!(shown, !command.is_hide_set(), "{}", command.get_name());
        }
        assert!(help.contains("Exit codes: 0 done"));
    }

    #[test]
    fn every_command_explains_itself_and_its_arguments() {
        fn walk(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {argument}", command.get_name());
            }
            command.get_subcommands().for_each(walk);
        }
        Cli::command().get_subcommands().for_each(walk);
    }
}
