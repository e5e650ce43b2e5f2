//! The demo's event: small, quick, and shortly after midnight wherever it is run.

use std::collections::BTreeMap;

use jiff::ToSpan as _;
use jiff::civil::Date;
use lanyard_ceremony::{EventPlan, Member, PlannedEpochs, PlannedGate, PlannedHolders};
use lanyard_core::decision::{AccessPoint, StalenessTier};
use lanyard_core::ids::{Epoch, EventId, Timestamp};
use lanyard_core::manifest::{Padding, Quota, Screening, Venue, Zone};
use lanyard_core::profile::EventTimeZone;
use lanyard_wire::committee::v1::Profile;

use super::error::DemoError;

/// Milliseconds from one tick to the next.
pub(super) const TICK_MILLIS: u64 = 1_000;

/// The gate that follows the honest sponsor, and the one whose sponsor lies.
pub(super) const GATE_1: &str = "gate-1";
pub(super) const GATE_2: &str = "gate-2";

/// Doors of the first gate.
pub(super) const MAIN: &str = "sta-main";
pub(super) const SERVICE: &str = "sta-service";
pub(super) const VAULT: &str = "sta-vault";
pub(super) const POOL: &str = "aqu-main";
/// The door of the second.
pub(super) const NORTH: &str = "sta-north";

/// Up to this age, knowledge is as good as new at the vault; beyond the other, it says nothing there.
pub(super) const VAULT_FRESH_SECONDS: u32 = 3;
pub(super) const VAULT_LIMIT_SECONDS: u32 = 6;

/// Access profiles.
pub(super) const CREW: &str = "crew";
pub(super) const EVERYWHERE: &str = "everywhere";
pub(super) const TOMORROW: &str = "tomorrow";
pub(super) const NIGHT: &str = "night";
pub(super) const PATROL: &str = "patrol";

pub(super) const CATEGORY: &str = "Volunteer";
pub(super) const CATEGORY_ALL: &str = "Official";

/// The zone in which it is now the hour after midnight: sessions of yesterday evening still run, and the epoch is young.
pub(super) fn time_zone(now: Timestamp) -> Result<EventTimeZone, DemoError> {
    let hour = now.seconds() / 3_600 % 24;
    // POSIX signs: Etc/GMT+5 is five hours behind UTC.
    let name = match hour {
        0 => "Etc/UTC".to_owned(),
        1..=12 => format!("Etc/GMT+{hour}"),
        _ => format!("Etc/GMT-{}", 24 - hour),
    };
    Ok(EventTimeZone::parse(&name)?)
}

/// The event's date now.
pub(super) fn today(zone: &EventTimeZone, now: Timestamp) -> Date {
    zone.local(now).date()
}

/// The plan for about so many people and entries of lists.
pub(super) fn event_plan(zone: EventTimeZone, evaluations: u64) -> Result<EventPlan, DemoError> {
    let tier = |fresh_seconds, limit_seconds| StalenessTier { fresh_seconds, limit_seconds };
    let tiers =
        [("normal", tier(60, 3_600)), ("strict", tier(VAULT_FRESH_SECONDS, VAULT_LIMIT_SECONDS))];
    let gate = |name: &str, points: &[&str]| -> Result<PlannedGate, DemoError> {
        Ok(PlannedGate {
            name: name.parse()?,
            access_points: points.iter().map(|id| (*id).to_owned()).collect(),
            upstreams: vec![Member::Sponsor],
        })
    };
    Ok(EventPlan {
        event: EventId::parse("demo-games")?,
        title: "Demo Games".to_owned(),
        time_zone: zone,
        tick_millis: TICK_MILLIS as u32,
        skew_millis: 5_000,
        quorum: 2,
        witnesses: vec![Member::Trustee, Member::Committee, Member::Police, Member::Sponsor],
        withdrawn: vec![],
        foreign_witnesses: vec![],
        categories: vec![CATEGORY.to_owned(), CATEGORY_ALL.to_owned()],
        revoked_certificates: vec![],
        epochs: PlannedEpochs {
            first: Epoch::new(1),
            length_minutes: 1_440,
            publish_lead_minutes: 60,
        },
        padding: Padding {
            reseals: [256, 4_096, 65_536],
            decoy_floor: 1_024,
            decoy_percent: 5,
            catch_up_percent: 1,
            sponsor_reseal_seconds: 5,
        },
        screening: Screening { verdict_delay_seconds: 1, secondary_check_per_10k: 0 },
        share_holders: PlannedHolders {
            threshold: 2,
            holders: vec![Member::Trustee, Member::Committee, Member::Police],
        },
        staleness_tiers: tiers
            .into_iter()
            .map(|(name, tier)| (name.to_owned(), tier))
            .collect::<BTreeMap<_, _>>(),
        venues: vec![venue("STA", "Demo Stadium"), venue("AQU", "Demo Pool")],
        zones: vec![
            zone_of("PUB", "Public areas", "normal"),
            zone_of("BOH", "Back of house", "normal"),
            zone_of("VLT", "Vault", "strict"),
        ],
        access_points: vec![
            access_point(MAIN, "STA", "PUB"),
            access_point(SERVICE, "STA", "BOH"),
            access_point(VAULT, "STA", "VLT"),
            access_point(POOL, "AQU", "PUB"),
            access_point(NORTH, "STA", "PUB"),
        ],
        gates: vec![gate(GATE_1, &[MAIN, SERVICE, VAULT, POOL])?, gate(GATE_2, &[NORTH])?],
        expelled: vec![],
        quotas: quotas(evaluations),
    })
}

