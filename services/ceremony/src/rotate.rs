//! Putting a new key in the place of an old one, with overlap; and at once, if the old one leaked.
//!
//! | step | what | then |
//! | --- | --- | --- |
//! | [`Seat::rotate_begin`] | draws the new key and announces it; the old one counts beside it | the next manifest |
//! | [`Seat::rotate_end`] | announces the end of the old key | the next manifest |
//! | [`Seat::rotate_finish`] | puts the new key in the old one's file and destroys that | |
//!
//! With a manifest after each of the first two, verifiers with the manifest before and with the newest work side by side.
//! For a key that leaked, both steps are taken before one manifest. A running authority or witness signs under both keys from
//! the first step to the last, so there is no gap.

use std::path::{Path, PathBuf};

use lanyard_core::checkpoint::verify_checkpoint;
use lanyard_core::cosignature::WitnessKey;
use lanyard_core::ids::Authority;
use lanyard_core::manifest::{KeyEnd, LogPosition, Manifest, ReplacedKey};
use lanyard_core::note::{SigningKey, VerifyingKey};
use lanyard_env::Mode;
use lanyard_feed::newest_checkpoint;
use lanyard_party::ManifestStore;
use lanyard_transport::Role;
use lanyard_transport::certificates::CertificateAuthority;

use crate::announcement::Announcement;
use crate::error::{CeremonyError, Step};
use crate::member::Member;
use crate::pki::Holder;
use crate::seat::Seat;

/// The keys that can be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotatedKey {
    /// An authority's log key. The log's origin, which is the key's name, stays.
    Log,
    /// The key that signs the next manifest, with the other authority's.
    Manifest,
    /// A witness's.
    Witness,
    /// A gate's receipts key; restart the gate after the first step, which then signs with the new key.
    Receipts,
    /// The certificate authority of a party. Its service and its people get new certificates with the second step; of the
    /// gates' authority, each gate renews its own.
    Ca,
}

impl RotatedKey {
    /// Its name, as in `keys/NAME.key`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Manifest => "manifest",
            Self::Witness => "witness",
            Self::Receipts => "receipts",
            Self::Ca => "ca",
        }
    }

    fn of(self, known: &Announcement) -> Option<&VerifyingKey> {
        match self {
            Self::Log => known.log.as_ref(),
            Self::Manifest => known.manifest.as_ref(),
            Self::Witness => known.witness.as_ref(),
            Self::Receipts => known.receipts.as_ref(),
            Self::Ca => None,
        }
    }
}

impl Seat {
    /// Draws the key that takes another's place and announces it; the old one still counts. Resumes.
    ///
    /// # Errors
    /// [`CeremonyError::NotForMember`] if this member has no such key, [`CeremonyError::OutOfOrder`] if the old one was ended
    /// and not finished.
    pub fn rotate_begin(&self, what: RotatedKey) -> Result<Step, CeremonyError> {
        let mut known = self.known(&self.member)?;
        if what == RotatedKey::Ca {
            return self.begin_authority(known);
        }
        let old = self.old_key(what, &known)?;
        let new = self.draw(what, &old)?;
        if new == old {
            return Ok(Step::AlreadyDone);
        }
        match what {
            RotatedKey::Log => known.log = Some(new),
            RotatedKey::Witness => known.witness = Some(new),
            RotatedKey::Receipts => known.receipts = Some(new),
            RotatedKey::Manifest | RotatedKey::Ca => known.manifest = Some(new),
        }
        if what == RotatedKey::Manifest {
            // Each manifest's keys are those of the one before; whoever begins with the first needs the first.
            known.former_manifest.push(old);
        } else {
            known.replaced.push(ReplacedKey { key: old, until: None });
        }
        self.announce_again(known)?;
        Ok(Step::Done)
    }

    /// Announces the end of the old key. For a log's, its running service must have signed its newest checkpoint under the
    /// new key too.
    ///
    /// # Errors
    /// [`CeremonyError::OutOfOrder`] before [`Seat::rotate_begin`], or if the service has not signed under the new key yet.
    pub fn rotate_end(&self, what: RotatedKey) -> Result<Step, CeremonyError> {
        let mut known = self.known(&self.member)?;
        match what {
            RotatedKey::Ca => return self.end_authority(known),
            // The manifest that names the next key ends it.
            RotatedKey::Manifest => return Ok(Step::AlreadyDone),
            _ => {}
        }
        let new = self.required(what, &known)?;
        let log = match what {
            RotatedKey::Log => Some(self.last_under_both(&new)?),
            _ => None,
        };
        let end = KeyEnd { time: self.env.now(), log };
        let mut own =
            known.replaced.iter_mut().filter(|one| one.key.name() == new.name()).peekable();
        if own.peek().is_none() {
            return Err(out_of_order("this key is not being replaced; run: rotate begin"));
        }
        let Some(open) = own.find(|one| one.until.is_none()) else { return Ok(Step::AlreadyDone) };
        open.until = Some(end);
        self.announce_again(known)?;
        Ok(Step::Done)
    }

