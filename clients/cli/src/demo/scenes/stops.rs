//! Badges are stopped, restored, lost, and somebody is exchanged.

use std::time::{Duration, Instant};

use lanyard_client::call;
use lanyard_wire::committee::v1 as committee;
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::gate::v1::{CheckResponse, Reason, Verdict};
use lanyard_wire::police::v1 as police;
use prost::Message as _;

use super::{ADMIT, Play, REFER, deny, is, name, show};
use crate::demo::error::DemoError;
use crate::demo::ledger::Seen;
use crate::demo::plan::{MAIN, TICK_MILLIS};
use crate::demo::stages;
use crate::demo::world::{PATIENCE, World, eventually};

/// A stop must be at the gates within a tick, and what a busy machine takes beside.
const STOP_LIMIT: Duration = Duration::from_millis(TICK_MILLIS + 2_000);

impl Play<'_> {
    pub(super) async fn stops(&mut self) -> Result<(), DemoError> {
        self.stopped_by_police().await?;
        self.stopped_by_committee().await?;
        self.lost_and_reissued().await?;
        self.swapped().await?;
        self.referrals_are_alike().await;
        Ok(())
    }

    async fn stopped_by_police(&mut self) -> Result<(), DemoError> {
        let text = self.text(self.cast.suspended)?;
        let (world, ledger) = (&*self.world, &mut *self.ledger);
        let expected = format!("REFER within {} s", STOP_LIMIT.as_secs());
        let mut referred = None;
        let attempt = async {
            let start = Instant::now();
            police_change(world, StatusAction::Suspend, &text).await?;
            let response = wait_for(world, &text, REFER).await?;
            let took = start.elapsed();
            let seen = Seen::new(took <= STOP_LIMIT, show(&response)).after(took);
            referred = Some(response);
            Ok(seen)
        };
        ledger.expect("suspended by the police", &expected, attempt).await;
        self.referred.extend(referred.map(|response| ("suspended by the police", response)));
        let attempt = async {
            police_change(world, StatusAction::Reinstate, &text).await?;
            Ok(Seen::new(true, show(&wait_for(world, &text, ADMIT).await?)))
        };
        ledger
            .expect("reinstated by the police", "ADMIT, once witnesses have cosigned", attempt)
            .await;
        Ok(())
    }

    async fn stopped_by_committee(&mut self) -> Result<(), DemoError> {
        let (person, text) = (self.cast.stopped, self.text(self.cast.stopped)?);
        let reference = self.reference(person);
        let (world, ledger) = (&*self.world, &mut *self.ledger);
        let expected = format!("REFER within {} s", STOP_LIMIT.as_secs());
        let mut referred = None;
        let attempt = async {
            let start = Instant::now();
            committee_change(world, StatusAction::Suspend, &reference).await?;
            let response = wait_for(world, &text, REFER).await?;
            let took = start.elapsed();
            let seen = Seen::new(took <= STOP_LIMIT, show(&response)).after(took);
            referred = Some(response);
            Ok(seen)
        };
        ledger.expect("suspended by the committee", &expected, attempt).await;
        self.referred.extend(referred.map(|response| ("suspended by the committee", response)));
        let attempt = async {
            committee_change(world, StatusAction::Reinstate, &reference).await?;
            Ok(Seen::new(true, show(&wait_for(world, &text, ADMIT).await?)))
        };
        ledger
            .expect("reinstated by the committee", "ADMIT, once witnesses have cosigned", attempt)
            .await;
        let attempt = async {
            let change_id = committee_change(world, StatusAction::Revoke, &reference).await?;
            let revoked = wait_for(world, &text, deny(Reason::Revoked)).await?;
            let reason = "the wrong person".to_owned();
            let request = committee::UndoChangeRequest { change_id, reason };
            let undone = call("undo a change", world.badges.clone().undo_change(request).await)?;
            let restored = wait_for(world, &text, ADMIT).await?;
            let found = format!("{}, then {}", show(&revoked), show(&restored));
            Ok(Seen::new((undone.restored, undone.skipped) == (1, 0), found))
        };
        ledger.expect("revoked by mistake, and undone", "DENY REVOKED, then ADMIT", attempt).await;
        Ok(())
    }

    async fn lost_and_reissued(&mut self) -> Result<(), DemoError> {
        let person = self.cast.lost;
        let (reference, old) = (self.reference(person), self.text(person)?);
        let world = &*self.world;
        let mut badge = None;
        let attempt = async {
            let reason = "lost on the way".to_owned();
            let request =
                committee::ReissueBadgesRequest { references: vec![reference.clone()], reason };
            let reissued = world.badges.clone().reissue_badges(request).await;
            call("reissue a badge", reissued)?;
            let (badges, _) = stages::issue(world, std::slice::from_ref(&reference)).await?;
            let new = badges.get(&reference).copied();
            let new = new.ok_or_else(|| DemoError::unexpected("no new print was issued"))?;
            badge = Some(new);
            let lost = wait_for(world, &old, deny(Reason::Revoked)).await?;
            let found = wait_for(world, &world.text(new), ADMIT).await?;
            Ok(Seen::new(true, format!("old: {}, new: {}", show(&lost), show(&found))))
        };
        let expected = "old: DENY REVOKED, new: ADMIT";
        self.ledger.expect("lost badge reissued", expected, attempt).await;
        if let Some(badge) = badge {
            self.badges.insert(reference, badge);
        }
        Ok(())
    }

    /// The committee puts somebody else behind a reference that the police have cleared.
    async fn swapped(&mut self) -> Result<(), DemoError> {
        let person = self.cast.swapped;
        let text = self.text(person)?;
        let reference = self.reference(person);
        let impostor = committee::Person {
            profile: self.people[person].profile.clone(),
            category: self.people[person].category.clone(),
            ..self.inventor.person(reference)
        };
        self.impostors.push((person, impostor.clone()));
        let (world, ledger) = (&*self.world, &mut *self.ledger);
        let mut referred = None;
        let attempt = async {
            let before = world.gate_1.check(&world.env, &text, MAIN).await?;
            stages::enrol(world, &[impostor], committee::ImportMode::AllOrNothing).await?;
            let after = wait_for(world, &text, REFER).await?;
            let found = format!("before: {}, after: {}", show(&before), show(&after));
            let seen = Seen::new(is(&before, ADMIT), found);
            referred = Some(after);
            Ok(seen)
        };
        let expected = "before: ADMIT, after: REFER";
        ledger.expect("person swapped after clearance", expected, attempt).await;
        self.referred.extend(referred.map(|response| ("swapped", response)));
        Ok(())
    }

    /// A scanner, and whoever reads over its shoulder, cannot tell the causes apart.
    async fn referrals_are_alike(&mut self) {
        let answers: Vec<Vec<u8>> = self.referred.iter().map(|(_, one)| shown_bytes(one)).collect();
        let alike = answers.windows(2).all(|pair| pair[0] == pair[1]);
        let causes: Vec<&str> = self.referred.iter().map(|(cause, _)| *cause).collect();
        let found =
            format!("{} ({})", if alike { "equal" } else { "different" }, causes.join(", "));
        let seen = Seen::new(alike && causes.len() == 5, found);
        let expected = "equal bytes for 5 causes";
        self.ledger.expect("why somebody is referred", expected, async { Ok(seen) }).await;
    }
}

