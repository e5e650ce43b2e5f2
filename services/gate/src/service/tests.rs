use lanyard_core::attestation::{Attestation, verify_attestation};
use lanyard_core::ids::Authority;
use lanyard_core::record::Status as RecordStatus;
use lanyard_transport::PeerId;

use super::*;
use crate::test_event::{TestEvent, badge_text, cleared, good, with};

struct Gate {
    event: TestEvent,
    server: GateServer,
    recorder: lanyard_env::Worker,
}

impl Gate {
    fn new() -> Self {
        let event = TestEvent::new();
        let (receipts, recorder) = Receipts::open(event.receipt_setup()).unwrap();
        let [committee, police] = event.checker.mirrors().map(Arc::clone);
        let checker = Checker::new(event.env.clone(), committee, police);
        let syncs = [(); 2].map(|()| watch::channel(SyncState::default()).1);
        let data = event.dir.path().to_owned();
        let rules = Arc::clone(&event.rules);
        let server = GateServer::new(checker, rules, receipts, syncs, data);
        Self { event, server, recorder }
    }

    async fn check(&self, request: wire::CheckRequest) -> Result<wire::CheckResponse, Status> {
        self.server.check(Request::new(request)).await.map(Response::into_inner)
    }

    async fn r#override(
        &self,
        peer: &str,
        request: wire::OverrideRequest,
    ) -> Result<wire::OverrideResponse, Status> {
        let mut request = Request::new(request);
        request.extensions_mut().insert(peer.parse::<PeerId>().unwrap());
        self.server.r#override(request).await.map(Response::into_inner)
    }

    async fn close(self) {
        drop(self.server);
        self.recorder.ended().await.unwrap();
    }
}

const SUPERVISOR: &str = "spiffe://gate/supervisor/ada";

fn request(badge: u8, nonce: u8) -> wire::CheckRequest {
    wire::CheckRequest {
        credential: badge_text(badge),
        access_point: "north-1".to_owned(),
        direction: wire::Direction::In.into(),
        nonce: vec![nonce; 16],
    }
}

fn reason(error: &Status) -> String {
    status::reason(error).unwrap_or_default()
}

#[tokio::test]
async fn a_check_says_verdict_category_and_receipt() {
    let gate = Gate::new();
    let admitted = gate.check(request(1, 1)).await.unwrap();
    assert_eq!((admitted.verdict(), admitted.reason()), (wire::Verdict::Admit, wire::Reason::Good));
    assert_eq!((admitted.category.as_str(), admitted.receipt_id), ("Athlete", 1));
    assert_eq!(gate.check(request(1, 1)).await.unwrap(), admitted);
    let unknown = gate.check(request(2, 2)).await.unwrap();
    assert_eq!((unknown.reason(), unknown.receipt_id), (wire::Reason::Unknown, 2));
    let malformed = wire::CheckRequest { credential: "no badge".to_owned(), ..request(1, 3) };
    let malformed = gate.check(malformed).await.unwrap();
    assert_eq!((malformed.reason(), malformed.receipt_id), (wire::Reason::Malformed, 3));
    gate.close().await;
}

#[tokio::test]
async fn malformed_requests_are_errors_and_leave_no_receipt() {
    let gate = Gate::new();
    let good = request(1, 1);
    for bad in [
        wire::CheckRequest { access_point: "south-1".to_owned(), ..good.clone() },
        wire::CheckRequest { access_point: String::new(), ..good.clone() },
        wire::CheckRequest { direction: 0, ..good.clone() },
        wire::CheckRequest { nonce: vec![1; 15], ..good.clone() },
    ] {
        let error = gate.check(bad).await.unwrap_err();
        assert_eq!(reason(&error), status::MALFORMED);
        assert!(!error.message().contains("LY1"), "{error}");
    }
    assert_eq!(gate.server.inner.receipts.count(), 0);
    gate.check(good).await.unwrap();
    let error = gate.check(request(2, 1)).await.unwrap_err();
    assert_eq!(reason(&error), status::MALFORMED);
    gate.close().await;
}

#[tokio::test]
async fn a_stream_answers_in_order_up_to_the_first_error() {
    let gate = Gate::new();
    let message = |checks: std::ops::Range<u8>| {
        let checks = checks.map(|number| request(number % 3, number)).collect();
        Ok(wire::CheckStreamRequest { checks })
    };
    let too_many = || message(0..u8::try_from(MAX_CHECKS).unwrap() + 1);
    let messages = vec![message(0..64), message(64..65), message(65..65), too_many()];
    let inner = Arc::clone(&gate.server.inner);
    let answers = inner.answer_all(tokio_stream::iter(messages)).collect::<Vec<_>>().await;
    let [first, second, third, fourth] = answers.try_into().unwrap();
    let results: Vec<_> = [first, second, third]
        .into_iter()
        .flat_map(|answer: Result<wire::CheckStreamResponse, _>| answer.unwrap().results)
        .collect();
    assert_eq!(results.len(), 65);
    for (number, result) in (0_u64..).zip(&results) {
        assert_eq!(result.receipt_id, number + 1);
        let admits = result.verdict() == wire::Verdict::Admit;
        assert_eq!(admits, number % 3 == 1, "check {number}");
    }
    assert_eq!(reason(&fourth.unwrap_err()), status::MALFORMED);
    gate.close().await;
}

