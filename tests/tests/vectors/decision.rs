use lanyard_core::binding::Binding;
use lanyard_core::decision::{Cause, Decision, Finding, Knowledge, Question, StalenessTier, decide};
use lanyard_core::ids::Epoch;
use lanyard_core::profile::{EventTimeZone, ProfileTable};
use lanyard_core::record::{Minutes, ProfileId, Record, Status};
use serde_json::{Value, json};

use crate::format::{Cases, FileOf, Input, Outcome, hexed, kind, run, with};

pub(crate) const FILE: FileOf = FileOf {
    description: "The decision: what a gate says, and why exactly. Both authorities' knowledge goes in; the first condition that holds wins. \
        `shown` is all that the gate's display may show; it is the same for every cause of REFER. Times in milliseconds, bounds of records in \
        minutes. A finding is `missing` (directory or key), `absent`, `unreadable`, or a record.",
    shared,
    cases,
    run: operate,
};

/// Friday, 2028-07-14, 10:00 in UTC, noon in Paris.
const NOW: u64 = 1_847_181_600_000;

fn shared() -> Value {
    json!({
        "now": NOW, "time_zone": "Europe/Paris", "tier": { "fresh_seconds": 30, "limit_seconds": 1_800 },
        "access_point": { "id": "north-1", "venue": "STA", "zone": "BLUE" },
        "profiles": [
            { "id": 1, "category": "Athlete", "venues": ["STA"], "zones": ["BLUE"], "sessions": ["fri 08:00-18:00"] },
            { "id": 2, "category": "Media", "venues": ["POOL"], "zones": ["RED"], "sessions": ["mon 08:00-09:00"] },
            { "id": 3, "category": "Media", "venues": ["STA"], "zones": ["RED"], "sessions": ["mon 08:00-09:00"] },
            { "id": 4, "category": "Media", "venues": ["STA"], "zones": ["BLUE"], "sessions": ["mon 08:00-18:00"] },
        ],
        "secondary_check": false,
    })
}

fn operate(operation: &str, input: &Input<'_>) -> Outcome {
    let decision = match operation {
        "decide" => decided(input)?,
        "malformed" => Decision::malformed(),
        "code-of-epoch" => {
            let live = Epoch::new(input.u32("live_epoch"));
            match Decision::on_code_of(input.epoch().into(), &(live..=live)) {
                Some(decision) => decision,
                None => return Ok(json!("the code's epoch is live")),
            }
        }
        "worse" => decided(&input.inner("first"))?.worse(decided(&input.inner("second"))?),
        other => panic!("no operation {other}"),
    };
    Ok(json!({
        "verdict": decision.verdict().name(),
        "reason": decision.reason().map(|reason| reason.name()),
        "cause": decision.cause().name(),
        "shown": decision.shown().to_string(),
        "age_seconds": decision.age_seconds(),
        "stale": decision.marked_stale(),
        "category": decision.category().map(|category| &**category),
        "may_be_overridden": decision.may_be_overridden(),
    }))
}

fn decided(input: &Input<'_>) -> Result<Decision, String> {
    let profiles = run(ProfileTable::new(input.parse("profiles")))?;
    let time_zone = run(EventTimeZone::parse(input.text("time_zone")))?;
    let question = Question {
        access_point: &input.parse("access_point"),
        now: input.time("now"),
        time_zone: &time_zone,
        tier: input.parse::<StalenessTier>("tier"),
        profiles: &profiles,
        secondary_check: input.is("secondary_check"),
    };
    Ok(decide(&question, &knowledge(&input.inner("committee")), &knowledge(&input.inner("police"))))
}

fn knowledge(input: &Input<'_>) -> Knowledge {
    let finding = match input.get("finding").as_str() {
        Some("missing") => Finding::Missing,
        Some("absent") => Finding::Absent,
        Some("unreadable") => Finding::Unreadable,
        Some(other) => panic!("no finding {other}"),
        None => Finding::Found(record(&input.inner("finding"))),
    };
    Knowledge { finding, freshness: input.find("freshness").map(|_| input.time("freshness")) }
}