fn venue(code: &str, name: &str) -> Venue {
    Venue { code: code.to_owned(), name: name.to_owned() }
}

fn zone_of(code: &str, name: &str, tier: &str) -> Zone {
    Zone { code: code.to_owned(), name: name.to_owned(), tier: tier.to_owned() }
}

fn access_point(id: &str, venue: &str, zone: &str) -> AccessPoint {
    AccessPoint { id: id.to_owned(), venue: venue.to_owned(), zone: zone.to_owned() }
}

fn quotas(evaluations: u64) -> Vec<Quota> {
    let uses = [
        ("trustee", "committee", "enrolment"),
        ("trustee", "police", "watchlist"),
        ("trustee", "police", "check"),
        ("police", "committee", "enrolment"),
        ("committee", "police", "watchlist"),
        ("committee", "police", "check"),
    ];
    let quota = |(holder, caller, purpose): (&str, &str, &str)| Quota {
        holder: holder.to_owned(),
        caller: caller.to_owned(),
        purpose: purpose.to_owned(),
        evaluations,
    };
    uses.into_iter().map(quota).collect()
}

/// The access profiles, around the event's date now.
pub(super) fn profiles(today: Date) -> Result<Vec<Profile>, DemoError> {
    let yesterday = today.checked_sub(1.day())?;
    let tomorrow = today.checked_add(1.day())?;
    let profile = |code: &str, category: &str, zones: &[&str], sessions: Vec<String>| Profile {
        code: code.to_owned(),
        category: category.to_owned(),
        venues: vec!["STA".to_owned()],
        zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
        sessions,
        police: false,
    };
    Ok(vec![
        profile(CREW, CATEGORY, &["PUB"], vec![]),
        profile(TOMORROW, CATEGORY, &["PUB"], vec![format!("{tomorrow} 08:00-22:00")]),
        profile(NIGHT, CATEGORY, &["PUB"], vec![format!("{yesterday} 22:00-02:00")]),
        Profile { venues: vec![], ..profile(EVERYWHERE, CATEGORY_ALL, &[], vec![]) },
        Profile { police: true, ..profile(PATROL, CATEGORY_ALL, &["PUB"], vec![]) },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_hour_after_midnight_whenever_the_demo_runs() {
        for hour in 0..48 {
            let now = Timestamp::from_seconds(1_800_000_000 + hour * 3_600 + 59 * 60);
            let zone = time_zone(now).unwrap();
            let local = zone.local(now);
            assert_eq!(local.hour(), 0, "{} at {local}", zone.name());
            assert_eq!(profiles(today(&zone, now)).unwrap().len(), 5);
        }
    }

    #[test]
    fn the_plan_holds() {
        let zone = EventTimeZone::parse("Etc/GMT-3").unwrap();
        event_plan(zone, 1_000).unwrap().check().unwrap();
    }
}
