//! A member's place at the ceremony: its own folder, and the exchange folder.

use std::path::{Path, PathBuf};

use lanyard_core::ids::EventId;
use lanyard_core::note::{KeyName, SigningKey, VerifyingKey};
use lanyard_env::{Env, Files, Mode};
use lanyard_party::Folder;
use serde::{Deserialize, Serialize};

use crate::announcement::Announcement;
use crate::error::CeremonyError;
use crate::exchange::{Exchange, Subject};
use crate::member::Member;

/// `ceremony/member.json`: whose folder it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    event: EventId,
    member: Member,
}

/// A prepared member with its own folder and the exchange folder; touches nothing else.
pub struct Seat {
    pub(crate) env: Env,
    pub(crate) folder: Folder,
    pub(crate) member: Member,
    pub(crate) event: EventId,
    pub(crate) exchange: Exchange,
}

impl Seat {
    /// The seat of the member that was prepared in `folder`.
    ///
    /// # Errors
    /// [`CeremonyError::NotPrepared`] and others.
    pub fn open(env: &Env, folder: &Path, exchange: &Path) -> Result<Self, CeremonyError> {
        let path = owner_path(folder);
        let Some(bytes) = env.files.read_if_exists(&path)? else {
            return Err(CeremonyError::NotPrepared { path: folder.to_owned() });
        };
        let owner: Owner =
            serde_json::from_slice(&bytes).map_err(|error| CeremonyError::state(&path, error))?;
        Ok(Self::new(env, folder, exchange, owner))
    }

    /// Makes the folder that of `member` of `event`, unless it is somebody else's.
    pub(crate) fn claim(
        env: &Env,
        folder: &Path,
        exchange: &Path,
        member: &Member,
        event: &EventId,
    ) -> Result<Self, CeremonyError> {
        let owner = Owner { event: event.clone(), member: member.clone() };
        match Self::open(env, folder, exchange) {
            Err(CeremonyError::NotPrepared { .. }) => {
                for name in ["ceremony", "ca", "tls", "keys", "operators"] {
                    env.files.create_dir_all(&folder.join(name))?;
                }
                write_json(&*env.files, &owner_path(folder), &owner, Mode::Private)?;
                Ok(Self::new(env, folder, exchange, owner))
            }
            Ok(seat) if seat.member != *member || seat.event != *event => {
                Err(CeremonyError::OtherFolder {
                    path: folder.to_owned(),
                    found: seat.member,
                    event: seat.event.to_string(),
                })
            }
            seat => seat,
        }
    }

    fn new(env: &Env, folder: &Path, exchange: &Path, owner: Owner) -> Self {
        let Owner { event, member } = owner;
        Self {
            folder: Folder::open(folder, env),
            exchange: Exchange::new(exchange.to_owned(), env.files.clone(), event.clone()),
            env: env.clone(),
            member,
            event,
        }
    }

    /// Whose seat it is.
    #[must_use]
    pub const fn member(&self) -> &Member {
        &self.member
    }

    /// The event.
    #[must_use]
    pub const fn event(&self) -> &EventId {
        &self.event
    }

    /// The member's own folder.
    #[must_use]
    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    /// What to read to each other over another channel: 64 hexadecimal digits over the member's announcement. Equal
    /// at the member and at whoever accepted it, unless someone in between swapped it.
    ///
    /// # Errors
    /// [`CeremonyError::Waiting`] if the member has not announced itself yet, and others.
    pub fn fingerprint(&self, of: &Member) -> Result<String, CeremonyError> {
        self.known(of)?;
        let text = self.files().read(&self.known_path(of))?;
        Ok(blake3::hash(&text).to_hex().to_string())
    }

    pub(crate) fn files(&self) -> &dyn Files {
        &*self.env.files
    }

    /// A private state file of the ceremony.
    pub(crate) fn state_path(&self, name: &str) -> PathBuf {
        self.folder.path().join("ceremony").join(name)
    }

    pub(crate) fn known_path(&self, of: &Member) -> PathBuf {
        self.state_path("known").join(format!("{of}.note"))
    }

    /// The name of a key of this member.
    pub(crate) fn key_name(&self, suffix: &str) -> Result<KeyName, CeremonyError> {
        Ok(KeyName::parse(&format!("lanyard/{}/{suffix}", self.event))?)
    }

    /// The key that signs this member's files in the exchange folder.
    pub(crate) fn ceremony_key(&self) -> Result<SigningKey, CeremonyError> {
        Ok(self.folder.signing_key(&self.ceremony_key_path())?)
    }

    pub(crate) fn ceremony_key_path(&self) -> PathBuf {
        self.folder.path().join("keys/ceremony.key")
    }