#[tokio::test]
async fn supervisors_override_with_a_reason() {
    let gate = Gate::new();
    gate.event.put(2, with(RecordStatus::Suspended, good()), cleared());
    let referred = gate.check(request(2, 1)).await.unwrap();
    assert_eq!(referred.verdict(), wire::Verdict::Refer);
    let good = wire::OverrideRequest {
        receipt_id: referred.receipt_id,
        nonce: vec![1; 16],
        verdict: wire::Verdict::Admit.into(),
        reason: "identified at the desk".to_owned(),
    };
    for peer in [
        "spiffe://gate/scanner/north",
        "spiffe://gate/operator/ada",
        "spiffe://police/supervisor/ada",
    ] {
        let error = gate.r#override(peer, good.clone()).await.unwrap_err();
        assert_eq!(reason(&error), status::NOT_ALLOWED, "{peer}");
    }
    for bad in [
        wire::OverrideRequest { reason: " ".to_owned(), ..good.clone() },
        wire::OverrideRequest { reason: "x".repeat(MAX_REASON + 1), ..good.clone() },
        wire::OverrideRequest { verdict: wire::Verdict::Refer.into(), ..good.clone() },
        wire::OverrideRequest { nonce: vec![], ..good.clone() },
    ] {
        let error = gate.r#override(SUPERVISOR, bad).await.unwrap_err();
        assert_eq!(reason(&error), status::MALFORMED);
    }
    let other = wire::OverrideRequest { nonce: vec![7; 16], ..good.clone() };
    let error = gate.r#override(SUPERVISOR, other).await.unwrap_err();
    assert_eq!(reason(&error), UNKNOWN_CHECK);
    assert_eq!(gate.r#override(SUPERVISOR, good).await.unwrap().receipt_id, 2);
    gate.close().await;
}

#[tokio::test]
async fn the_sync_state_tells_sizes_ages_and_doors() {
    let gate = Gate::new();
    gate.event.tick(&gate.event.committee);
    gate.event.clock.advance_millis(3_000);
    gate.check(request(1, 1)).await.unwrap();
    let state = gate.server.get_sync_state(Request::new(wire::GetSyncStateRequest {})).await;
    let state = state.unwrap().into_inner();
    assert_eq!((state.manifest_version, state.receipts), (1, 1));
    assert_eq!(state.access_points, ["north-1", "north-2"]);
    let [committee, police] = state.authorities.try_into().unwrap();
    assert_eq!((committee.signed_size, committee.quorum_size), (2, 1));
    assert_eq!((police.signed_size, police.age_millis), (1, Some(3_000)));
    assert_eq!((police.epoch, police.records, police.key_present), (1, 1, true));
    assert_eq!(police.problem, "no upstream has answered yet");
    gate.close().await;
}

#[tokio::test]
async fn attestations_prove_what_both_authorities_say() {
    let gate = Gate::new();
    for badge in [1, 9] {
        let credential = badge_text(badge);
        let request = Request::new(wire::ExportAttestationsRequest { credential });
        let exported = gate.server.export_attestations(request).await.unwrap().into_inner();
        let manifest = &gate.event.manifest;
        let attested = exported.attestations.iter().map(|bytes| {
            let attestation = Attestation::from_bytes(bytes).unwrap();
            verify_attestation(&attestation, manifest).unwrap()
        });
        let attested: Vec<_> = attested.collect();
        assert_eq!(attested.len(), 2);
        assert_eq!(attested[0].authority(), Authority::Committee);
        assert_eq!(attested[1].authority(), Authority::Police);
        for one in attested {
            assert_eq!(
                one.record().map(|record| record.status),
                (badge == 1).then_some(RecordStatus::Valid)
            );
        }
    }
    let request = wire::ExportAttestationsRequest { credential: "no badge".to_owned() };
    let error = gate.server.export_attestations(Request::new(request)).await.unwrap_err();
    assert_eq!(reason(&error), status::MALFORMED);
    gate.close().await;
}

#[tokio::test]
async fn receipts_are_exported_in_parts() {
    let gate = Gate::new();
    for nonce in 1..=3 {
        gate.check(request(1, nonce)).await.unwrap();
    }
    let request = wire::ExportReceiptsRequest { from: 2, limit: 0 };
    let stream = gate.server.export_receipts(Request::new(request)).await.unwrap().into_inner();
    let parts: Vec<_> = stream.map(|part| part.unwrap().data).collect().await;
    let text = String::from_utf8(parts.concat()).unwrap();
    assert_eq!(text.matches("lanyard receipt v1\n").count(), 2);
    gate.close().await;
}
