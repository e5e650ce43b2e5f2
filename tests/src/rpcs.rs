//! Every RPC of the protos, and who hosts it.

use lanyard_transport::PartyName;
use prost::Message as _;
use prost_types::FileDescriptorSet;

/// Which parties serve which gRPC service.
pub const HOSTS: &[(&str, &[PartyName])] = {
    use PartyName::{Committee, Gate, Police, Sponsor, Trustee};
    &[
        ("lanyard.feed.v1.FeedService", &[Committee, Police, Sponsor]),
        ("lanyard.pseudonym.v1.KeyShareService", &[Committee, Police, Trustee]),
        ("lanyard.epoch.v1.EpochService", &[Committee, Police]),
        ("lanyard.screening.v1.ScreeningService", &[Police]),
        ("lanyard.staff.v1.StaffService", &[Police]),
        ("lanyard.staff.v1.HandoverService", &[Police]),
        ("lanyard.committee.v1.EnrolmentService", &[Committee]),
        ("lanyard.committee.v1.BadgeService", &[Committee]),
        ("lanyard.committee.v1.DisclosureService", &[Committee]),
        ("lanyard.committee.v1.DeskService", &[Committee]),
        ("lanyard.police.v1.WatchlistService", &[Police]),
        ("lanyard.police.v1.SubjectService", &[Police]),
        ("lanyard.police.v1.CaseService", &[Police]),
        ("lanyard.police.v1.DeskService", &[Police]),
        ("lanyard.sponsor.v1.DeskService", &[Sponsor]),
        ("lanyard.gate.v1.GateService", &[Gate]),
    ]
};

/// One RPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rpc {
    /// `/package.Service/Method`.
    pub path: String,
    /// `package.Service`.
    pub service: String,
    /// The type of its request, `.package.Message`.
    pub input: String,
    /// Whether its answers are a stream, which may stay open.
    pub server_streaming: bool,
    /// Whether its requests are a stream, which may be empty.
    pub client_streaming: bool,
}

/// The descriptors of all protos.
///
/// # Panics
/// If they do not decode.
pub(crate) fn descriptors() -> FileDescriptorSet {
    FileDescriptorSet::decode(lanyard_wire::FILE_DESCRIPTOR_SET).expect("descriptors decode")
}

/// Every RPC of the protos.
#[must_use]
pub fn rpcs() -> Vec<Rpc> {
    let mut rpcs = Vec::new();
    for file in &descriptors().file {
        for service in &file.service {
            let name = format!("{}.{}", file.package(), service.name());
            rpcs.extend(service.method.iter().map(|method| Rpc {
                path: format!("/{name}/{}", method.name()),
                service: name.clone(),
                input: method.input_type().to_owned(),
                server_streaming: method.server_streaming(),
                client_streaming: method.client_streaming(),
            }));
        }
    }
    rpcs
}

/// Who serves an RPC.
///
/// # Panics
/// If [`HOSTS`] has no row for its service.
#[must_use]
pub fn hosts(rpc: &Rpc) -> &'static [PartyName] {
    let row = HOSTS.iter().find(|(service, _)| *service == rpc.service);
    row.unwrap_or_else(|| panic!("{}: say in HOSTS who serves it", rpc.service)).1
}
