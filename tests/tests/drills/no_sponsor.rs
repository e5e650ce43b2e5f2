//! The sponsor is cut off for good, its folder gone with it.

use lanyard_ceremony::{EventPlan, Member, withdraw_sponsor};
use lanyard_core::decision::AccessPoint;
use lanyard_core::ids::Authority;
use lanyard_env::Env;
use lanyard_party::{Folder, Generation, ManifestStore};
use lanyard_tests::{Desk, eventually, run_together, sample_plan};
use lanyard_wire::common::v1::StatusAction;

use crate::world::{copy, may_follow, news_flow, published, says, says_at, started};

const NORTH: &str = "sta-north";

/// The first gate has another upstream, the second follows the sponsor alone.
fn plan() -> EventPlan {
    let mut plan = sample_plan();
    plan.gates[0].upstreams = vec![Member::Sponsor, Member::Committee];
    let (id, venue, zone) = (NORTH.to_owned(), "STA".to_owned(), "PUB".to_owned());
    plan.access_points.push(AccessPoint { id, venue, zone });
    let mut second = plan.gates[0].clone();
    second.name = "gate-2".parse().unwrap();
    second.access_points = vec![NORTH.to_owned()];
    second.upstreams = vec![Member::Sponsor];
    plan.gates.push(second);
    plan
}

#[test]
fn an_event_goes_on_without_the_sponsor() {
    let mut event = started(&plan(), Env::system());
    // Made while the sponsor's folder is there.
    let (first, second) = (Desk::of(&event), Desk::at(&event, "gate-2"));
    let badges = run_together(async {
        let badges = published(&first).await;
        says_at(&second, &badges[2], NORTH, "ADMIT").await;
        badges
    });
    let kept = tempfile::tempdir().unwrap();
    copy(&event.folder("sponsor"), kept.path());
    event.stop("sponsor");
    std::fs::remove_dir_all(event.folder("sponsor")).unwrap();

    run_together(async {
        // A gate with another upstream goes on by itself; the other one decides on what it has.
        news_flow(&first, &badges[1], "P-0001").await;
        first.committee_says(StatusAction::Suspend, "P-0002").await.unwrap();
        says(&first, &badges[2], "REFER").await;
        assert_eq!(second.check(&badges[2], NORTH).await.unwrap().verdict, "ADMIT");
        assert!(may_follow(&event, kept.path()).await, "nobody has cut it off yet");
    });

    let changed = withdraw_sponsor(event.env(), event.dir()).unwrap();
    let names: Vec<_> =
        changed.iter().map(|one| (one.member.name(), one.has_other_upstreams)).collect();
    let others = [("committee", false), ("police", false), ("gate-1", false)];
    assert_eq!(names, [&others[..], &[("gate-2", true)]].concat());
    assert_eq!(withdraw_sponsor(event.env(), event.dir()).unwrap(), []);
    event.stop("gate-2");
    event.start("gate-2");
    run_together(async {
        says_at(&second, &badges[2], NORTH, "REFER").await;
        news_flow(&first, &badges[1], "P-0001").await;
        eventually("the sponsor is shut out", async || {
            (!may_follow(&event, kept.path()).await).then_some(())
        })
        .await;
    });
    // Started again, with what the configuration says now.
    event.stop("committee");
    event.start("committee");
    run_together(news_flow(&first, &badges[0], "P-0000"));
    let folder = Folder::open(event.folder("committee"), event.env());
    let manifest = ManifestStore::open(&folder).unwrap().current();
    assert_eq!((manifest.version, manifest.quorum), (2, 2));
    assert!(manifest.party("sponsor").is_none() && manifest.witness("sponsor").is_none());
    for authority in Authority::ALL {
        assert_eq!(manifest.witnesses_of(authority).count(), 2);
    }
    // No key was made anew.
    assert_eq!(folder.generation_in_force().unwrap(), Generation::FIRST);
}
