//! The scenes of the demo, in order. Each leaves the event as it found it, but for what it is about.

mod cases;
mod lies;
mod outage;
mod proofs;
mod staff;
mod stops;
mod verdicts;

use std::collections::HashMap;

use lanyard_wire::committee::v1::Person;
use lanyard_wire::gate::v1::{CheckResponse, Reason, Verdict};
use zeroize::Zeroizing;

use super::error::DemoError;
use super::ledger::{Ledger, Seen};
use super::people::{Cast, Inventor, Planted};
use super::world::{Badge, World};

/// What every scene needs.
pub(super) struct Play<'a> {
    pub(super) world: &'a mut World,
    pub(super) ledger: &'a mut Ledger,
    pub(super) cast: &'a Cast,
    pub(super) planted: &'a Planted,
    pub(super) people: &'a [Person],
    pub(super) inventor: &'a mut Inventor,
    pub(super) badges: HashMap<String, Badge>,
    /// Who was put in the place of somebody on the roster.
    pub(super) impostors: Vec<(usize, Person)>,
    /// Answers of `REFER`, each for another cause.
    pub(super) referred: Vec<(&'static str, CheckResponse)>,
}

/// Plays all scenes.
pub(super) async fn play(play: &mut Play<'_>) -> Result<(), DemoError> {
    play.verdicts().await?;
    play.stops().await?;
    play.staff().await?;
    play.proofs().await?;
    play.lies().await?;
    play.outage().await
}

impl Play<'_> {
    pub(super) fn reference(&self, person: usize) -> String {
        self.people[person].reference.clone()
    }

    /// The badge of somebody on the roster.
    pub(super) fn badge(&self, person: usize) -> Result<Badge, DemoError> {
        let reference = &self.people[person].reference;
        let badge = self.badges.get(reference).copied();
        badge.ok_or_else(|| DemoError::unexpected(format!("{reference} has no badge")))
    }

    /// The text on the badge of somebody on the roster.
    pub(super) fn text(&self, person: usize) -> Result<Zeroizing<String>, DemoError> {
        Ok(self.world.text(self.badge(person)?))
    }

    /// A check at the first gate.
    pub(super) async fn check(
        &self,
        person: usize,
        access_point: &str,
    ) -> Result<CheckResponse, DemoError> {
        let text = self.text(person)?;
        Ok(self.world.gate_1.check(&self.world.env, &text, access_point).await?)
    }

    /// One check with one expected answer.
    pub(super) async fn try_once(
        &mut self,
        scenario: &str,
        person: usize,
        access_point: &str,
        expected: (Verdict, Reason),
    ) -> Result<(), DemoError> {
        let text = self.text(person)?;
        let (world, ledger) = (&*self.world, &mut *self.ledger);
        let attempt = async {
            let response = world.gate_1.check(&world.env, &text, access_point).await?;
            Ok(Seen::new(is(&response, expected), show(&response)))
        };
        ledger.expect(scenario, &name(expected), attempt).await;
        Ok(())
    }
}

pub(super) const ADMIT: (Verdict, Reason) = (Verdict::Admit, Reason::Good);
pub(super) const REFER: (Verdict, Reason) = (Verdict::Refer, Reason::Refer);
pub(super) const STALE: (Verdict, Reason) = (Verdict::Undetermined, Reason::Stale);

pub(super) const fn deny(reason: Reason) -> (Verdict, Reason) {
    (Verdict::Deny, reason)
}

/// Whether it is this answer.
pub(super) fn is(response: &CheckResponse, (verdict, reason): (Verdict, Reason)) -> bool {
    response.verdict() == verdict && response.reason() == reason
}

/// An answer's name for people: `ADMIT`, `DENY WRONG_ZONE`, `REFER`.
pub(super) fn name((verdict, reason): (Verdict, Reason)) -> String {
    let verdict = verdict.as_str_name().trim_start_matches("VERDICT_");
    match reason {
        Reason::Good | Reason::Refer | Reason::Unspecified => verdict.to_owned(),
        reason => format!("{verdict} {}", reason.as_str_name().trim_start_matches("REASON_")),
    }
}

/// What came back, for people.
pub(super) fn show(response: &CheckResponse) -> String {
    let mut text = name((response.verdict(), response.reason()));
    if !response.category.is_empty() {
        text.push_str(&format!(" {}", response.category));
    }
    if response.stale {
        text.push_str(", marked as not fresh");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_read_like_the_design() {
        assert_eq!(name(ADMIT), "ADMIT");
        assert_eq!(name(REFER), "REFER");
        assert_eq!(name(STALE), "UNDETERMINED STALE");
        assert_eq!(name(deny(Reason::WrongZone)), "DENY WRONG_ZONE");
        let response = CheckResponse {
            verdict: Verdict::Admit.into(),
            reason: Reason::Good.into(),
            category: "Official".into(),
            stale: true,
            ..Default::default()
        };
        assert!(is(&response, ADMIT));
        assert_eq!(show(&response), "ADMIT Official, marked as not fresh");
    }
}
