//! The trustee withdraws, and another party takes its place while everyone else goes on serving.

use std::path::Path;

use lanyard_ceremony::{Member, TakenOver, replace_trustee};
use lanyard_core::ids::Epoch;
use lanyard_core::ids::{Audience, Authority};
use lanyard_env::Env;
use lanyard_party::{Folder, Generation, ManifestStore, expected, trust_anchors};
use lanyard_shareholder::{Counts, Ledger, Purpose};
use lanyard_tests::{Desk, TestEvent, eventually, list_entry, people, run_together, sample_plan};
use lanyard_transport::{Role, Tls, connect, status};
use lanyard_wire::feed::v1::feed_service_client::FeedServiceClient;
use lanyard_wire::feed::v1::{DirectoryId, LookupRequest};
use lanyard_wire::pseudonym::v1::GetUsageRequest;
use tonic::Status;

use crate::world::{news_flow, published, says, started};

fn counted(env: &Env, folder: &Path) -> Counts {
    let folder = Folder::open(folder, env);
    let event = ManifestStore::open(&folder).unwrap().current().event.clone();
    Ledger::counts_in(env, &folder.evaluations_dir(), &event, "trustee").unwrap()
}

/// What the running trustee says that it counted for enrolment.
async fn enrolments(event: &TestEvent) -> u64 {
    let operator = event.person("trustee", Role::Operator);
    let mut client = operator.key_share().unwrap();
    let usages = client.get_usage(GetUsageRequest {}).await.unwrap().into_inner().usages;
    let of = |usage: &&lanyard_wire::pseudonym::v1::Usage| {
        Purpose::from_wire(usage.purpose) == Some(Purpose::Enrolment)
    };
    usages.iter().find(of).map_or(0, |usage| usage.used)
}

/// A call with the certificate in a folder, to the police.
async fn call_police(event: &TestEvent, folder: &Path) -> Result<(), Status> {
    let folder = Folder::open(folder, event.env());
    let manifest = ManifestStore::open(&folder).unwrap().current();
    let identity = folder.service_identity().unwrap();
    let tls = Tls::new(event.env(), identity, trust_anchors(&manifest).unwrap());
    let address = event.address("police").to_string();
    let channel = connect(event.env(), &tls, &address, &expected("police").unwrap()).unwrap();
    let request = LookupRequest {
        origin: manifest.origin(Authority::Police).as_str().to_owned(),
        directory: Some(DirectoryId::of(Epoch::new(1), Audience::Gate)),
        prefix: vec![0],
        prefix_bits: 8,
        known_size: 0,
    };
    FeedServiceClient::new(channel).lookup(request).await.map(drop)
}

#[test]
fn another_trustee_takes_over_and_pseudonyms_stay() {
    let mut plan = sample_plan();
    plan.gates[0].upstreams = vec![Member::Committee, Member::Sponsor];
    let mut event = started(&plan, Env::system());
    let badges = run_together(async {
        let badges = published(&Desk::of(&event)).await;
        call_police(&event, &event.folder("trustee")).await.unwrap();
        badges
    });
    // It must be stopped: its folder is in use.
    assert!(replace_trustee(event.env(), event.dir()).is_err());
    event.stop("trustee");
    let before = counted(event.env(), &event.folder("trustee"));
    assert!(before.values().sum::<u64>() > 0, "it has counted something");

    let (aside, taken) = replace_trustee(event.env(), event.dir()).unwrap();
    assert_eq!(taken, TakenOver::Counted(before.clone()));
    event.start("trustee");
    run_together(async {
        let used = before[&(Authority::Committee, Purpose::Enrolment)];
        assert_eq!(enrolments(&event).await, used, "no second quota begins");
        eventually("the old trustee is shut out", async || {
            let refused = call_police(&event, &aside).await.err()?;
            (status::is_unreachable(&refused)
                && refused.message().contains("refuses this party's certificate"))
            .then_some(())
        })
        .await;
    });
    // Of the two other witnesses of each log one is down, so that the new trustee's cosignature is needed.
    event.stop("sponsor");
    run_together(async {
        let desk = Desk::of(&event);
        news_flow(&desk, &badges[1], "P-0001").await;
        // People were enrolled under the old shares, the list is read under the new ones: they still meet.
        let listed = desk.list(vec![list_entry(1, &people(3)[2], true)]).await.unwrap();
        assert!(listed.finished, "{listed:?}");
        says(&desk, &badges[2], "REFER").await;
        assert_eq!(desk.check(&badges[0], crate::world::MAIN).await.unwrap().verdict, "ADMIT");
    });
    event.start("sponsor");

    let old = Folder::open(&aside, event.env()).held_share(Generation::FIRST).unwrap();
    let police = Folder::open(event.folder("police"), event.env());
    let new = police.held_share(police.generation_in_force().unwrap()).unwrap();
    assert_eq!(old.public().group_key(), new.public().group_key());
    assert!(old.share().check(new.public()).is_err(), "the old share is worth nothing");
}
