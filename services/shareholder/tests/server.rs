//! The key share service on the wire: who may ask, what is counted, what is refused.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lanyard_core::oprf::{self, BlindedElement};
use lanyard_core::threshold::{Evaluated, ShareIndex, verify_share};
use lanyard_party::{Generation, HeldShare};
use lanyard_shareholder::{Purpose, reason};
use lanyard_transport::{PartyName, PeerId, Role, status};
use lanyard_wire::pseudonym::v1 as wire;
use lanyard_wire::pseudonym::v1::key_share_service_client::KeyShareServiceClient;
use support::{Dealer, Net, TestHolder, TestShares, Wrapped, people, service};
use tonic::{Code, Status};

struct Fixture {
    dealer: Dealer,
    trustee: TestHolder,
}

impl Fixture {
    fn new() -> Self {
        Self { dealer: Dealer::new(2, 3), trustee: TestHolder::new(3, PartyName::Trustee) }
    }

    /// Starts the holder over its folder, again if called again.
    fn start(&self, caller: Option<PeerId>) -> Net {
        Net::serve_to(Wrapped::honest(self.trustee.server(&self.dealer)), caller)
    }

    fn request(&self, purpose: Purpose, batch_id: u8, count: usize) -> wire::EvaluateRequest {
        let keys = people(count);
        let inputs: Vec<_> = keys.iter().map(|key| key.as_bytes()).collect();
        let state = oprf::blind(&inputs, &mut self.dealer.env.rng()).unwrap();
        wire::EvaluateRequest {
            purpose: wire::Purpose::from(purpose).into(),
            batch_id: vec![batch_id; 16],
            quorum: vec![1, 3],
            generation: 1,
            blinded_elements: BlindedElement::encode_batch(state.blinded()),
        }
    }
}

async fn ask(net: &Net, request: &wire::EvaluateRequest) -> Result<wire::EvaluateResponse, Status> {
    let mut client = KeyShareServiceClient::new(net.channel());
    client.evaluate(request.clone()).await.map(tonic::Response::into_inner)
}

fn committee() -> Option<PeerId> {
    Some(service(PartyName::Committee))
}

#[tokio::test]
async fn a_retry_is_answered_and_counted_once_also_after_a_restart() {
    let fixture = Fixture::new();
    let request = fixture.request(Purpose::Enrolment, 1, 5);
    let mut answers = Vec::new();
    for _ in 0..2 {
        let net = fixture.start(committee());
        for _ in 0..2 {
            answers.push(ask(&net, &request).await.unwrap());
        }
    }
    for answer in &answers {
        assert_eq!(answer.evaluated_elements, answers[0].evaluated_elements);
        assert_eq!((answer.index, answer.remaining), (3, 1_000_000 - 5));
    }
    assert_eq!(fixture.trustee.used(Purpose::Enrolment), 5);

    // With another quorum, as after a fail-over: the same elements, so the same answer but for a factor.
    let net = fixture.start(committee());
    let other_quorum = wire::EvaluateRequest { quorum: vec![3, 2], ..request.clone() };
    let answer = ask(&net, &other_quorum).await.unwrap();
    assert_ne!(answer.evaluated_elements, answers[0].evaluated_elements);
    assert_eq!(fixture.trustee.used(Purpose::Enrolment), 5);

    let reused = fixture.request(Purpose::Enrolment, 1, 5);
    let refused = ask(&net, &reused).await.unwrap_err();
    assert_eq!(status::reason(&refused).as_deref(), Some(reason::BATCH_REUSED));
    assert_eq!(fixture.trustee.used(Purpose::Enrolment), 5);
}