fn record(input: &Input<'_>) -> Record {
    Record {
        status: Status::ALL.into_iter().find(|it| kind(it) == input.text("status")).expect("a status"),
        profile: ProfileId::new(input.u16("profile")),
        not_before: Minutes::new(input.u32("not_before")),
        not_after: Minutes::new(input.u32("not_after")),
        binding: Binding::new(input.array("binding")),
    }
}

fn said(status: &str, profile: u16) -> Value {
    json!({
        "freshness": NOW - 2_000,
        "finding": {
            "status": status, "profile": profile, "not_before": 0, "not_after": u32::MAX, "binding": hexed([0xb1; 20]),
        },
    })
}

/// What is said, with changes of the record.
fn but(said: &Value, change: Value) -> Value {
    let finding = with(&said["finding"], change);
    with(said, json!({ "finding": finding }))
}

fn cases(cases: &mut Cases) {
    let (committee, police) = (said("valid", 1), said("valid", 0));
    let asked = |committee: &Value, police: &Value| json!({ "committee": committee, "police": police });
    let finding = |of: &Value, finding: &str| with(of, json!({ "finding": finding }));
    let fresh = |of: &Value, millis_ago: u64| with(of, json!({ "freshness": NOW - millis_ago }));
    let good = asked(&committee, &police);
    let minute = NOW / 60_000;
    let mut seen = Vec::new();
    let mut case = |name: &str, description: &str, cause: Cause, input: Value| {
        let mut complete = shared();
        complete.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
        let output = operate("decide", &Input::alone(&complete)).unwrap();
        assert_eq!(output["cause"], cause.name(), "{name}");
        seen.push(cause);
        cases.good(name, description, "decide", input);
    };

    case("admit", "Two fresh positive attestations", Cause::Admitted, good.clone());
    let unrestricted = asked(&said("valid", 0), &police);
    case("admit-unrestricted", "Profile 0: no restriction, no category", Cause::Admitted, unrestricted);
    let at_fresh = asked(&fresh(&committee, 30_000), &police);
    case("admit-at-fresh-bound", "As old as fresh may be", Cause::Admitted, at_fresh);
    let marked = asked(&fresh(&committee, 30_001), &police);
    case("admit-and-mark", "One millisecond older: marked", Cause::Admitted, marked);
    let at_limit = asked(&committee, &fresh(&police, 1_800_000));
    case("admit-at-limit", "As old as the zone allows", Cause::Admitted, at_limit);
    let last = asked(&but(&committee, json!({ "not_before": minute, "not_after": minute })), &police);
    case("admit-in-only-minute", "The first and last minute are inside", Cause::Admitted, last);

    case("stale-committee", "One millisecond too old", Cause::Stale, asked(&fresh(&committee, 1_800_001), &police));
    case("stale-police", "The older one counts", Cause::Stale, asked(&committee, &fresh(&police, 1_800_001)));
    let never = with(&police, json!({ "freshness": null }));
    case("stale-never-vouched", "No quorum ever vouched for it", Cause::Stale, asked(&committee, &never));
    let stale_revoked = asked(&fresh(&said("revoked", 1), 1_800_001), &police);
    case("stale-before-revoked", "Staleness comes first", Cause::Stale, stale_revoked);
    case("committee-missing", "No directory or key", Cause::CommitteeMissing, asked(&finding(&committee, "missing"), &police));
    case("police-missing", "No directory or key", Cause::PoliceMissing, asked(&committee, &finding(&police, "missing")));
    case("committee-unreadable", "The record does not open", Cause::CommitteeUnreadable, asked(&finding(&committee, "unreadable"), &police));
    case("police-unreadable", "The record does not open", Cause::PoliceUnreadable, asked(&committee, &finding(&police, "unreadable")));
    case("unknown", "The committee has no record", Cause::Unknown, asked(&finding(&committee, "absent"), &finding(&police, "absent")));
    let only_police = asked(&finding(&committee, "absent"), &police);
    case("unknown-known-to-police", "The police alone let nobody in", Cause::Unknown, only_police);
    case("revoked", "Taken back", Cause::Revoked, asked(&said("revoked", 1), &police));
    case("reprinted", "Another print replaced it", Cause::Reprinted, asked(&said("reprinted", 1), &police));
    let both = asked(&said("revoked", 1), &said("not-good", 0));
    case("revoked-before-not-good", "The committee's end comes first", Cause::Revoked, both);

    case("committee-suspended", "Stopped for now", Cause::CommitteeSuspended, asked(&said("suspended", 1), &police));
    for status in ["not-yet", "not-good", "invalid"] {
        let name = format!("committee-{status}");
        let description = "A status that the committee's record never has";
        case(&name, description, Cause::CommitteeNotGood, asked(&said(status, 1), &police));
    }
    case("police-absent", "The police do not know the badge", Cause::PoliceAbsent, asked(&committee, &finding(&police, "absent")));
    case("police-not-yet", "Screening has no verdict", Cause::PoliceNotYet, asked(&committee, &said("not-yet", 0)));
    for status in ["not-good", "suspended", "revoked", "reprinted", "invalid"] {
        let name = format!("police-{status}");
        case(&name, "Not cleared, or stopped", Cause::PoliceNotGood, asked(&committee, &said(status, 0)));
    }
    let swapped = asked(&but(&committee, json!({ "binding": hexed([0xb2; 20]) })), &police);
    case("bindings-differ", "Another person behind the clearance", Cause::BindingsDiffer, swapped);
    let none = json!({ "binding": hexed([0; 20]) });
    let none = asked(&but(&committee, none.clone()), &but(&police, none));
    case("bindings-none", "Nothing was submitted by either", Cause::BindingsDiffer, none);
    let chosen = with(&good, json!({ "secondary_check": true }));
    case("secondary-check", "Chance", Cause::SecondaryCheck, chosen);
    let suspended_expired = but(&said("suspended", 2), json!({ "not_after": 1 }));
    let description = "Referral comes before validity and place";
    case("suspended-before-expired", description, Cause::CommitteeSuspended, asked(&suspended_expired, &police));

    let later = json!({ "not_before": minute + 1 });
    case("not-yet-valid", "One minute early", Cause::NotYetValid, asked(&but(&committee, later.clone()), &police));
    case("not-yet-valid-police", "Either authority's bounds count", Cause::NotYetValid, asked(&committee, &but(&police, later)));
    let earlier = json!({ "not_after": minute - 1 });
    case("expired", "One minute late", Cause::Expired, asked(&but(&committee, earlier.clone()), &police));
    case("expired-police", "Either authority's bounds count", Cause::Expired, asked(&committee, &but(&police, earlier)));
    case("wrong-venue", "First of all the venue", Cause::WrongVenue, asked(&said("valid", 2), &police));
    case("wrong-zone", "Then the zone", Cause::WrongZone, asked(&said("valid", 3), &police));
    case("wrong-time", "Then day and hour", Cause::WrongTime, asked(&said("valid", 4), &police));
    case("profile-missing", "The table has no such profile", Cause::ProfileMissing, asked(&said("valid", 9), &police));
    case("police-profile", "The police have no table", Cause::ProfileMissing, asked(&committee, &said("valid", 1)));

    // The remaining causes come from elsewhere.
    let elsewhere = [Cause::Malformed, Cause::LetIn, Cause::KeptOut, Cause::ClockWrong];
    for cause in Cause::ALL {
        assert!(seen.contains(cause) || elsewhere.contains(cause), "no vector of {cause}");
    }
    cases.good("malformed", "A text that does not parse", "malformed", json!({}));
    for (name, epoch) in [("past", 6), ("live", 7), ("coming", 8)] {
        let input = json!({ "epoch": epoch, "live_epoch": 7 });
        cases.good(&format!("scoped-code-of-{name}-epoch"), "Codes name their epoch", "code-of-epoch", input);
    }
    let worse = |first: &Value, second: &Value| json!({ "first": first, "second": second });
    let deny = asked(&said("revoked", 1), &police);
    let refer = asked(&said("suspended", 1), &police);
    let old = asked(&fresh(&committee, 1_800_001), &police);
    let older = asked(&fresh(&committee, 20_000), &police);
    for (name, first, second) in [
        ("deny-over-refer", &refer, &deny),
        ("refer-over-undetermined", &old, &refer),
        ("undetermined-over-admit", &good, &old),
        ("older-of-two-admissions", &good, &older),
    ] {
        let description = "Of the signed state and the quorum's, the worse";
        cases.good(&format!("worse-{name}"), description, "worse", worse(first, second));
        cases.good(&format!("worse-{name}-reversed"), description, "worse", worse(second, first));
    }
}
