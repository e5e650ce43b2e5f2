//! Why an object store cannot be used. Nothing here repeats what a store said word for word: some repeat the request,
//! its signature and the name of its key.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use lanyard_env::StartError;
use lanyard_feed::FeedError;
use lanyard_party::KeyFileError;
use object_store::Error as StoreError;
use object_store::client::HttpError;
use thiserror::Error;
use tonic::Status;

/// Why a store is not the one to use, or does not do as asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ObjectsError {
    /// The store did not do it.
    #[error("object store {place}: cannot {action}: {problem}")]
    Store {
        /// The store, as configured.
        place: String,
        /// What was being done.
        action: &'static str,
        /// What went wrong, and what to do.
        problem: StoreProblem,
    },
    /// The store belongs to another event.
    #[error(
        "object store {place} holds the event {found:?}, this is {expected:?}; give each event a bucket, prefix or folder \
         of its own in [objects] store"
    )]
    OtherEvent {
        /// The store, as configured.
        place: String,
        /// The event that it says it holds.
        found: String,
        /// The event of this party.
        expected: String,
    },
    /// Another version of this software writes there.
    #[error(
        "object store {place}: {name} is of another version of this software; update this one, or give it a prefix of its own"
    )]
    OtherVersion {
        /// The store, as configured.
        place: String,
        /// The object.
        name: String,
    },
    /// The store does not keep what it was given, or never did.
    #[error("object store {place}: {name}: {problem}")]
    Damaged {
        /// The store, as configured.
        place: String,
        /// The object.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Another writer replaced the newest list first.
    #[error("object store {place}: another party archives there; standing by until it stops")]
    OtherWriter {
        /// The store, as configured.
        place: String,
    },
    /// The store has more of the log than this party.
    #[error(
        "object store {place} has the log up to {stored}, this party up to {held}; nothing is archived until it has \
         caught up"
    )]
    Ahead {
        /// The store, as configured.
        place: String,
        /// The size archived.
        stored: u64,
        /// The size held here.
        held: u64,
    },
    /// Nothing is there to archive.
    #[error("nothing is published yet")]
    Empty,
    /// The own stream ended or skipped something: it begins anew.
    #[error("the stream to archive began anew")]
    Restarted,
    /// The own mirror does not serve the stream to archive.
    #[error("the own mirror: {}", .0.message())]
    Mirror(Box<Status>),
    /// What was found there, or here, is refused.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The file with the credentials.
    #[error(transparent)]
    Credentials(#[from] KeyFileError),
    /// The file with the credentials does not read. Nothing of it is repeated.
    #[error(
        "{}: two lines are needed: access_key_id = \"…\" and secret_access_key = \"…\"; a third, session_token = \"…\", may follow",
        path.display()
    )]
    CredentialsFile {
        /// The file.
        path: PathBuf,
    },
    /// No store is named, and nothing is archived that could be in a folder of its own.
    #[error(
        "config.toml: [objects]: store is missing; name a folder or s3://BUCKET/PREFIX to read from, or set archive = true to \
         archive in data/archive"
    )]
    NoStore,
    /// There are no credentials.
    #[error(
        "object store {place}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the service's environment, \
         or name a file with [objects] credentials"
    )]
    NoCredentials {
        /// The store, as configured.
        place: String,
    },
    /// The certificate authority for the store.
    #[error("[objects] ca: {}: {problem}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl StartError for ObjectsError {
    fn is_permanent(&self) -> bool {
        match self {
            Self::Store { problem, .. } => problem.is_permanent(),
            Self::Feed(error) => error.is_permanent(),
            Self::Credentials(error) => error.is_permanent(),
            Self::OtherEvent { .. }
            | Self::OtherVersion { .. }
            | Self::Damaged { .. }
            | Self::CredentialsFile { .. }
            | Self::NoStore
            | Self::NoCredentials { .. }
            | Self::Authority { .. } => true,
            Self::OtherWriter { .. }
            | Self::Ahead { .. }
            | Self::Empty
            | Self::Restarted
            | Self::Mirror(_)
            | Self::Tls(_) => false,
        }
    }
}

