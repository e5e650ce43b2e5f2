//! Stopping, restoring and replacing badges of the own staff.

use clap::Args;
use lanyard_client::{Connection, call};
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::staff::v1::{
    ChangeStatusRequest, Outcome, ReferenceOutcome, ReissueBadgesRequest,
};

use crate::context::Context;
use crate::error::CliError;
use crate::references::{Became, References, show_outcomes};

/// A change to a list of badges.
#[derive(Args)]
pub(crate) struct ChangeArgs {
    #[command(flatten)]
    references: References,
    /// Why; it stands in the audit trail beside your name, and never leaves the police.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// What to do to them.
#[derive(Clone, Copy)]
pub(super) enum Action {
    Suspend,
    Reinstate,
    Revoke,
}

impl ChangeArgs {
    pub(super) async fn change(
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
        let references = self.references.read(&context.env)?;
        let request =
            ChangeStatusRequest { action: action.into(), references, reason: self.reason };
        let answer = call(what, connection.staff()?.change_status(request).await)?;
        show_outcomes(context, answer.change_id, &became(&answer.outcomes))
    }

    pub(super) async fn reissue(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let references = self.references.read(&context.env)?;
        let request = ReissueBadgesRequest { references, reason: self.reason };
        let answer = call("reissue", connection.staff()?.reissue_badges(request).await)?;
        show_outcomes(context, answer.change_id, &became(&answer.outcomes))?;
        context.note(
            "the old prints are refused from the next tick on; print the new ones with: staff issue",
        );
        Ok(())
    }
}

fn became(outcomes: &[ReferenceOutcome]) -> Vec<Became> {
    let became = outcomes.iter().map(|one| {
        let (outcome, good) = match one.outcome() {
            Outcome::Done => ("done", true),
            Outcome::Unchanged => ("was so already", true),
            Outcome::NotFound => ("no such reference", false),
            Outcome::NotPossible => ("not possible from where it stands", false),
            Outcome::Unspecified => ("unknown", false),
        };
        Became { who: one.reference.clone(), outcome, good }
    });
    became.collect()
}
