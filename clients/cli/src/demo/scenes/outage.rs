//! One witness is down; then the sponsor is.

use std::time::{Duration, Instant};

use lanyard_ceremony::Member;
use lanyard_wire::gate::v1::CheckResponse;

use super::{ADMIT, Play, STALE, is, name, show};
use crate::demo::error::DemoError;
use crate::demo::ledger::Seen;
use crate::demo::plan::{GATE_1, MAIN, VAULT, VAULT_LIMIT_SECONDS};
use crate::demo::world::{PATIENCE, World, eventually};

/// Ticks that must reach their quorum without the trustee.
const TICKS: u64 = 3;

impl Play<'_> {
    pub(super) async fn outage(&mut self) -> Result<(), DemoError> {
        let text = self.text(self.cast.everywhere)?;
        self.witness_down(&text).await?;
        self.sponsor_down(&text).await
    }

    async fn witness_down(&mut self, text: &str) -> Result<(), DemoError> {
        self.world.cluster.kill(&Member::Trustee).await?;
        let (world, ledger) = (&*self.world, &mut *self.ledger);
        let attempt = async {
            let before = world.publication().await?;
            eventually("ticks reach their quorum", PATIENCE, async || {
                let now = world.publication().await?;
                let done =
                    before.iter().zip(&now).all(|(old, new)| new.quorum >= old.quorum + TICKS);
                Ok(done.then_some(()))
            })
            .await?;
            let response = world.gate_1.check(&world.env, text, MAIN).await?;
            let found = format!("{TICKS} ticks cosigned; {}", show(&response));
            Ok(Seen::new(is(&response, ADMIT) && !response.stale, found))
        };
        let expected = "the others cosign, ADMIT";
        ledger.expect("one witness down (trustee killed)", expected, attempt).await;
        Ok(self.world.cluster.start(&Member::Trustee)?)
    }

    async fn sponsor_down(&mut self, text: &str) -> Result<(), DemoError> {
        self.at_the_vault(text, "vault, in touch", "ADMIT").await;
        self.world.cluster.kill(&Member::Sponsor).await?;
        let killed = Instant::now();
        let (world, ledger) = (&*self.world, &mut *self.ledger);
        let attempt = async {
            let response = aged(world, text).await?;
            Ok(Seen::new(is(&response, ADMIT), with_age(&response)))
        };
        ledger
            .expect(
                "sponsor killed: the gate goes on",
                "ADMIT, with the age of what it knows",
                attempt,
            )
            .await;
        let attempt = async {
            let mut answers: Vec<CheckResponse> = Vec::new();
            let last = eventually(&name(STALE), PATIENCE, async || {
                let response = world.gate_1.check(&world.env, text, VAULT).await?;
                answers.push(response.clone());
                Ok(is(&response, STALE).then_some(response))
            })
            .await?;
            let marked = answers.iter().find(|answer| is(answer, ADMIT) && answer.stale);
            let found = format!(
                "{}, then {}",
                marked.map_or_else(|| "never marked".to_owned(), with_age),
                with_age(&last)
            );
            let in_time = last.age_seconds >= u64::from(VAULT_LIMIT_SECONDS);
            Ok(Seen::new(marked.is_some() && in_time, found).after(killed.elapsed()))
        };
        let expected =
            format!("ADMIT marked as not fresh, UNDETERMINED STALE after {VAULT_LIMIT_SECONDS} s");
        ledger.expect("sponsor killed: at the vault", &expected, attempt).await;
        self.restarted_offline(text).await?;
        self.world.cluster.start(&Member::Sponsor)?;
        self.at_the_vault(text, "sponsor back: at the vault", "ADMIT, fresh").await;
        Ok(())
    }

    /// Kill -9, and a start without anybody to follow.
    async fn restarted_offline(&mut self, text: &str) -> Result<(), DemoError> {
        self.world.cluster.restart(&Member::Gate(GATE_1.parse()?)).await?;
        let (world, ledger) = (&*self.world, &mut *self.ledger);
        let attempt = async {
            let door = eventually("the gate is back", PATIENCE, async || {
                Ok(Some(world.gate_1.check(&world.env, text, MAIN).await?))
            })
            .await?;
            let vault = world.gate_1.check(&world.env, text, VAULT).await?;
            let found = format!("{}; vault: {}", with_age(&door), show(&vault));
            Ok(Seen::new(is(&door, ADMIT) && is(&vault, STALE), found))
        };
        let expected = "ADMIT from disk; vault: UNDETERMINED STALE";
        ledger.expect("gate killed and started offline", expected, attempt).await;
        Ok(())
    }

    async fn at_the_vault(&mut self, text: &str, scenario: &str, expected: &str) {
        let (world, ledger) = (&*self.world, &mut *self.ledger);
        let attempt = async {
            let response = eventually("ADMIT", PATIENCE, async || {
                let response = world.gate_1.check(&world.env, text, VAULT).await?;
                Ok((is(&response, ADMIT) && !response.stale).then_some(response))
            })
            .await?;
            Ok(Seen::new(true, show(&response)))
        };
        ledger.expect(scenario, expected, attempt).await;
    }
}

/// A check whose answer says that what the gate knows is some seconds old.
async fn aged(world: &World, text: &str) -> Result<CheckResponse, DemoError> {
    eventually("an answer that says its age", Duration::from_secs(30), async || {
        let response = world.gate_1.check(&world.env, text, MAIN).await?;
        Ok((response.age_seconds >= 2).then_some(response))
    })
    .await
}

fn with_age(response: &CheckResponse) -> String {
    format!("{}, knowledge {} s old", show(response), response.age_seconds)
}
