//! The exchange folder: files that travel between members, each a note signed by its author.
//!
//! Nothing in it is secret. It is not trusted either: whoever carries it may alter, swap or drop files, which readers
//! notice and name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanyard_core::ids::EventId;
use lanyard_core::note::{MAX_NOTE_BYTES, Note, SigningKey, VerifyingKey};
use lanyard_env::{Files, Mode};

use crate::error::CeremonyError;
use crate::member::Member;

const HEADER: &str = "lanyard ceremony v1";

/// What a file says, from whom and to whom; all of it is signed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// The kind, in lower case with hyphens.
    pub(crate) kind: &'a str,
    pub(crate) from: &'a Member,
    /// `None`: to all.
    pub(crate) to: Option<&'a Member>,
    /// The step that makes the file, for whoever waits for it.
    pub(crate) step: &'a str,
}

impl Subject<'_> {
    fn preamble(&self, event: &EventId) -> String {
        let to = self.to.map_or("all", Member::name);
        format!("{HEADER}\n{event}\n{}\nfrom {}\nto {to}\n\n", self.kind, self.from)
    }

    fn file_name(&self) -> String {
        match self.to {
            None => format!("{}.note", self.from),
            Some(to) => format!("{}-to-{to}.note", self.from),
        }
    }
}

/// The exchange folder as one member sees it.
#[derive(Clone)]
pub(crate) struct Exchange {
    root: PathBuf,
    files: Arc<dyn Files>,
    event: EventId,
}

impl Exchange {
    pub(crate) const fn new(root: PathBuf, files: Arc<dyn Files>, event: EventId) -> Self {
        Self { root, files, event }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the file about a subject stands: `KIND/FROM[-to-TO].note`.
    pub(crate) fn path(&self, subject: &Subject<'_>) -> PathBuf {
        self.root.join(subject.kind).join(subject.file_name())
    }

    /// Signs a payload, whose last character must be a newline.
    pub(crate) fn sign(
        &self,
        subject: &Subject<'_>,
        payload: &str,
        key: &SigningKey,
    ) -> Result<String, CeremonyError> {
        let text = format!("{}{payload}", subject.preamble(&self.event));
        Ok(Note::sign(&text, &[key])?.to_string())
    }

    /// Writes a file for all to read.
    pub(crate) fn write(&self, path: &Path, text: &str) -> Result<(), CeremonyError> {
        if let Some(parent) = path.parent() {
            self.files.create_dir_all(parent)?;
        }
        Ok(self.files.write_atomic(path, text.as_bytes(), Mode::Public)?)
    }

    /// Removes a file that has served its purpose.
    pub(crate) fn remove(&self, subject: &Subject<'_>) -> Result<(), CeremonyError> {
        Ok(self.files.remove(&self.path(subject))?)
    }

    /// Whether a file is there.
    pub(crate) fn has(&self, subject: &Subject<'_>) -> Result<bool, CeremonyError> {
        Ok(self.files.exists(&self.path(subject))?)
    }

    /// Reads the text of a file that may not be there yet.
    pub(crate) fn read(&self, subject: &Subject<'_>) -> Result<String, CeremonyError> {
        let path = self.path(subject);
        self.read_at(&path, subject)
    }

    /// Reads the text of a file at another place than its subject's.
    pub(crate) fn read_at(
        &self,
        path: &Path,
        subject: &Subject<'_>,
    ) -> Result<String, CeremonyError> {
        let Some(bytes) = self.files.read_if_exists(path)? else {
            return Err(CeremonyError::Waiting {
                path: path.to_owned(),
                from: subject.from.clone(),
                step: subject.step.to_owned(),
            });
        };
        if bytes.len() > MAX_NOTE_BYTES {
            let problem = format!("{} bytes, at most {MAX_NOTE_BYTES} are allowed", bytes.len());
            return Err(CeremonyError::tampered(path, subject.from, problem));
        }
        String::from_utf8(bytes)
            .map_err(|_| CeremonyError::tampered(path, subject.from, "it is not text"))
    }

    /// The payload of a file's text, signed by `key` and about this very subject.
    pub(crate) fn verify(
        &self,
        subject: &Subject<'_>,
        text: &str,
        key: &VerifyingKey,
    ) -> Result<String, CeremonyError> {
        let path = self.path(subject);
        let refused = |problem: &dyn ToString| {
            CeremonyError::tampered(&path, subject.from, problem.to_string())
        };
        let note = Note::parse(text).map_err(|error| refused(&error))?;
        let note = note.verify(std::slice::from_ref(key)).map_err(|error| refused(&error))?;
        note.text()
            .strip_prefix(&subject.preamble(&self.event))
            .map(str::to_owned)
            .ok_or_else(|| refused(&"it is signed, but about something else"))
    }

    /// The payload of a file's text before its author's key is known; worth nothing until [`Exchange::verify`].
    pub(crate) fn unverified(
        &self,
        subject: &Subject<'_>,
        text: &str,
    ) -> Result<String, CeremonyError> {
        let refused = |problem: &dyn ToString| {
            CeremonyError::tampered(&self.path(subject), subject.from, problem.to_string())
        };
        let note = Note::parse(text).map_err(|error| refused(&error))?;
        note.text()
            .strip_prefix(&subject.preamble(&self.event))
            .map(str::to_owned)
            .ok_or_else(|| refused(&"it is about something else"))
    }
}
