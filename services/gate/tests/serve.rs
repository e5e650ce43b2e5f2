//! A gate on the wire, cut off from everyone: it answers, and admits nobody.

#![allow(clippy::disallowed_methods)] // a free port

#[path = "../../ceremony/tests/support/mod.rs"]
mod support;

use lanyard_transport::{Role, status};
use lanyard_wire::gate::v1::gate_service_client::GateServiceClient;
use lanyard_wire::gate::v1::{
    CheckRequest, Direction, ExportReceiptsRequest, GetSyncStateRequest, OverrideRequest, Reason,
    Verdict,
};
use tonic::transport::Channel;

use self::support::{Running, event_of, eventually, sample};

const SCANNER: (Role, &str) = (Role::Scanner, "scanner");
const SUPERVISOR: (Role, &str) = (Role::Supervisor, "supervisor");
const OPERATOR: (Role, &str) = (Role::Operator, "operator");

fn client(gate: &Running, who: (Role, &str)) -> GateServiceClient<Channel> {
    GateServiceClient::new(gate.channel_as(&gate.folder, Some(who)))
}

fn check(nonce: u8) -> CheckRequest {
    CheckRequest {
        credential: "no badge".to_owned(),
        access_point: "sta-main".to_owned(),
        direction: Direction::In.into(),
        nonce: vec![nonce; 16],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_cut_off_answers_records_and_remembers() {
    let event = event_of(&sample());
    let gate = Running::start(&event, "gate-1", lanyard_gate::serve);
    let scanner = client(&gate, SCANNER);
    let answer = eventually(|| {
        let mut scanner = scanner.clone();
        async move { scanner.check(check(1)).await }
    });
    let answer = answer.await.into_inner();
    assert_eq!((answer.verdict(), answer.reason()), (Verdict::Deny, Reason::Malformed));
    let state = client(&gate, SCANNER).get_sync_state(GetSyncStateRequest {}).await.unwrap();
    let state = state.into_inner();
    assert_eq!((state.receipts, state.access_points.len()), (1, 8));
    assert!(state.authorities.iter().all(|one| one.age_millis.is_none() && !one.key_present));

    let export = ExportReceiptsRequest { from: 1, limit: 0 };
    let refused = client(&gate, SCANNER).export_receipts(export).await.unwrap_err();
    assert_eq!(status::reason(&refused).as_deref(), Some(status::NOT_ALLOWED));
    let mut parts = client(&gate, OPERATOR).export_receipts(export).await.unwrap().into_inner();
    let part = parts.message().await.unwrap().unwrap();
    assert!(part.data.starts_with(b"lanyard receipt v1\n"));
    let request = OverrideRequest {
        receipt_id: answer.receipt_id,
        nonce: vec![1; 16],
        verdict: Verdict::Admit.into(),
        reason: "known to me".to_owned(),
    };
    let refused = client(&gate, SUPERVISOR).r#override(request).await.unwrap_err();
    assert_eq!(status::reason(&refused).as_deref(), Some("NOT_OVERRIDABLE"));
    gate.stop().await;

    let gate = Running::start(&event, "gate-1", lanyard_gate::serve);
    let scanner = client(&gate, SCANNER);
    let again = eventually(|| {
        let mut scanner = scanner.clone();
        async move { scanner.check(check(1)).await }
    });
    assert_eq!(again.await.into_inner(), answer);
    assert_eq!(client(&gate, SCANNER).check(check(2)).await.unwrap().into_inner().receipt_id, 2);
    gate.stop().await;
}
