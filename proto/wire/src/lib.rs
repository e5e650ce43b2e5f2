//! Types generated from the protos, one module a package, and their conversion to core types.
//!
//! Messages that carry secrets or personal data print as `<Type> { .. }`, whatever formats them.

pub mod convert;
mod redacted;

/// The encoded `FileDescriptorSet` of all packages, for reflection and for tests that must see every RPC.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

macro_rules! packages {
    ($($(#[$doc:meta])* $name:ident = $package:literal;)*) => {
        $(
            $(#[$doc])*
            pub mod $name {
                /// Version 1.
                #[allow(missing_docs, unreachable_pub, clippy::all)]
                pub mod v1 {
                    tonic::include_proto!($package);
                }
            }
        )*
    };
}

packages! {
    /// Words that several services share.
    common = "lanyard.common.v1";
    /// Directories from authority to mirror to gate.
    feed = "lanyard.feed.v1";
    /// Threshold evaluation of pseudonyms.
    pseudonym = "lanyard.pseudonym.v1";
    /// What the committee hands the police.
    screening = "lanyard.screening.v1";
    /// The police's own staff, and what the committee is given of them.
    staff = "lanyard.staff.v1";
    /// The committee's own file.
    committee = "lanyard.committee.v1";
    /// The police's own file.
    police = "lanyard.police.v1";
    /// The sponsor's desk.
    sponsor = "lanyard.sponsor.v1";
    /// Epochs out of turn.
    epoch = "lanyard.epoch.v1";
    /// The gate.
    gate = "lanyard.gate.v1";
}
