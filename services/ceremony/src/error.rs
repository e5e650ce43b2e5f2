//! What can stop a ceremony.

use std::path::{Path, PathBuf};

use lanyard_core::hpke_box::BoxError;
use lanyard_core::manifest::ManifestError;
use lanyard_core::note::NoteError;
use lanyard_core::threshold::ThresholdError;
use lanyard_env::FileError;
use lanyard_feed::FeedError;
use lanyard_party::{
    IdentityFileError, KeyFileError, ManifestStoreError, SealIssuingKeyError, TomlError,
};
use lanyard_shareholder::LedgerError;
use lanyard_transport::PeerIdError;
use lanyard_transport::certificates::CertificateError;
use thiserror::Error;

use crate::member::{Member, MemberError};
use crate::plan::PlanError;

/// What can stop a ceremony. Every variant that speaks of a file names it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CeremonyError {
    /// A file that another member should have left in the exchange folder is not there.
    #[error("{}: not there yet; {from} must run: {step}", path.display())]
    Waiting {
        /// The file.
        path: PathBuf,
        /// Who makes it.
        from: Member,
        /// The step that makes it.
        step: String,
    },
    /// A file of the exchange folder is not what its author signed, or not what this member accepted before.
    #[error("{}: {problem}; ask {from} to bring the original, and find out who altered it", path.display())]
    Tampered {
        /// The file.
        path: PathBuf,
        /// Who should have made it.
        from: Member,
        /// What is wrong with it.
        problem: String,
    },
    /// The folder belongs to another member or event.
    #[error("{}: holds {found} of event {event}; take another folder", path.display())]
    OtherFolder {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        found: Member,
        /// The event it is for.
        event: String,
    },
    /// Another folder has announced itself as this member already.
    #[error(
        "{}: {member} was prepared before, in another folder; use that one, or, if it is gone for good and this takes its \
         place, say so with --successor",
        path.display()
    )]
    Announced {
        /// The announcement.
        path: PathBuf,
        /// Whose.
        member: Member,
    },
    /// The announcement is not the one that was read out.
    #[error(
        "{}: its fingerprint is {found}, not the one given; do not accept it, ask {member} again over another channel",
        path.display()
    )]
    OtherFingerprint {
        /// The announcement.
        path: PathBuf,
        /// Whose.
        member: Member,
        /// Its fingerprint.
        found: String,
    },
    /// The folder has not been prepared.
    #[error("{}: no member was prepared here; run: prepare", path.display())]
    NotPrepared {
        /// The folder.
        path: PathBuf,
    },
    /// The event is complete.
    #[error("{}: holds a complete event; take another folder, or remove this one for good", dir.display())]
    AlreadyInitialised {
        /// The folder.
        dir: PathBuf,
    },
    /// An interrupted ceremony was of another plan.
    #[error(
        "{}: a ceremony was begun here with another plan; go on with that plan, or take another folder",
        path.display()
    )]
    OtherPlan {
        /// The plan that it was begun with.
        path: PathBuf,
    },
    /// A step is not for this member.
    #[error("{member} does not take part in: {step}")]
    NotForMember {
        /// Who was to take it.
        member: Member,
        /// The step.
        step: &'static str,
    },
    /// An issuing key needs a passphrase.
    #[error("the issuing key is sealed under a passphrase: give one")]
    PassphraseNeeded,
    /// No listen address for a member.
    #[error("no listen address for {member}")]
    NoAddress {
        /// Whose.
        member: String,
    },
    /// A holder broke the key generation.
    #[error("key generation: {problem}; the file to look at: {}", path.display())]
    KeyGeneration {
        /// The culprit's file, or the folder if nobody is named.
        path: PathBuf,
        /// What FROST found.
        problem: frost_ristretto255::Error,
    },
    /// A holder's part in a refresh or a repair is not what it committed to. Nothing has changed: shares stay in force.
    #[error(
        "{}: {source}; {from} cheats or was disturbed: find out which, abandon, and begin again",
        path.display()
    )]
    Contribution {
        /// Its file.
        path: PathBuf,
        /// Who made it.
        from: Member,
        /// What is wrong.
        source: ThresholdError,
    },
    /// A refresh or a repair is not at a point where this step can be taken.
    #[error("{problem}")]
    OutOfOrder {
        /// What is to be done instead.
        problem: String,
    },
    /// The manifest to adopt does not carry this member's own key.
    #[error("{}: {what} of {member} is not the one in this folder; do not adopt, compare fingerprints", path.display())]
    NotOurs {
        /// The manifest's file.
        path: PathBuf,
        /// Which key.
        what: &'static str,
        /// Whose.
        member: Member,
    },
    /// The draft is not what this authority's own plan and the announcements give.
    #[error(
        "{}: differs from what the plan and the announcements give, first in line {line}; compare the plans, \
         then draft again",
        path.display()
    )]
    OtherDraft {
        /// The draft.
        path: PathBuf,
        /// The first line that differs, from 1.
        line: usize,
    },
    /// The draft's first epoch does not start at a midnight of the event that is past.
    #[error("{}: its first epoch must start at a past midnight of the event's time zone", path.display())]
    EpochStart {
        /// The draft.
        path: PathBuf,
    },
    /// A private state file of the ceremony cannot be read.
    #[error("{}: {problem}; the step cannot go on", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The event's plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A TOML file.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// A name.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// A person's name.
    #[error(transparent)]
    Peer(#[from] PeerIdError),
    /// A key file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A certificate and its key.
    #[error(transparent)]
    Identity(#[from] IdentityFileError),
    /// The issuing key.
    #[error(transparent)]
    Issuing(#[from] SealIssuingKeyError),
    /// The manifests in the folder.
    #[error(transparent)]
    ManifestStore(#[from] ManifestStoreError),
    /// A manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file operation.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Signing.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Sealing to another holder.
    #[error(transparent)]
    Sealing(#[from] BoxError),
    /// The key shares.
    #[error(transparent)]
    Threshold(#[from] ThresholdError),
    /// The own feed.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// A holder's count of evaluations.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The time zone library.
    #[error("the event's time zone: {0}")]
    Time(#[from] jiff::Error),
}

impl CeremonyError {
    pub(crate) fn tampered(path: &Path, from: &Member, problem: impl ToString) -> Self {
        Self::Tampered { path: path.to_owned(), from: from.clone(), problem: problem.to_string() }
    }

    pub(crate) fn state(path: &Path, problem: impl ToString) -> Self {
        Self::State { path: path.to_owned(), problem: problem.to_string() }
    }
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It was taken.
    Done,
    /// It had been taken before; nothing changed.
    AlreadyDone,
}