    /// Puts the new key in the old one's file and so destroys that, once the manifest in force has ended it.
    ///
    /// # Errors
    /// [`CeremonyError::OutOfOrder`] until then.
    pub fn rotate_finish(&self, what: RotatedKey) -> Result<Step, CeremonyError> {
        if what == RotatedKey::Ca {
            return Ok(Step::AlreadyDone);
        }
        let path = self.key_path(what);
        let new_path = self.folder.new_key_path(&path);
        if !self.files().exists(&new_path)? {
            return Ok(Step::AlreadyDone);
        }
        let known = self.known(&self.member)?;
        let new = self.required(what, &known)?;
        let old = self.read_key(what, &path)?;
        let manifest = ManifestStore::open(&self.folder)?.current();
        let is_over = match what {
            RotatedKey::Manifest => manifest_key(&manifest, &self.member) == Some(&new),
            _ => manifest.end_of(&old).is_some(),
        };
        if !is_over {
            let problem = "the manifest in force still counts the old key; end it, then draft, sign and adopt the next";
            return Err(out_of_order(problem));
        }
        self.files().rename(&new_path, &path)?;
        Ok(Step::Done)
    }

    /// The key with which this authority signs the manifest after `held`: the one that `held` names.
    pub(crate) fn manifest_signer(
        &self,
        held: Option<&Manifest>,
    ) -> Result<SigningKey, CeremonyError> {
        let path = self.folder.manifest_key_path();
        let new = self.folder.new_key_path(&path);
        if let Some(named) = held.and_then(|held| manifest_key(held, &self.member))
            && self.files().exists(&new)?
        {
            let key = self.folder.signing_key(&new)?;
            if key.verifying_key() == named {
                return Ok(key);
            }
        }
        Ok(self.folder.manifest_key()?)
    }

    fn announce_again(&self, mut known: Announcement) -> Result<(), CeremonyError> {
        known.number = known.number.saturating_add(1);
        self.publish_announcement(&known)
    }

    fn key_path(&self, what: RotatedKey) -> PathBuf {
        match what {
            RotatedKey::Log => self.folder.log_key_path(),
            RotatedKey::Manifest => self.folder.manifest_key_path(),
            RotatedKey::Witness => self.folder.witness_key_path(),
            RotatedKey::Receipts => self.folder.receipts_key_path(),
            RotatedKey::Ca => self.folder.ca_key_path(),
        }
    }

    fn read_key(&self, what: RotatedKey, path: &Path) -> Result<VerifyingKey, CeremonyError> {
        if what == RotatedKey::Witness {
            let line = self.folder.private_text(path)?;
            return Ok(WitnessKey::parse(line.trim_end())?.verifying_key().clone());
        }
        Ok(self.folder.signing_key(path)?.verifying_key().clone())
    }

    fn required(
        &self,
        what: RotatedKey,
        known: &Announcement,
    ) -> Result<VerifyingKey, CeremonyError> {
        what.of(known).cloned().ok_or_else(|| CeremonyError::NotForMember {
            member: self.member.clone(),
            step: "replace a key that it does not have",
        })
    }

    /// The key that is announced now, which must be the one in force.
    fn old_key(
        &self,
        what: RotatedKey,
        known: &Announcement,
    ) -> Result<VerifyingKey, CeremonyError> {
        let announced = self.required(what, known)?;
        let open = known.replaced.iter().any(|one| one.key.name() == announced.name());
        let new = self.folder.new_key_path(&self.key_path(what));
        let in_force = self.read_key(what, &self.key_path(what))?;
        // Announced before: what is announced is the new one already.
        if self.files().exists(&new)?
            && announced != in_force
            && (open || what == RotatedKey::Manifest)
        {
            return Ok(announced);
        }
        if announced != in_force {
            return Err(out_of_order(
                "the last rotation of this key is not finished; run: rotate finish",
            ));
        }
        Ok(announced)
    }

    /// The new key, drawn unless it is there. If the announced key is the new one, that is returned again.
    fn draw(&self, what: RotatedKey, old: &VerifyingKey) -> Result<VerifyingKey, CeremonyError> {
        let path = self.folder.new_key_path(&self.key_path(what));
        self.ensure(&path, |path| {
            let (name, rng) = (old.name().clone(), &mut self.env.rng());
            match what {
                RotatedKey::Witness => {
                    self.folder.write_witness_key(path, &WitnessKey::generate(name, rng))?;
                }
                _ => self.folder.write_signing_key(path, &SigningKey::generate(name, rng))?,
            }
            Ok(())
        })?;
        self.read_key(what, &path)
    }