/// What a store had against a request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreProblem {
    /// It was not reached.
    #[error("{0}")]
    Unreachable(String),
    /// No answer in time.
    #[error(
        "no answer within {seconds} s; check the address, and that the store is not overloaded"
    )]
    TimedOut {
        /// How long was waited.
        seconds: u64,
    },
    /// It is not there.
    #[error("{}there is no such bucket, folder or object; make the bucket first, and check the name", code(.0))]
    NotFound(String),
    /// The credentials do not allow it.
    #[error("{}the credentials do not allow it; give them read, write, list and delete on this prefix", code(.0))]
    Denied(String),
    /// A condition did not hold: somebody else wrote first.
    #[error("another writer was there first")]
    Condition,
    /// It has not changed.
    #[error("it has not changed")]
    Unchanged,
    /// The disk of the folder, or another file error.
    #[error("{0}")]
    File(String),
    /// The store answered with an error of its own.
    #[error("the store answers {0}")]
    Answer(String),
    /// The store cannot do it.
    #[error(
        "the store does not support it; conditional writes, listing and multipart uploads are needed"
    )]
    Unsupported,
    /// Anything else.
    #[error("the answer could not be understood; is this an S3-compatible store?")]
    Unknown,
}

fn code(code: &str) -> String {
    if code.is_empty() { String::new() } else { format!("{code}: ") }
}

impl StoreProblem {
    /// Whether it stays until somebody changes the store or its configuration.
    const fn is_permanent(&self) -> bool {
        matches!(self, Self::NotFound(_) | Self::Denied(_) | Self::Unsupported | Self::Unknown)
    }

    /// Sorts a store's error, and leaves its words behind.
    pub(crate) fn of(error: &StoreError) -> Self {
        match error {
            StoreError::NotFound { source, .. } => Self::NotFound(s3_code(source.as_ref())),
            StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } => Self::Condition,
            StoreError::NotModified { .. } => Self::Unchanged,
            StoreError::PermissionDenied { source, .. }
            | StoreError::Unauthenticated { source, .. } => Self::Denied(s3_code(source.as_ref())),
            StoreError::NotSupported { .. } | StoreError::NotImplemented { .. } => {
                Self::Unsupported
            }
            other => Self::by_cause(other),
        }
    }

    fn by_cause(error: &(dyn StdError + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(http) = error.downcast_ref::<HttpError>() {
                // Ours: the connector made it, and it names the address.
                let text = http.source().map_or_else(|| http.to_string(), ToString::to_string);
                return Self::Unreachable(text);
            }
            if let Some(io) = error.downcast_ref::<io::Error>() {
                return Self::File(match io.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        "the disk is full; free space there".to_owned()
                    }
                    io::ErrorKind::PermissionDenied => {
                        "permission denied; give the service's user access to the folder".to_owned()
                    }
                    _ => io.to_string(),
                });
            }
            cause = error.source();
        }
        match s3_code(error) {
            code if code.is_empty() => Self::Unknown,
            code => Self::Answer(code),
        }
    }
}

/// The status and the code of an S3 error answer, which are all of it that is safe to show.
fn s3_code(error: &dyn StdError) -> String {
    let text = error.to_string();
    let between = |start: &str, end: char| {
        let (_, rest) = text.split_once(start)?;
        let (found, _) = rest.split_once(end)?;
        let is_word = |c: char| c.is_ascii_alphanumeric();
        (found.len() <= 64 && !found.is_empty() && found.chars().all(is_word))
            .then(|| found.to_owned())
    };
    let status = between("status code: ", ' ');
    let code = between("<Code>", '<');
    [status, code].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a store may answer to a wrong signature: all of the request, and the key's name.
    const ANSWER: &str = "Error performing PUT http://store/b/newest in 2ms - Server returned non-2xx status code: 403 \
        Forbidden: <Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIDSECRET</AWSAccessKeyId>\
        <StringToSign>AWS4-HMAC-SHA256 deadbeef</StringToSign></Error>";

    #[test]
    fn of_a_stores_answer_only_status_and_code_are_repeated() {
        let source = || io::Error::other(ANSWER).into();
        let denied = StoreError::PermissionDenied { path: "p".into(), source: source() };
        let shown = StoreProblem::of(&denied).to_string();
        assert!(shown.starts_with("403 SignatureDoesNotMatch: the credentials"), "{shown}");
        for secret in ["AKIDSECRET", "deadbeef", "AWS4"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        let not_found = StoreError::NotFound { path: "p".into(), source: "no".into() };
        assert_eq!(StoreProblem::of(&not_found), StoreProblem::NotFound(String::new()));
    }

    #[test]
    fn a_full_disk_is_called_so() {
        let source = Box::new(io::Error::from(io::ErrorKind::StorageFull));
        let full = StoreError::Generic { store: "LocalFileSystem", source };
        assert!(StoreProblem::of(&full).to_string().contains("disk is full"));
    }
}
