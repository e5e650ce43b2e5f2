//! The trustee on the wire.

#![allow(clippy::disallowed_methods)] // a free port

#[path = "../../ceremony/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use lanyard_ceremony::{CeremonyError, EventPlan, Seat, Step, add_gates};
use lanyard_core::manifest::Quota;
use lanyard_core::oprf::BlindedElement;
use lanyard_env::Env;
use lanyard_party::{Folder, ManifestStore, expected, trust_anchors};
use lanyard_shareholder::{Ledger, reason};
use lanyard_transport::{Role, Tls, http1, status};
use lanyard_wire::pseudonym::v1::key_share_service_client::KeyShareServiceClient;
use lanyard_wire::pseudonym::v1::{EvaluateRequest, EvaluateResponse, GetUsageRequest, Purpose};
use tonic::Status;
use tonic::transport::Channel;

use self::support::{Running, event_of, eventually, sample};

#[tokio::test(flavor = "multi_thread")]
async fn share_and_witness_answer_whom_they_may() {
    let event = event_of(&sample());
    for _ in ["the first start", "the second, with the key that the first drew"] {
        let trustee = Running::start(&event, "trustee", lanyard_trustee::serve);
        let operator = Some((Role::Operator, "operator"));
        let own = KeyShareServiceClient::new(trustee.channel_as(&trustee.folder, operator));
        let usage = eventually(|| {
            let mut own = own.clone();
            async move { own.get_usage(GetUsageRequest {}).await }
        });
        let usages = usage.await.into_inner().usages;
        assert_eq!(usages.len(), 3);
        assert!(usages.iter().all(|usage| usage.used == 0 && usage.quota > 0));

        let committee = event.path().join("committee");
        let other = trustee.channel_as(&committee, Some((Role::Operator, "registrar")));
        let refused = KeyShareServiceClient::new(other).get_usage(GetUsageRequest {}).await;
        let refused = status::reason(&refused.unwrap_err());
        assert_eq!(refused.as_deref(), Some(status::NOT_ALLOWED));

        let env = Env::system();
        let folder = Folder::open(&committee, &env);
        let anchors = trust_anchors(&ManifestStore::open(&folder).unwrap().current()).unwrap();
        let tls = Tls::new(&env, folder.service_identity().unwrap(), anchors);
        let (address, expected) = (trustee.address.to_string(), expected("trustee").unwrap());
        let path = "/witness/add-checkpoint";
        let answer = http1::post(&env, &tls, &address, &expected, path, "no request").await;
        assert_eq!(answer.unwrap().status, 400);
        trustee.stop().await;
    }
}

/// A batch of the committee's for the trustee.
fn batch(id: u8, count: usize, generation: u32) -> EvaluateRequest {
    let inputs: Vec<_> = (0..count).map(|number| [id, u8::try_from(number).unwrap()]).collect();
    let inputs: Vec<&[u8]> = inputs.iter().map(<[u8; 2]>::as_slice).collect();
    let state = lanyard_core::oprf::blind(&inputs, &mut Env::system().rng()).unwrap();
    EvaluateRequest {
        purpose: Purpose::Enrolment.into(),
        batch_id: vec![id; 16],
        quorum: vec![1, 2],
        blinded_elements: BlindedElement::encode_batch(state.blinded()),
        generation,
    }
}

/// Asks until the answer is as hoped for: the folder is looked into every few seconds.
async fn until<T>(
    client: &KeyShareServiceClient<Channel>,
    request: &EvaluateRequest,
    mut hoped: impl FnMut(Result<EvaluateResponse, Status>) -> Option<T>,
) -> T {
    for _ in 0..150 {
        let answer = client.clone().evaluate(request.clone()).await;
        if let Some(found) = hoped(answer.map(tonic::Response::into_inner)) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the trustee does not follow its folder")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_raised_by_a_manifest_while_the_trustee_runs() {
    let mut plan = sample();
    let quota = |plan: &mut EventPlan, evaluations| {
        let of_trustee =
            |quota: &&mut Quota| quota.holder == "trustee" && quota.purpose == "enrolment";
        plan.quotas.iter_mut().find(of_trustee).unwrap().evaluations = evaluations;
    };
    quota(&mut plan, 10);
    let event = event_of(&plan);
    let trustee = Running::start(&event, "trustee", lanyard_trustee::serve);
    let committee = trustee.channel_as(&event.path().join("committee"), None);
    let client = KeyShareServiceClient::new(committee);
    let first = batch(1, 10, 1);
    let answer = eventually(|| {
        let mut client = client.clone();
        let first = first.clone();
        async move { client.evaluate(first).await }
    });
    assert_eq!(answer.await.into_inner().remaining, 0);
    // One more than the quota, and nothing is counted for it.
    let second = batch(2, 1, 1);
    let refused = client.clone().evaluate(second.clone()).await.unwrap_err();
    assert_eq!(status::reason(&refused).as_deref(), Some(reason::QUOTA_EXCEEDED));
    // What was done before is answered again, and counted once.
    assert_eq!(client.clone().evaluate(first.clone()).await.unwrap().into_inner().remaining, 0);

    quota(&mut plan, 12);
    let env = Env::system();
    add_gates(&env, event.path(), &plan, &BTreeMap::new()).unwrap();
    let answer = until(&client, &second, Result::ok).await;
    assert_eq!(answer.remaining, 1);
    trustee.stop().await;

    let folder = Folder::open(event.path().join("trustee"), &env);
    let counts = Ledger::counts_in(&env, &folder.evaluations_dir(), &plan.event, "trustee");
    assert_eq!(counts.unwrap().into_values().collect::<Vec<_>>(), [11]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_trustee_follows_a_refresh() {
    let event = event_of(&sample());
    let trustee = Running::start(&event, "trustee", lanyard_trustee::serve);
    let committee = trustee.channel_as(&event.path().join("committee"), None);
    let client = KeyShareServiceClient::new(committee);
    let seats = ["trustee", "committee", "police"].map(|holder| {
        let (folder, exchange) = (event.path().join(holder), event.path().join("exchange"));
        Seat::open(&Env::system(), &folder, &exchange).unwrap()
    });
    let all = |take: fn(&Seat) -> Result<Step, CeremonyError>| {
        for seat in &seats {
            take(seat).unwrap();
        }
    };
    let old = batch(1, 3, 1);
    let new = EvaluateRequest { generation: 2, ..old.clone() };
    eventually(|| {
        let (mut client, old) = (client.clone(), old.clone());
        async move { client.evaluate(old).await }
    })
    .await;
    let refused = client.clone().evaluate(new.clone()).await.unwrap_err();
    assert_eq!(status::reason(&refused).as_deref(), Some(reason::SHARE_GENERATION));
    all(Seat::refresh_round1);
    all(Seat::refresh_round2);
    all(Seat::refresh_round3);
    // Confirmed, not yet in force: whoever switches first is answered, at once.
    client.clone().evaluate(new.clone()).await.unwrap();
    all(Seat::refresh_switch);
    client.clone().evaluate(old.clone()).await.unwrap();
    all(Seat::refresh_finish);
    let refused = until(&client, &old, Result::err).await;
    assert_eq!(status::reason(&refused).as_deref(), Some(reason::SHARE_GENERATION));
    client.clone().evaluate(new).await.unwrap();
    trustee.stop().await;
}