#[tokio::test]
async fn one_more_than_the_quota_is_refused_and_nothing_is_lost() {
    let fixture = Fixture::new();
    fixture.trustee.quota.store(10, Ordering::SeqCst);
    let net = fixture.start(committee());
    assert_eq!(ask(&net, &fixture.request(Purpose::Enrolment, 1, 6)).await.unwrap().remaining, 4);
    let refused = ask(&net, &fixture.request(Purpose::Enrolment, 2, 5)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(status::reason(&refused).as_deref(), Some(reason::QUOTA_EXCEEDED));
    assert_eq!(fixture.trustee.used(Purpose::Enrolment), 6);
    assert_eq!(ask(&net, &fixture.request(Purpose::Enrolment, 3, 4)).await.unwrap().remaining, 0);
    assert!(ask(&net, &fixture.request(Purpose::Enrolment, 4, 1)).await.is_err());
    assert_eq!(fixture.trustee.used(Purpose::Enrolment), 10);
}

#[tokio::test]
async fn each_purpose_is_for_the_service_of_one_party() {
    let fixture = Fixture::new();
    let operator = PeerId::new(PartyName::Police, Role::Operator, "anna").unwrap();
    let callers = PartyName::ALL.iter().map(|party| Some(service(*party)));
    for caller in callers.chain([Some(operator), None]) {
        let net = fixture.start(caller.clone());
        for purpose in Purpose::ALL {
            let allowed = caller.as_ref().is_some_and(|caller| {
                caller.role() == Role::Service && caller.party().name() == purpose.caller().name()
            });
            let answer = ask(&net, &fixture.request(purpose, 1, 1)).await;
            assert_eq!(answer.is_ok(), allowed, "{caller:?} for {purpose}");
            if let (Some(_), Err(refused)) = (&caller, answer) {
                assert_eq!(refused.code(), Code::PermissionDenied);
                assert_eq!(status::reason(&refused).as_deref(), Some(reason::PURPOSE_NOT_ALLOWED));
            }
        }
    }
    for purpose in Purpose::ALL {
        assert_eq!(fixture.trustee.used(purpose), 1, "{purpose}");
    }
}

#[tokio::test]
async fn malformed_requests_are_refused_and_not_counted() {
    let fixture = Fixture::new();
    let net = fixture.start(committee());
    let good = fixture.request(Purpose::Enrolment, 1, 3);
    let quorum = |quorum: &[u32]| wire::EvaluateRequest { quorum: quorum.to_vec(), ..good.clone() };
    let elements = |change: fn(&mut Vec<u8>)| {
        let mut request = good.clone();
        change(&mut request.blinded_elements);
        request
    };
    for (what, request) in [
        ("no purpose", wire::EvaluateRequest { purpose: 0, ..good.clone() }),
        ("unknown purpose", wire::EvaluateRequest { purpose: 9, ..good.clone() }),
        ("no generation", wire::EvaluateRequest { generation: 0, ..good.clone() }),
        ("short id", wire::EvaluateRequest { batch_id: vec![1; 15], ..good.clone() }),
        ("long id", wire::EvaluateRequest { batch_id: vec![1; 17], ..good.clone() }),
        ("no quorum", quorum(&[])),
        ("quorum of one", quorum(&[3])),
        ("quorum of three", quorum(&[1, 2, 3])),
        ("twice", quorum(&[3, 3])),
        ("without the holder", quorum(&[1, 2])),
        ("index 0", quorum(&[0, 3])),
        ("index 256", quorum(&[256, 3])),
        ("unknown index", quorum(&[4, 3])),
        ("no elements", elements(Vec::clear)),
        ("truncated", elements(|bytes| bytes.truncate(95))),
        ("identity", elements(|bytes| bytes[32..64].fill(0))),
        ("non-canonical", elements(|bytes| bytes[32..64].fill(0xff))),
        ("too many", elements(|bytes| *bytes = bytes[..32].repeat(65_536))),
    ] {
        let refused = ask(&net, &request).await.err().unwrap_or_else(|| panic!("{what}"));
        assert_eq!(refused.code(), Code::InvalidArgument, "{what}: {refused}");
        assert_eq!(status::reason(&refused).as_deref(), Some(status::MALFORMED), "{what}");
    }
    assert_eq!(fixture.trustee.used(Purpose::Enrolment), 0);
    assert!(ask(&net, &good).await.is_ok());
}

#[tokio::test]
async fn what_cannot_be_counted_is_not_answered() {
    let fixture = Fixture::new();
    let net = fixture.start(committee());
    fixture.trustee.disk.set_space(Some(0));
    let request = fixture.request(Purpose::Enrolment, 1, 3);
    let refused = ask(&net, &request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(status::reason(&refused).as_deref(), Some(reason::STORE_UNAVAILABLE));
    assert!(!refused.message().contains('/'), "no path leaves: {}", refused.message());
    fixture.trustee.disk.set_space(None);
    assert_eq!(ask(&net, &request).await.unwrap().remaining, 1_000_000 - 3);
    assert_eq!(fixture.trustee.used(Purpose::Enrolment), 3);
}

#[tokio::test]
async fn counters_are_for_operators_of_the_holders_own_party() {
    let fixture = Fixture::new();
    ask(&fixture.start(committee()), &fixture.request(Purpose::Enrolment, 1, 7)).await.unwrap();
    let operator = |party| Some(PeerId::new(party, Role::Operator, "ben").unwrap());
    let usage = async |caller| {
        let net = fixture.start(caller);
        KeyShareServiceClient::new(net.channel()).get_usage(wire::GetUsageRequest {}).await
    };
    for caller in [operator(PartyName::Police), committee(), Some(service(PartyName::Trustee))] {
        assert_eq!(usage(caller).await.unwrap_err().code(), Code::PermissionDenied);
    }
    let usages = usage(operator(PartyName::Trustee)).await.unwrap().into_inner().usages;
    let expected = Purpose::ALL.map(|purpose| wire::Usage {
        caller: purpose.caller().name().to_owned(),
        purpose: wire::Purpose::from(purpose).into(),
        used: if purpose == Purpose::Enrolment { 7 } else { 0 },
        quota: 1_000_000,
    });
    assert_eq!(usages, expected);
}

#[tokio::test]
async fn each_generation_is_answered_with_its_own_share_until_it_is_destroyed() {
    let fixture = Fixture::new();
    let (first, second) = (&fixture.dealer, fixture.dealer.refreshed());
    let held = |generation, dealer: &Dealer| {
        let generation = Generation::new(generation).unwrap();
        HeldShare::new(generation, dealer.share(3), dealer.public()).unwrap()
    };
    let shares = Arc::new(TestShares::from([held(1, first), held(2, &second)]));
    let server = fixture.trustee.server_of(Arc::clone(&shares) as _);
    let net = Net::serve_to(Wrapped::honest(server), committee());
    let request = fixture.request(Purpose::Enrolment, 1, 2);
    let of = |generation| wire::EvaluateRequest { generation, ..request.clone() };
    let blinded = BlindedElement::parse_batch(&request.blinded_elements).unwrap();
    let check = |dealer: &Dealer, answer: &wire::EvaluateResponse| {
        let index = ShareIndex::new(3).unwrap();
        let evaluated = Evaluated::parse(index, &answer.evaluated_elements, &answer.proof).unwrap();
        let quorum = dealer.public().quorum(&[ShareIndex::new(1).unwrap(), index]).unwrap();
        verify_share(&dealer.public(), &quorum, &blinded, evaluated).is_ok()
    };
    for (in_force, generation) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        shares.put_in_force(in_force);
        let answer = ask(&net, &of(generation)).await.unwrap();
        assert_eq!(check(first, &answer), generation == 1);
        assert_eq!(check(&second, &answer), generation == 2);
    }
    // The same elements in either generation are the same batch.
    assert_eq!(fixture.trustee.used(Purpose::Enrolment), 2);
    shares.destroy(1);
    for gone in [1, 3] {
        let refused = ask(&net, &of(gone)).await.unwrap_err();
        assert_eq!(status::reason(&refused).as_deref(), Some(reason::SHARE_GENERATION));
        assert!(refused.message().contains("in force is 2"), "{}", refused.message());
    }
}
