//! Why a manifest is refused.

use thiserror::Error;

use super::MAX_MANIFEST_BYTES;
use crate::ids::{Authority, EventId, Hash};
use crate::note::{Algorithm, KeyName, NoteError};

/// Why a manifest is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManifestError {
    /// More bytes than allowed.
    #[error("manifest: {length} bytes, at most {MAX_MANIFEST_BYTES} are allowed")]
    TooLong {
        /// Bytes given.
        length: usize,
    },
    /// The note is malformed, or not signed by both authorities.
    #[error("manifest: {0}")]
    Note(#[from] NoteError),
    /// Another first line.
    #[error("manifest: the first line is not `lanyard manifest v1`")]
    Header,
    /// Not the JSON of a manifest.
    #[error("manifest: line {line}, column {column}: {problem}")]
    Json {
        /// Line of the text, the header being the first.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong there.
        problem: String,
    },
    /// The same manifest is written differently.
    #[error("manifest: the text is not as this software writes it; write it again before signing")]
    NotCanonical,
    /// A field that does not hold.
    #[error("manifest: {field} {problem}")]
    Invalid {
        /// The field's path, for example `zones[2].tier`.
        field: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// Both pinned keys are one key.
    #[error("manifest: committee and police must be trusted under two different keys")]
    OneTrustedKey,
    /// A manifest of another event.
    #[error("manifest: it is of event {given}, this party works for {expected}")]
    OtherEvent {
        /// The event that is worked for.
        expected: EventId,
        /// The event given.
        given: EventId,
    },
    /// An older version than the one held.
    #[error("manifest: version {given} is older than version {held}, which is held")]
    Rollback {
        /// The version held.
        held: u32,
        /// The version given.
        given: u32,
    },
    /// Another manifest of the version held: both authorities signed two. Keep both, they are evidence.
    #[error("manifest: there are two of version {version}")]
    Forked {
        /// The version of both.
        version: u32,
    },
    /// The next version does not name the one held.
    #[error("manifest: version {version} follows {found:?}, held is {held}")]
    OtherPrevious {
        /// The version given.
        version: u32,
        /// Hash of the version held.
        held: Hash,
        /// The hash that it names.
        found: Option<Hash>,
    },
    /// A key that came to its end would count again.
    #[error("manifest: key {name} has come to its end, and the new version lets it count again")]
    EndTakenBack {
        /// The key's name.
        name: KeyName,
    },
    /// A certificate that was revoked would be accepted again.
    #[error(
        "manifest: the certificate key {key} is revoked, and the new version lets it count again"
    )]
    RevocationTakenBack {
        /// The hash of its public key.
        key: Hash,
    },
    /// Epoch numbers would run backwards.
    #[error("manifest: epochs start at {given}, after {held} they cannot")]
    EpochsRunBack {
        /// First epoch of the plan held.
        held: u32,
        /// First epoch of the plan given.
        given: u32,
    },
}

/// What is wrong with a field.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A number outside its range.
    #[error("is {given}; use {min} to {max}")]
    Range {
        /// The number.
        given: u64,
        /// The least allowed.
        min: u64,
        /// The most allowed.
        max: u64,
    },
    /// A list or text with too few or too many elements.
    #[error("has {given} elements or characters; use {min} to {max}")]
    Length {
        /// How many it has.
        given: usize,
        /// The least allowed.
        min: usize,
        /// The most allowed.
        max: usize,
    },
    /// Not a code.
    #[error("is {given:?}; use 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'")]
    Code {
        /// What was given.
        given: String,
    },
    /// A text with a control character.
    #[error("holds a control character or a blank at an end")]
    Text,
    /// Not a known party.
    #[error("is {given:?}; use committee, police, sponsor, trustee or gate")]
    PartyName {
        /// What was given.
        given: String,
    },
    /// There twice.
    #[error("{given:?} is there twice")]
    Duplicate {
        /// What is there twice.
        given: String,
    },
    /// A reference to nothing.
    #[error("names {given:?}, which the manifest does not have")]
    Unknown {
        /// What it names.
        given: String,
    },
    /// Something that must be there is not.
    #[error("lacks {what}")]
    Missing {
        /// What is missing.
        what: &'static str,
    },
    /// Must be absent in version 1 and present after.
    #[error("must name the version before, and nothing in version 1")]
    Previous,
    /// Not a certificate in PEM.
    #[error("is no PEM certificate of at most 16 KiB")]
    Pem,
    /// A key for something else.
    #[error("is no key for {expected}")]
    Algorithm {
        /// What it must be for.
        expected: Algorithm,
    },
    /// A key under another name than its use demands.
    #[error("must be a key named {expected:?}")]
    KeyName {
        /// The name.
        expected: String,
    },
    /// One key in two roles.
    #[error("is a key that stands elsewhere in the manifest; each use needs its own")]
    SharedKey,
    /// Quorums that need not intersect, or cannot be reached.
    #[error(
        "is {quorum}; of the {witnesses} witnesses of the {authority} log it must be more than half, and not more than all"
    )]
    Quorum {
        /// The quorum given.
        quorum: u8,
        /// How many witnesses the log has.
        witnesses: usize,
        /// Whose log.
        authority: Authority,
    },
    /// An audience that the party must not read.
    #[error("gives {party} the keys of an audience that is not its own")]
    Audience {
        /// The party.
        party: String,
    },
    /// Numbers that must ascend.
    #[error("must ascend")]
    Order,
}