    /// The newest checkpoint of the own log, which the new key must have signed too: then everything after it is as well.
    fn last_under_both(&self, new: &VerifyingKey) -> Result<LogPosition, CeremonyError> {
        let authority = Authority::parse(self.member.name()).map_err(|_| {
            let step = "replace a log's key";
            CeremonyError::NotForMember { member: self.member.clone(), step }
        })?;
        let feed = self.folder.data_dir().join("feeds").join(authority.name());
        let newest = newest_checkpoint(self.folder.files(), &feed, authority)?;
        let unsigned = || {
            let problem = "the log's newest checkpoint is not signed under the new key yet; start the service, wait for a \
                           tick, and try again";
            out_of_order(problem)
        };
        let note = newest.ok_or_else(unsigned)?;
        let signed = verify_checkpoint(&note, new);
        let signed = signed.map_err(|_| unsigned())?;
        Ok(LogPosition { size: signed.size(), root: signed.root() })
    }

    fn begin_authority(&self, mut known: Announcement) -> Result<Step, CeremonyError> {
        self.only_for("replace a certificate authority", self.member.certifies())?;
        let (key, certificate) = self.new_authority_paths();
        self.ensure(&certificate, |path| {
            let (from, until) = self.authority_period();
            let made = CertificateAuthority::generate(self.member.party(), from, until)?;
            self.files().write_atomic(&key, made.key_pem().as_bytes(), Mode::Private)?;
            Ok(self.files().write_atomic(path, made.certificate_pem().as_bytes(), Mode::Public)?)
        })?;
        let new = self.read_text(&certificate)?;
        let pem = known.certificate_authority_pem.unwrap_or_default();
        if pem.contains(new.trim()) {
            return Ok(Step::AlreadyDone);
        }
        known.certificate_authority_pem = Some(format!("{}\n{new}", pem.trim_end()));
        self.announce_again(known)?;
        Ok(Step::Done)
    }

    /// Puts the new authority in place, certifies the own service and people anew, and announces the new one alone.
    fn end_authority(&self, mut known: Announcement) -> Result<Step, CeremonyError> {
        self.only_for("replace a certificate authority", self.member.certifies())?;
        let (key, certificate) = self.new_authority_paths();
        if self.files().exists(&certificate)? {
            let new = self.read_text(&certificate)?;
            if self.files().exists(&key)? {
                self.files().rename(&key, &self.folder.ca_key_path())?;
            }
            self.files().write_atomic(
                &self.folder.ca_certificate_path(),
                new.as_bytes(),
                Mode::Public,
            )?;
            self.certify_all_again(self)?;
            self.files().remove(&certificate)?;
        }
        let own = self.read_text(&self.folder.ca_certificate_path())?;
        let announced = known.certificate_authority_pem.as_deref().unwrap_or_default();
        if announced == own {
            return Ok(Step::AlreadyDone);
        }
        known.certificate_authority_pem = Some(own);
        self.announce_again(known)?;
        Ok(Step::Done)
    }

    /// Renews the certificates of the own service and people.
    pub(crate) fn certify_all_again(&self, authority: &Self) -> Result<(), CeremonyError> {
        if self.member.service().is_some() {
            self.renew_certificate(authority, Holder::Service)?;
        }
        let operators = self.folder.operators_dir();
        if !self.files().exists(&operators)? {
            return Ok(());
        }
        for file in self.files().list(&operators)? {
            let person = file.strip_suffix(".pem").and_then(|stem| stem.split_once('-'));
            let Some((role, name)) = person else { continue };
            let role: Role = role.parse()?;
            self.renew_certificate(authority, Holder::Person(role, name))?;
        }
        Ok(())
    }

    fn new_authority_paths(&self) -> (PathBuf, PathBuf) {
        let ca = self.folder.path().join("ca");
        (ca.join("ca-new.key"), ca.join("ca-new.pem"))
    }

    fn read_text(&self, path: &Path) -> Result<String, CeremonyError> {
        String::from_utf8(self.files().read(path)?)
            .map_err(|error| CeremonyError::state(path, error))
    }
}

fn manifest_key<'a>(manifest: &'a Manifest, member: &Member) -> Option<&'a VerifyingKey> {
    let authority = Authority::parse(member.name()).ok()?;
    Some(&manifest.authority(authority).manifest)
}

fn out_of_order(problem: &str) -> CeremonyError {
    CeremonyError::OutOfOrder { problem: problem.to_owned() }
}
