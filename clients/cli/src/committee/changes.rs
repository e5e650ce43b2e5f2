//! Stopping, restoring and replacing badges.

use clap::Args;
use lanyard_client::{Connection, call};
use lanyard_wire::committee::v1::{
    ChangeStatusRequest, Outcome, ReferenceOutcome, ReissueBadgesRequest, UndoChangeRequest,
};
use lanyard_wire::common::v1::StatusAction;

use crate::context::Context;
use crate::error::CliError;
use crate::references::{Became, References, show_outcomes, show_undo};

/// A change to the status of a list of badges.
#[derive(Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    references: References,
    /// A badge's number, as `police-badges` shows it for those whose bearers are not known here; may be given several times.
    #[arg(long = "number", value_name = "NUMBER")]
    numbers: Vec<u32>,
    /// Why; it stands in the audit trail beside your name.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Lost badges.
#[derive(Args)]
pub(crate) struct ReissueArgs {
    #[command(flatten)]
    references: References,
    /// Why; it stands in the audit trail beside your name.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// What to do to them.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    Suspend,
    Reinstate,
    Revoke,
}

impl StatusArgs {
    pub(crate) async fn change(
        self,
        context: &Context,
        connection: &Connection,
        action: Action,
    ) -> Result<(), CliError> {
        let (action, what) = match action {
            Action::Suspend => (StatusAction::Suspend, "suspend"),
            Action::Reinstate => (StatusAction::Reinstate, "reinstate"),
            Action::Revoke => (StatusAction::Revoke, "revoke"),
        };
        let references = match self.numbers.as_slice() {
            [] => self.references.read(&context.env)?,
            _ => self.references.read_any(&context.env)?,
        };
        let request = ChangeStatusRequest {
            action: action.into(),
            references,
            reason: self.reason,
            badge_numbers: self.numbers,
        };
        let answer = call(what, connection.badges()?.change_status(request).await)?;
        show_outcomes(context, answer.change_id, &became(&answer.outcomes))
    }
}

impl ReissueArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let references = self.references.read(&context.env)?;
        let request = ReissueBadgesRequest { references, reason: self.reason };
        let answer = call("reissue", connection.badges()?.reissue_badges(request).await)?;
        show_outcomes(context, answer.change_id, &became(&answer.outcomes))?;
        context.note(
            "the old prints are refused from the next tick on; print the new ones with: issue",
        );
        Ok(())
    }
}

fn became(outcomes: &[ReferenceOutcome]) -> Vec<Became> {
    let became = outcomes.iter().map(|one| {
        let (outcome, good) = match one.outcome() {
            Outcome::Done => ("done", true),
            Outcome::Unchanged => ("was so already", true),
            Outcome::NotFound => ("no such badge", false),
            Outcome::NotPossible => ("not possible from where it stands", false),
            Outcome::Unspecified => ("unknown", false),
        };
        Became { who: one.reference.clone(), outcome, good }
    });
    became.collect()
}

/// `lanyard committee undo`.
#[derive(Args)]
pub(crate) struct UndoArgs {
    /// The change's number, as it was shown and stands in the audit trail.
    change: u64,
    /// Why; it stands in the audit trail beside your name.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl UndoArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let request = UndoChangeRequest { change_id: self.change, reason: self.reason };
        let answer = call("undo the change", connection.badges()?.undo_change(request).await)?;
        show_undo(context, answer.restored, answer.skipped)
    }
}
