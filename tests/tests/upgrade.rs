//! What a new version and an old one must agree on, for an upgrade of one party after the other (docs/DRILLS.md).

use lanyard_core::head::MapHead;
use lanyard_core::ids::{Authority, Epoch, EventId, Hash, Timestamp};
use lanyard_core::manifest::Manifest;
use lanyard_wire::feed::v1::FollowRequest;
use lanyard_wire::gate::v1 as gate;
use prost::Message as _;

/// What is signed names its version, and another version is refused; messages pass over fields that they do not know; files
/// that people write refuse them.
#[test]
fn versions_that_do_not_agree_say_so_and_unknown_fields_of_messages_are_passed_over() {
    let head = MapHead {
        event: EventId::parse("games-2028").unwrap(),
        authority: Authority::Police,
        size: 1,
        time: Timestamp::from_seconds(1),
        manifest: Hash::new([1; 32]),
        live_epoch: Epoch::new(1),
        directories: Vec::new(),
    };
    let mut bytes = head.to_bytes().unwrap();
    let version = bytes.iter().position(|byte| *byte == b'1').unwrap();
    bytes[version] = b'2';
    let refused = MapHead::from_bytes(&bytes).unwrap_err().to_string();
    assert!(refused.contains("lanyard map head v1"), "{refused}");

    let refused = Manifest::parse_text("lanyard manifest v2\n{}\n").unwrap_err().to_string();
    assert!(refused.contains("lanyard manifest v1"), "{refused}");
    let refused = Manifest::parse_text("lanyard manifest v1\n{\n  \"colour\": 1\n}\n");
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("unknown field `colour`"), "{refused}");

    let mut request = FollowRequest { log_size: 7, ..Default::default() }.encode_to_vec();
    // Field 1000, a number, as a later version may send.
    prost::encoding::uint64::encode(1_000, &5, &mut request);
    assert_eq!(FollowRequest::decode(request.as_slice()).unwrap().log_size, 7);
    // A reason that this version does not know still comes with its verdict.
    let answer = gate::CheckResponse { verdict: 4, reason: 99, ..Default::default() };
    let answer = gate::CheckResponse::decode(answer.encode_to_vec().as_slice()).unwrap();
    assert_eq!(answer.verdict(), gate::Verdict::Undetermined);
    assert_eq!(answer.reason(), gate::Reason::Unspecified);
}
