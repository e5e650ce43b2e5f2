//! What a gate says of badges that nobody has touched since they were issued.

use lanyard_client::badge::derive_print;
use lanyard_client::call;
use lanyard_core::badge::{BadgeText, IssuingKey};
use lanyard_core::ids::{BadgeNumber, EventId, PrintNumber};
use lanyard_wire::gate::v1::Reason;
use lanyard_wire::police::v1::CheckBadgeRequest;
use lanyard_wire::screening::v1::Verdict;

use super::cases::{decide, disclose};
use super::{ADMIT, Play, REFER, deny, is, name, show};
use crate::demo::error::DemoError;
use crate::demo::ledger::Seen;
use crate::demo::plan::{MAIN, POOL, SERVICE};
use crate::demo::world::{PATIENCE, eventually};

impl Play<'_> {
    pub(super) async fn verdicts(&mut self) -> Result<(), DemoError> {
        let cast = self.cast;
        self.try_once("admitted", cast.everywhere, MAIN, ADMIT).await?;
        self.try_once("wrong zone", cast.crew, SERVICE, deny(Reason::WrongZone)).await?;
        self.try_once("wrong venue", cast.crew, POOL, deny(Reason::WrongVenue)).await?;
        self.try_once("wrong day", cast.tomorrow, MAIN, deny(Reason::WrongTime)).await?;
        self.try_once("session of yesterday evening, after midnight", cast.night, MAIN, ADMIT)
            .await?;
        self.try_once("expired", cast.expired, MAIN, deny(Reason::Expired)).await?;
        self.try_once("not yet valid", cast.early, MAIN, deny(Reason::NotYetValid)).await?;
        self.unknown_and_malformed().await?;
        self.not_cleared().await?;
        self.cleared_by_an_officer().await
    }

    /// Texts that no station of this event made.
    async fn unknown_and_malformed(&mut self) -> Result<(), DemoError> {
        let event = &self.world.manifest.event;
        let invented = IssuingKey::generate(&mut self.world.env.rng());
        let (number, print) = (BadgeNumber::new(1), PrintNumber::new(1));
        let unknown = derive_print(&invented, event, number, print).text;
        let other_event = EventId::parse("other-games")?;
        let secret = invented.badge_secret(&other_event, number, print);
        let foreign = BadgeText::new(&secret, &other_event);
        let good = self.text(self.cast.crew)?;
        let texts = [
            ("unknown badge, well formed", unknown.expose_str(), Reason::Unknown),
            ("misread badge", &good[..good.len() - 1], Reason::Malformed),
            ("badge of another event", foreign.expose_str(), Reason::Malformed),
        ];
        let (world, ledger) = (&*self.world, &mut *self.ledger);
        for (scenario, text, reason) in texts {
            let expected = deny(reason);
            let attempt = async {
                let response = world.gate_1.check(&world.env, text, MAIN).await?;
                Ok(Seen::new(is(&response, expected), show(&response)))
            };
            ledger.expect(scenario, &name(expected), attempt).await;
        }
        Ok(())
    }

    /// Somebody on the watchlist: the gate says nothing of it, the police's desk says all.
    async fn not_cleared(&mut self) -> Result<(), DemoError> {
        let person = self.cast.refused;
        if !self.planted.by_document.contains(&person) {
            // The list that was given has names only: an officer has looked.
            let (text, reason) = (self.text(person)?, "it is the person on the list");
            decide(self.world, &text, Verdict::Refused, reason).await?;
        }
        let first = self.check(person, MAIN).await?;
        self.try_once("not cleared: at the gate", person, MAIN, REFER).await?;
        self.referred.push(("not cleared", first));
        let text = self.text(person)?;
        let (world, ledger) = (&*self.world, &mut *self.ledger);
        let attempt = async {
            let request =
                CheckBadgeRequest { badge_text: text.to_string(), with_attestations: false };
            let case = world.police_desk.clone().check_badge(request).await;
            let case = call("ask the police's desk", case)?.subject.unwrap_or_default();
            let Some(found) = case.matches.first() else {
                return Ok(Seen::new(false, "no match"));
            };
            let verdict = case.verdict().as_str_name().trim_start_matches("VERDICT_");
            let text = format!("{verdict}: {} ({}, {})", case.reason, found.list, found.label);
            Ok(Seen::new(case.verdict() == Verdict::Refused, text))
        };
        ledger
            .expect("not cleared: at the police's desk", "REFUSED, with the list's entry", attempt)
            .await;
        Ok(())
    }

    /// Same name and birth date as somebody on the list, and another person.
    async fn cleared_by_an_officer(&mut self) -> Result<(), DemoError> {
        let person = self.cast.pending;
        let waiting = self.check(person, MAIN).await?;
        self.try_once("name and birth date on the list, undecided", person, MAIN, REFER).await?;
        self.referred.push(("undecided", waiting));
        let text = self.text(person)?;
        let (world, ledger) = (&*self.world, &mut *self.ledger);
        ledger
            .expect("the committee discloses who it is", "SEALED, HOLDS", disclose(world, &text))
            .await;
        let attempt = async {
            decide(world, &text, Verdict::Cleared, "another person of that name").await?;
            let response = eventually("ADMIT", PATIENCE, async || {
                let response = world.gate_1.check(&world.env, &text, MAIN).await?;
                Ok(is(&response, ADMIT).then_some(response))
            })
            .await?;
            Ok(Seen::new(true, show(&response)))
        };
        ledger.expect("an officer clears the namesake", "ADMIT", attempt).await;
        Ok(())
    }
}
