//! Generates the gRPC types with a protobuf compiler in Rust, so that no protoc is needed.

#![allow(clippy::disallowed_methods)] // a build script is no service

use std::path::PathBuf;
use std::{env, fs, io};

use protox::prost::Message as _;

const PROTOS: [&str; 10] = [
    "lanyard/common/v1/common.proto",
    "lanyard/feed/v1/feed.proto",
    "lanyard/pseudonym/v1/pseudonym.proto",
    "lanyard/screening/v1/screening.proto",
    "lanyard/staff/v1/staff.proto",
    "lanyard/committee/v1/committee.proto",
    "lanyard/police/v1/police.proto",
    "lanyard/sponsor/v1/sponsor.proto",
    "lanyard/gate/v1/gate.proto",
    "lanyard/epoch/v1/epoch.proto",
];

/// Messages with secrets or personal data: `src/redacted.rs` gives them a Debug that shows none of it.
const REDACTED: [&str; 33] = [
    ".lanyard.committee.v1.Person",
    ".lanyard.committee.v1.Document",
    ".lanyard.committee.v1.Print",
    ".lanyard.committee.v1.PrintSeeds",
    ".lanyard.committee.v1.CheckBadgeRequest",
    ".lanyard.committee.v1.CheckBadgeRequest.shown",
    ".lanyard.committee.v1.Disclosure",
    ".lanyard.committee.v1.DecideDisclosureRequest",
    ".lanyard.police.v1.ListEntry",
    ".lanyard.police.v1.ListDocument",
    ".lanyard.police.v1.ChangeStatusRequest",
    ".lanyard.police.v1.CheckBadgeRequest",
    ".lanyard.police.v1.Match",
    ".lanyard.police.v1.Identity",
    ".lanyard.police.v1.Disclosure",
    ".lanyard.police.v1.RequestDisclosureRequest",
    ".lanyard.police.v1.DrawSampleRequest",
    ".lanyard.screening.v1.PrintSeeds",
    ".lanyard.screening.v1.SubjectKey",
    ".lanyard.screening.v1.DisclosureRequest",
    ".lanyard.screening.v1.DisclosureAnswer",
    ".lanyard.screening.v1.DisclosureAnswer.decision",
    ".lanyard.police.v1.CheckDocumentRequest",
    ".lanyard.police.v1.CheckDocumentRequest.shown",
    ".lanyard.staff.v1.Member",
    ".lanyard.staff.v1.Document",
    ".lanyard.staff.v1.Print",
    ".lanyard.staff.v1.PrintSeeds",
    ".lanyard.staff.v1.HandedPrint",
    ".lanyard.sponsor.v1.CheckCodeRequest",
    ".lanyard.gate.v1.CheckRequest",
    ".lanyard.gate.v1.ExportAttestationsRequest",
    ".lanyard.epoch.v1.StartEpochRequest",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=../lanyard");
    let descriptors = protox::compile(PROTOS, [".."])?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("no OUT_DIR"))?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .skip_debug(REDACTED)
        .bytes(".lanyard.feed.v1.SnapshotChunk.data")
        .bytes(".lanyard.feed.v1.DirectoryDelta.delta")
        .bytes(".lanyard.feed.v1.Tick.head")
        .compile_fds(descriptors)?;
    Ok(())
}