/// An answer as it travels, without the receipt's number and the age of what is known, which differ from check to check.
fn shown_bytes(response: &CheckResponse) -> Vec<u8> {
    CheckResponse { receipt_id: 0, age_seconds: 0, ..response.clone() }.encode_to_vec()
}

/// Checks until this is the answer.
pub(super) async fn wait_for(
    world: &World,
    text: &str,
    expected: (Verdict, Reason),
) -> Result<CheckResponse, DemoError> {
    eventually(&name(expected), PATIENCE, async || {
        let response = world.gate_1.check(&world.env, text, MAIN).await?;
        Ok(is(&response, expected).then_some(response))
    })
    .await
}

/// An officer suspends or reinstates whoever bears this badge.
pub(super) async fn police_change(
    world: &World,
    action: StatusAction,
    badge_text: &str,
) -> Result<(), DemoError> {
    let request = police::ChangeStatusRequest {
        action: action.into(),
        subject_ids: vec![],
        badge_texts: vec![badge_text.to_owned()],
        reason: "demonstration".to_owned(),
    };
    let changed = call("change a status", world.subjects.clone().change_status(request).await)?;
    match changed.outcomes.first().map(police::SubjectOutcome::outcome) {
        Some(police::Outcome::Done) => Ok(()),
        other => Err(DemoError::unexpected(format!("the police's change of status: {other:?}"))),
    }
}

/// A registrar changes a badge's status; returns the change.
async fn committee_change(
    world: &World,
    action: StatusAction,
    reference: &str,
) -> Result<u64, DemoError> {
    let request = committee::ChangeStatusRequest {
        action: action.into(),
        references: vec![reference.to_owned()],
        reason: "demonstration".to_owned(),
        badge_numbers: Vec::new(),
    };
    let changed = call("change a status", world.badges.clone().change_status(request).await)?;
    match changed.outcomes.first().map(committee::ReferenceOutcome::outcome) {
        Some(committee::Outcome::Done) => Ok(changed.change_id),
        other => Err(DemoError::unexpected(format!("the committee's change of status: {other:?}"))),
    }
}