    /// Signs and leaves a file in the exchange folder.
    pub(crate) fn publish(
        &self,
        subject: &Subject<'_>,
        payload: &str,
    ) -> Result<(), CeremonyError> {
        let text = self.exchange.sign(subject, payload, &self.ceremony_key()?)?;
        self.exchange.write(&self.exchange.path(subject), &text)
    }

    /// Reads a file that another member left.
    pub(crate) fn receive(&self, subject: &Subject<'_>) -> Result<String, CeremonyError> {
        let key = self.known(subject.from)?.ceremony;
        self.exchange.verify(subject, &self.exchange.read(subject)?, &key)
    }

    /// A member's announcement. The first one seen is kept; another later is refused, unless the same ceremony key signed it
    /// as a later one, or it was accepted ([`Seat::accept_successor`]).
    ///
    /// # Errors
    /// [`CeremonyError::Waiting`], [`CeremonyError::Tampered`].
    pub fn known(&self, member: &Member) -> Result<Announcement, CeremonyError> {
        let subject = announcement_subject(member);
        let text = self.exchange.read(&subject)?;
        let kept = self.known_path(member);
        match self.files().read_if_exists(&kept)? {
            Some(bytes) if bytes == text.as_bytes() => self.parse_announcement(member, &text),
            Some(bytes) => self.later_announcement(member, &bytes, &text),
            None => {
                let announcement = self.parse_announcement(member, &text)?;
                self.keep_announcement(member, &text)?;
                Ok(announcement)
            }
        }
    }

    pub(crate) fn keep_announcement(
        &self,
        member: &Member,
        text: &str,
    ) -> Result<(), CeremonyError> {
        self.files().create_dir_all(&self.state_path("known"))?;
        let kept = self.known_path(member);
        Ok(self.files().write_atomic(&kept, text.as_bytes(), Mode::Public)?)
    }

    /// The text of this member's own announcement, if it was made.
    pub(crate) fn own_announcement(&self) -> Result<Option<String>, CeremonyError> {
        let path = self.known_path(&self.member);
        let Some(bytes) = self.files().read_if_exists(&path)? else { return Ok(None) };
        String::from_utf8(bytes).map(Some).map_err(|error| CeremonyError::state(&path, error))
    }

    pub(crate) fn parse_announcement(
        &self,
        member: &Member,
        text: &str,
    ) -> Result<Announcement, CeremonyError> {
        let subject = announcement_subject(member);
        let refused = |problem: &dyn ToString| {
            CeremonyError::tampered(&self.exchange.path(&subject), member, problem.to_string())
        };
        let json = self.exchange.unverified(&subject, text)?;
        let announcement: Announcement =
            serde_json::from_str(&json).map_err(|error| refused(&error))?;
        // It names its own key: this shows that it is whole, not whose it is; that is what fingerprints are for.
        self.exchange.verify(&subject, text, &announcement.ceremony)?;
        if announcement.member == *member {
            Ok(announcement)
        } else {
            Err(refused(&format!("it is of {}", announcement.member)))
        }
    }

    /// A key that a member must have announced.
    pub(crate) fn announced<T>(
        &self,
        member: &Member,
        what: &'static str,
        take: impl FnOnce(Announcement) -> Option<T>,
    ) -> Result<T, CeremonyError> {
        take(self.known(member)?).ok_or_else(|| {
            let path = self.exchange.path(&announcement_subject(member));
            CeremonyError::tampered(&path, member, format!("it has no {what}"))
        })
    }

    /// The manifest keys that a member trusts for the first manifest: those that committee and police announced first.
    pub(crate) fn manifest_keys(&self) -> Result<(VerifyingKey, VerifyingKey), CeremonyError> {
        let first =
            |known: Announcement| known.former_manifest.into_iter().next().or(known.manifest);
        let key = |member| self.announced(&member, "manifest key", first);
        Ok((key(Member::Committee)?, key(Member::Police)?))
    }
}

pub(crate) const fn announcement_subject(member: &Member) -> Subject<'_> {
    Subject { kind: "announcements", from: member, to: None, step: "prepare" }
}

fn owner_path(folder: &Path) -> PathBuf {
    folder.join("ceremony/member.json")
}

pub(crate) fn write_json<T: Serialize>(
    files: &dyn Files,
    path: &Path,
    value: &T,
    mode: Mode,
) -> Result<(), CeremonyError> {
    let mut json =
        serde_json::to_vec_pretty(value).map_err(|error| CeremonyError::state(path, error))?;
    json.push(b'\n');
    Ok(files.write_atomic(path, &json, mode)?)
}
