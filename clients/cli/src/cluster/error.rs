//! What can go wrong with the processes of an event.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use lanyard_ceremony::{CeremonyError, Member};
use lanyard_client::ClientError;
use lanyard_env::FileError;
use thiserror::Error;

/// The end of a process that should have gone on.
#[derive(Debug, Error)]
#[error("{member} died ({status}); the end of {}:\n{tail}", log.display())]
pub struct Death {
    /// Whose.
    pub member: Member,
    /// How it ended.
    pub status: ExitStatus,
    /// Its log.
    pub log: PathBuf,
    /// The log's last lines.
    pub tail: String,
}

/// What can go wrong with the processes of an event.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The directory holds no complete event.
    #[error(transparent)]
    Event(#[from] CeremonyError),
    /// A file operation.
    #[error(transparent)]
    File(#[from] FileError),
    /// The program that runs itself cannot be found.
    #[error("cannot tell where this program lies: {source}; start it by its full path")]
    Program {
        /// The system's reason.
        source: io::Error,
    },
    /// No such member runs a service in this event.
    #[error("{member} runs no service in this event; {}", known(.services))]
    NoService {
        /// Who was asked for.
        member: Member,
        /// Who does.
        services: Vec<Member>,
    },
    /// A process could not be started, or its log not be written.
    #[error("cannot start {member}: {source}")]
    Start {
        /// Whose.
        member: Member,
        /// The system's reason.
        source: io::Error,
    },
    /// A process could not be stopped.
    #[error("cannot stop {member}: {source}")]
    Stop {
        /// Whose.
        member: Member,
        /// The system's reason.
        source: io::Error,
    },
    /// A process ended that should have gone on.
    #[error(transparent)]
    Died(#[from] Death),
    /// Not all came up in time.
    #[error("not ready after {} s: {}; their logs are in MEMBER/data/log.txt", limit.as_secs(), known(.members))]
    NotReady {
        /// Who is not.
        members: Vec<Member>,
        /// How long was waited.
        limit: Duration,
    },
    /// A gate did not get what it needs in time.
    #[error("{gate} is not in sync after {} s: {problem}", limit.as_secs())]
    NotSynced {
        /// Which gate.
        gate: Member,
        /// What is missing.
        problem: String,
        /// How long was waited.
        limit: Duration,
    },
    /// A gate cannot be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
}

fn known(members: &[Member]) -> String {
    members.iter().map(Member::name).collect::<Vec<_>>().join(", ")
}
