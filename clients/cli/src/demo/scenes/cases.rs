//! Cases: an officer asks who it is, somebody of the committee approves, the officer decides.

use lanyard_client::call;
use lanyard_wire::committee::v1 as committee;
use lanyard_wire::police::v1::{
    CaseState, CheckBadgeRequest, DecideCaseRequest, GetCaseRequest, OpenIdentityRequest, Outcome,
    RequestDisclosureRequest,
};
use lanyard_wire::screening::v1::Verdict;

use crate::demo::error::DemoError;
use crate::demo::ledger::Seen;
use crate::demo::world::{PATIENCE, World, eventually};

/// The subject whose badge is at hand.
async fn subject(world: &World, badge_text: &str) -> Result<Vec<u8>, DemoError> {
    let request = CheckBadgeRequest { badge_text: badge_text.to_owned(), with_attestations: false };
    let case = call("ask the police's desk", world.police_desk.clone().check_badge(request).await)?;
    Ok(case.subject.unwrap_or_default().subject_id)
}

/// Has the committee disclose one identity, and the police check its preimage.
pub(super) async fn disclose(world: &World, badge_text: &str) -> Result<Seen, DemoError> {
    let subject_id = subject(world, badge_text).await?;
    let request = RequestDisclosureRequest {
        subject_id: subject_id.clone(),
        legal_basis: "a demonstration".to_owned(),
    };
    let asked = call("ask who it is", world.cases.clone().request_disclosure(request).await)?;
    eventually("the committee approves", PATIENCE, async || {
        let request = committee::DecideDisclosureRequest {
            request_id: asked.request_id,
            approve: true,
            reason: "the legal basis holds".to_owned(),
        };
        let decided = world.disclosures.clone().decide_disclosure(request).await;
        let outcome = call("approve the disclosure", decided)?.outcome();
        // The service fetches what the police ask every few seconds.
        Ok((outcome != committee::Outcome::NotFound).then_some(outcome))
    })
    .await?;
    eventually("the identity arrives", PATIENCE, async || {
        let request = GetCaseRequest { subject_id: subject_id.clone() };
        let case = call("look at the case", world.cases.clone().get_case(request).await)?.case;
        let answered = |state| matches!(state, CaseState::Disclosed | CaseState::Mismatch);
        Ok(case.is_some_and(|case| answered(case.state())).then_some(()))
    })
    .await?;
    let opened = world.cases.clone().open_identity(OpenIdentityRequest { subject_id }).await;
    let identity = call("open the identity", opened)?.identity;
    Ok(match identity {
        Some(identity) if identity.binding_holds => {
            Seen::new(true, "SEALED, HOLDS: the person who was submitted")
        }
        Some(_) => Seen::new(false, "MISMATCH"),
        None => Seen::new(false, "nothing"),
    })
}

/// An officer's decision on the subject whose badge is at hand.
pub(super) async fn decide(
    world: &World,
    badge_text: &str,
    verdict: Verdict,
    reason: &str,
) -> Result<(), DemoError> {
    let request = DecideCaseRequest {
        subject_id: subject(world, badge_text).await?,
        verdict: verdict.into(),
        reason: reason.to_owned(),
    };
    let decided = call("decide a case", world.cases.clone().decide_case(request).await)?;
    match decided.outcome() {
        Outcome::Done | Outcome::Unchanged => Ok(()),
        other => Err(DemoError::unexpected(format!("the decision: {}", other.as_str_name()))),
    }
}
