//! The first step: a member draws its keys in its own folder and announces the public halves.

use std::path::Path;

use lanyard_core::badge::IssuingKey;
use lanyard_core::cosignature::WitnessKey;
use lanyard_core::hpke_box::HpkeSecretKey;
use lanyard_core::note::{SigningKey, VerifyingKey};
use lanyard_env::Env;
use lanyard_party::{StoreKey, write_issuing_key};

use crate::announcement::Announcement;
use crate::error::{CeremonyError, Step};
use crate::member::Member;
use crate::plan::EventPlan;
use crate::seat::{Seat, announcement_subject};
use crate::successor::Predecessor;

impl Seat {
    /// Draws the member's keys in `folder` and announces the public halves in `exchange`. An interrupted run is
    /// resumed with the keys that it left; a second run only restores a lost announcement.
    ///
    /// Committee and police give the `passphrase` of their own issuing keys.
    ///
    /// # Errors
    /// [`CeremonyError::OtherFolder`], [`CeremonyError::PassphraseNeeded`] and others.
    pub fn prepare(
        env: &Env,
        folder: &Path,
        exchange: &Path,
        member: &Member,
        plan: &EventPlan,
        passphrase: Option<&str>,
    ) -> Result<(Self, Step), CeremonyError> {
        plan.check()?;
        plan.expects(member)?;
        let seat = Self::claim(env, folder, exchange, member, &plan.event)?;
        let subject = announcement_subject(member);
        if seat.own_announcement()?.is_none() && seat.exchange.has(&subject)? {
            let path = seat.exchange.path(&subject);
            return Err(CeremonyError::Announced { path, member: member.clone() });
        }
        let step = seat.announce(plan, passphrase, None)?;
        Ok((seat, step))
    }

    /// Draws keys and announces them, unless that was done.
    pub(crate) fn announce(
        &self,
        plan: &EventPlan,
        passphrase: Option<&str>,
        predecessor: Option<&Predecessor>,
    ) -> Result<Step, CeremonyError> {
        let (seat, member) = (self, &self.member);
        let subject = announcement_subject(member);
        if let Some(text) = seat.own_announcement()? {
            if !seat.exchange.has(&subject)? {
                seat.exchange.write(&seat.exchange.path(&subject), &text)?;
            }
            seat.known(member)?;
            return Ok(Step::AlreadyDone);
        }
        let ceremony =
            seat.signing_key(&seat.ceremony_key_path(), &format!("ceremony/{member}"))?;
        let mut announcement = seat.draw_keys(plan, ceremony, passphrase)?;
        if let Some(predecessor) = predecessor {
            predecessor.make_way(&mut announcement, seat.env.now());
        }
        seat.publish_announcement(&announcement)?;
        Ok(Step::Done)
    }

    /// Signs and keeps an announcement of this member's, and leaves it in the exchange folder.
    pub(crate) fn publish_announcement(
        &self,
        announcement: &Announcement,
    ) -> Result<(), CeremonyError> {
        let subject = announcement_subject(&self.member);
        let mut json = serde_json::to_string_pretty(announcement)
            .map_err(|error| CeremonyError::state(self.folder.path(), error))?;
        json.push('\n');
        let text = self.exchange.sign(&subject, &json, &self.ceremony_key()?)?;
        // Kept first: it is the proof that all keys are there.
        self.keep_announcement(&self.member, &text)?;
        self.exchange.write(&self.exchange.path(&subject), &text)
    }

    /// Draws what is missing and gathers the public halves.
    fn draw_keys(
        &self,
        plan: &EventPlan,
        ceremony: VerifyingKey,
        passphrase: Option<&str>,
    ) -> Result<Announcement, CeremonyError> {
        let (member, folder) = (&self.member, &self.folder);
        let mut public = Announcement::new(member, ceremony);
        if member.certifies() {
            public.certificate_authority_pem = Some(self.make_authority()?);
        }
        match member {
            Member::GateAuthority => return Ok(public),
            Member::Gate(name) => {
                public.certificate_request_pem = Some(self.request_service()?);
                let suffix = format!("gate/{name}/receipts");
                public.receipts = Some(self.signing_key(&folder.receipts_key_path(), &suffix)?);
            }
            Member::Committee | Member::Police => {
                // The name of a log's key is the log's origin (C2SP tlog-checkpoint).
                public.log = Some(self.signing_key(&folder.log_key_path(), member.name())?);
                let suffix = format!("{member}/manifest");
                public.manifest = Some(self.signing_key(&folder.manifest_key_path(), &suffix)?);
                self.ensure(&folder.store_key_path(), |path| {
                    Ok(StoreKey::generate(self.files(), path, &mut self.env.rng())?)
                })?;
            }
            Member::Sponsor | Member::Trustee => {}
        }
        if plan.is_witness(member) {
            public.witness = Some(self.witness_key()?);
        }
        if member.is_authority() {
            self.make_issuing_key(passphrase)?;
        }
        if *member == Member::Police {
            self.ensure(&folder.audit_key_path(), |_| {
                Ok(folder.write_audit_key(&HpkeSecretKey::generate(&mut self.env.rng()))?)
            })?;
            public.audit = Some(folder.audit_key()?.public_key());
        }
        self.ensure(&folder.hpke_key_path(), |_| {
            Ok(folder.write_hpke_key(&HpkeSecretKey::generate(&mut self.env.rng()))?)
        })?;
        public.hpke = Some(folder.hpke_key()?.public_key());
        Ok(public)
    }

    /// Makes a file unless an earlier, interrupted run left it.
    pub(crate) fn ensure(
        &self,
        path: &Path,
        make: impl FnOnce(&Path) -> Result<(), CeremonyError>,
    ) -> Result<(), CeremonyError> {
        if self.files().exists(path)? { Ok(()) } else { make(path) }
    }

    /// The public half of a key of notes, drawn if it is not there.
    fn signing_key(&self, path: &Path, suffix: &str) -> Result<VerifyingKey, CeremonyError> {
        self.ensure(path, |path| {
            let key = SigningKey::generate(self.key_name(suffix)?, &mut self.env.rng());
            Ok(self.folder.write_signing_key(path, &key)?)
        })?;
        Ok(self.folder.signing_key(path)?.verifying_key().clone())
    }

    fn witness_key(&self) -> Result<VerifyingKey, CeremonyError> {
        self.ensure(&self.folder.witness_key_path(), |_| {
            let name = self.key_name(&format!("witness/{}", self.member))?;
            let key = WitnessKey::generate(name, &mut self.env.rng());
            Ok(self.folder.write_witness_key(&self.folder.witness_key_path(), &key)?)
        })?;
        Ok(self.folder.witness_key()?.verifying_key().clone())
    }

    fn make_issuing_key(&self, passphrase: Option<&str>) -> Result<(), CeremonyError> {
        self.ensure(&self.folder.issuing_key_path(), |path| {
            let passphrase = passphrase.ok_or(CeremonyError::PassphraseNeeded)?;
            let key = IssuingKey::generate(&mut self.env.rng());
            Ok(write_issuing_key(self.files(), path, &key, passphrase)?)
        })
    }
}
