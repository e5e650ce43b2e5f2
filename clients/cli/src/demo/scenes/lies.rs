//! A sponsor that lies to the second gate, while the first hears the truth.
//!
//! After each lie the gate leaves the liar alone for a while; here it is restarted instead, from what it kept.

use std::time::Duration;

use lanyard_ceremony::Member;
use lanyard_core::ids::Authority;
use lanyard_liar::Mode;
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::gate::v1::AuthorityState;

use super::stops::{police_change, wait_for};
use super::{ADMIT, Play, REFER, is, name, show};
use crate::demo::error::DemoError;
use crate::demo::ledger::Seen;
use crate::demo::plan::{GATE_2, NORTH};
use crate::demo::world::{PATIENCE, World, eventually};

/// A lie is told with the next tick; there must be one.
const CAUGHT: Duration = Duration::from_secs(20);

impl Play<'_> {
    pub(super) async fn lies(&mut self) -> Result<(), DemoError> {
        let lies = [
            ("sponsor forges a record", Authority::Committee, Mode::ForgeRecord),
            ("sponsor omits a record", Authority::Police, Mode::OmitChange),
            ("sponsor rolls back", Authority::Committee, Mode::RollBack),
        ];
        for (scenario, authority, mode) in lies {
            self.refresh_second_gate().await?;
            let text = self.text(self.cast.everywhere)?;
            let (world, ledger) = (&*self.world, &mut *self.ledger);
            let attempt = async {
                let caught = caught(world, authority, mode, async || Ok(())).await?;
                let kept = world.gate_2.check(&world.env, &text, NORTH).await?;
                let found = format!("{}; badges: {}", caught.text, show(&kept));
                Ok(Seen::new(caught.ok && is(&kept, ADMIT), found))
            };
            ledger.expect(scenario, "refused, evidence kept, nothing lost", attempt).await;
        }
        self.two_directories().await
    }

    /// The police suspend somebody; the sponsor shows it to one gate, and the rows of before to the other.
    async fn two_directories(&mut self) -> Result<(), DemoError> {
        self.refresh_second_gate().await?;
        let text = self.text(self.cast.hidden)?;
        let (world, ledger) = (&*self.world, &mut *self.ledger);
        let attempt = async {
            let mut first = None;
            let suspend = async || {
                police_change(world, StatusAction::Suspend, &text).await?;
                first = Some(wait_for(world, &text, REFER).await?);
                Ok(())
            };
            let caught = caught(world, Authority::Police, Mode::OtherRows, suspend).await?;
            let found = format!(
                "gate-1: {}; gate-2: {}",
                first.as_ref().map(show).unwrap_or_default(),
                caught.text
            );
            Ok(Seen::new(caught.ok && first.is_some(), found))
        };
        let expected = "one gate refers, the other refuses the rows and keeps evidence";
        ledger.expect("sponsor shows two gates two directories", expected, attempt).await;
        self.refresh_second_gate().await?;
        let (world, ledger) = (&*self.world, &mut *self.ledger);
        let attempt = async {
            let response = eventually(&name(REFER), PATIENCE, async || {
                let response = world.gate_2.check(&world.env, &text, NORTH).await?;
                Ok(is(&response, REFER).then_some(response))
            })
            .await?;
            Ok(Seen::new(true, show(&response)))
        };
        ledger.expect("the second gate, once it hears the truth", "REFER", attempt).await;
        Ok(())
    }

    /// Has the second gate hear the truth again, and all of it.
    async fn refresh_second_gate(&mut self) -> Result<(), DemoError> {
        for authority in Authority::ALL {
            self.world.liar.set_mode(authority, Mode::Honest);
        }
        let follows = async |world: &World| {
            for authority in Authority::ALL {
                let state = world.gate_2.state(authority).await?;
                if state.upstream.is_empty() || !state.problem.is_empty() {
                    return Ok::<_, DemoError>(false);
                }
            }
            Ok(true)
        };
        if !follows(self.world).await? {
            self.world.cluster.restart(&Member::Gate(GATE_2.parse()?)).await?;
            let world = &*self.world;
            eventually("the second gate follows again", PATIENCE, async || {
                Ok(follows(world).await?.then_some(()))
            })
            .await?;
        }
        let world = &*self.world;
        let published = world.publication().await?;
        eventually("the second gate has what is published", PATIENCE, async || {
            for (authority, published) in Authority::ALL.into_iter().zip(&published) {
                if world.gate_2.state(authority).await?.quorum_size < published.quorum {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await
    }
}

/// How a lie was met.
struct Caught {
    ok: bool,
    text: String,
}

/// Tells a lie about an authority, does what it is to hide, and looks at what the second gate makes of it.
async fn caught(
    world: &World,
    authority: Authority,
    mode: Mode,
    meanwhile: impl AsyncFnOnce() -> Result<(), DemoError>,
) -> Result<Caught, DemoError> {
    let before = world.gate_2.state(authority).await?;
    world.liar.set_mode(authority, mode);
    meanwhile().await?;
    let after = eventually("the gate leaves the liar", CAUGHT, async || {
        let now = world.gate_2.state(authority).await?;
        let left = now.upstream.is_empty() && !now.problem.is_empty();
        Ok(left.then_some(now))
    })
    .await?;
    world.liar.set_mode(authority, Mode::Honest);
    Ok(judge(world, &before, &after))
}

fn judge(world: &World, before: &AuthorityState, after: &AuthorityState) -> Caught {
    let Some(evidence) = after.evidence.get(before.evidence.len()) else {
        return Caught { ok: false, text: format!("no evidence; {}", after.problem) };
    };
    let gate = world.cluster.gates().pop();
    let file = gate.map(|gate| world.folder(&gate).join("data").join(&evidence.file));
    let is_there = file.as_ref().is_some_and(|file| file.is_file());
    // It may have taken honest ticks before the lie, and has not gone back.
    let ok = is_there && after.signed_size >= before.signed_size && after.key_present;
    let file = file.map(|file| file.display().to_string()).unwrap_or_default();
    let name = file.rsplit_once('/').map_or(file.as_str(), |(_, name)| name);
    Caught { ok, text: format!("{}, evidence {name}", evidence.kind) }
}
