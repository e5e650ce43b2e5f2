//! The manifest's way: drafted by one, signed by both authorities, adopted by all.

use std::path::PathBuf;

use lanyard_core::ids::Timestamp;
use lanyard_core::manifest::{
    EpochPlan, MAX_MANIFEST_BYTES, Manifest, ManifestTrust, VerifiedManifest, sign_manifest,
    verify_manifest,
};
use lanyard_core::note::{Note, VerifyingKey};
use lanyard_party::{ManifestStore, ManifestStoreError};

use crate::draft::{self, Known, Missing, Place};
use crate::error::{CeremonyError, Step};
use crate::member::Member;
use crate::plan::{EventPlan, PlanError};
use crate::seat::{Seat, announcement_subject};

impl Seat {
    /// Drafts the next manifest: version 1, or the successor of the one adopted here if the plan or somebody's keys
    /// have changed since. Any member may draft; what counts are the authorities' signatures.
    ///
    /// # Errors
    /// [`CeremonyError::Waiting`] until all members are prepared, and others.
    pub fn draft_manifest(&self, plan: &EventPlan) -> Result<Step, CeremonyError> {
        let next = self.next(plan)?;
        let Some(version) = next.version else { return Ok(Step::AlreadyDone) };
        let path = self.draft_path(version);
        let text = match self.files().read_if_exists(&path)? {
            // A draft stays as it is unless plan or keys have changed, so that what was reviewed is signed.
            Some(old) => match self.starts_at(&old) {
                Some(start) => {
                    let again = self.text(plan, &next, start)?;
                    if again.as_bytes() == old {
                        return Ok(Step::AlreadyDone);
                    }
                    again
                }
                None => self.text(plan, &next, draft::last_midnight(plan, self.env.now())?)?,
            },
            None => self.text(plan, &next, draft::last_midnight(plan, self.env.now())?)?,
        };
        self.exchange.write(&path, &text)?;
        Ok(Step::Done)
    }

    /// Signs the draft for this authority, if it is exactly what the authority's own copy of the plan and the
    /// announcements give.
    ///
    /// # Errors
    /// [`CeremonyError::OtherDraft`] names the line that differs; [`CeremonyError::Waiting`] without a draft.
    pub fn sign_manifest(&self, plan: &EventPlan) -> Result<Step, CeremonyError> {
        self.only_for("sign the manifest", self.member.is_authority())?;
        let next = self.next(plan)?;
        let Some(version) = next.version else { return Ok(Step::AlreadyDone) };
        let path = self.draft_path(version);
        let Some(draft) = self.files().read_if_exists(&path)? else {
            return Err(CeremonyError::Waiting {
                path,
                from: Member::Committee,
                step: "draft".to_owned(),
            });
        };
        let draft = String::from_utf8(draft).unwrap_or_default();
        let start = Manifest::parse_text(&draft)
            .map_err(|error| CeremonyError::tampered(&path, &Member::Committee, error))?
            .epochs
            .starts_at;
        let now = self.env.now();
        if next.held.is_none() && (start > now || draft::last_midnight(plan, start)? != start) {
            return Err(CeremonyError::EpochStart { path });
        }
        let expected = self.text(plan, &next, start)?;
        if draft != expected {
            let same = draft.lines().zip(expected.lines()).take_while(|(a, b)| a == b).count();
            return Err(CeremonyError::OtherDraft { path, line: same + 1 });
        }
        let signed =
            sign_manifest(&draft, &[&self.manifest_signer(next.held.as_ref())?])?.to_string();
        let path = self.signed_path(version, &self.member);
        if self.files().read_if_exists(&path)?.as_deref() == Some(signed.as_bytes()) {
            return Ok(Step::AlreadyDone);
        }
        self.exchange.write(&path, &signed)?;
        Ok(Step::Done)
    }

    /// Takes the manifests that both authorities signed, if the newest carries this member's own keys; a holder also
    /// if all holders confirm the same public shares, a gate with the certificate of the gates' authority.
    ///
    /// # Errors
    /// [`CeremonyError::NotOurs`], [`CeremonyError::Tampered`], [`CeremonyError::Waiting`] and others; nothing is
    /// then adopted.
    pub fn adopt(&self) -> Result<Step, CeremonyError> {
        // Its own announcement must still be its own before anything is built on it.
        self.known(&self.member)?;
        let (committee, police) = self.manifest_keys()?;
        let trust = ManifestTrust { committee, police };
        let store = self.store()?;
        let held = store.as_ref().map(|store| store.current());
        let mut chain: Vec<VerifiedManifest> = Vec::new();
        loop {
            let newest = chain.last().or(held.as_deref());
            let version = newest.map_or(1, |newest| newest.version + 1);
            if !chain.is_empty() || held.is_some() {
                let both = [Member::Committee, Member::Police]
                    .iter()
                    .map(|member| self.files().exists(&self.signed_path(version, member)))
                    .collect::<Result<Vec<_>, _>>()?;
                if !both.into_iter().all(|there| there) {
                    break;
                }
            }
            let signers = newest.map_or_else(|| trust.clone(), VerifiedManifest::trust);
            let (path, note) = self.merged(version, &signers)?;
            let verified = match newest {
                None => verify_manifest(&note, &trust),
                Some(newest) => newest.accept_successor(&note),
            };
            let verified = verified
                .map_err(|error| CeremonyError::tampered(&path, &Member::Committee, error))?;
            chain.push(verified);
        }
        let Some(newest) = chain.last() else { return Ok(Step::AlreadyDone) };
        self.check_own(newest)?;
        // Who takes another's place gets its share later, by a repair.
        let awaits_share = self.known(&self.member)?.replaces.is_some()
            && self.folder.share_generations()?.is_empty();
        if newest.share_holder(self.member.name()).is_some() && !awaits_share {
            self.check_confirmations(self.folder.generation_in_force()?, &holders(newest))?;
        }
        if matches!(self.member, Member::Gate(_)) {
            self.install_service_certificate()?;
        }
        let mut notes = chain.iter().map(|manifest| manifest.note().to_string());
        let store = match store {
            Some(store) => store,
            None => {
                let first = notes.next().unwrap_or_default();
                ManifestStore::initialise(&self.folder, &trust, &first)?
            }
        };
        for note in notes {
            store.accept(&note)?;
        }
        Ok(Step::Done)
    }

    /// Both authorities' signatures on one text.
    fn merged(
        &self,
        version: u32,
        signers: &ManifestTrust,
    ) -> Result<(PathBuf, String), CeremonyError> {
        let read = |member: &Member, key: &VerifyingKey| {
            let path = self.signed_path(version, member);
            let Some(bytes) = self.files().read_if_exists(&path)? else {
                let step = "sign".to_owned();
                return Err(CeremonyError::Waiting { path, from: member.clone(), step });
            };
            Note::parse_bytes(&bytes, MAX_MANIFEST_BYTES)
                .and_then(|note| Ok(note.verify(std::slice::from_ref(key))?.note().clone()))
                .map_err(|error| CeremonyError::tampered(&path, member, error))
                .map(|note| (path, note))
        };
        let (_, mut note) = read(&Member::Committee, &signers.committee)?;
        let (path, other) = read(&Member::Police, &signers.police)?;
        note.merge(&other)
            .map_err(|error| CeremonyError::tampered(&path, &Member::Police, error))?;
        Ok((path, note.to_string()))
    }

    /// The manifest must carry this member's own keys, whatever else it says.
    fn check_own(&self, manifest: &VerifiedManifest) -> Result<(), CeremonyError> {
        let member = &self.member;
        let own = self.known(member)?;
        let path = self.signed_path(manifest.version, &Member::Committee);
        let check = |what, same: bool| {
            if same {
                return Ok(());
            }
            Err(CeremonyError::NotOurs { path: path.clone(), what, member: member.clone() })
        };
        if member.certifies() {
            let party = manifest.party(member.party().name());
            let pem = party.map(|party| &party.certificate_authority_pem);
            check("the certificate authority", pem == own.certificate_authority_pem.as_ref())?;
        }
        if let Ok(authority) = lanyard_core::ids::Authority::parse(member.name()) {
            let keys = manifest.authority(authority);
            check("the log key", Some(&keys.log) == own.log.as_ref())?;
            check("the manifest key", Some(&keys.manifest) == own.manifest.as_ref())?;
        }
        if let Some(key) = &own.witness {
            let listed = manifest.witness(member.name()).map(|witness| &witness.key);
            check("the witness key", listed == Some(key))?;
        }
        if let Some(key) = &own.receipts {
            let listed = manifest.gate(member.name()).map(|gate| &gate.receipts);
            check("the receipts key", listed == Some(key))?;
        }
        if let Some(key) = &own.audit {
            check("the audit key", manifest.audit_key == *key)?;
        }
        // Not every member with an HPKE key verifies: the others use theirs at the ceremony only.
        let verifies = matches!(member, Member::Police | Member::Sponsor | Member::Gate(_));
        if let (true, Some(key)) = (verifies, &own.hpke) {
            let listed = manifest.verifier(&draft::verifier_id(member));
            check("the HPKE key", listed.map(|verifier| &verifier.key) == Some(key))?;
        }
        Ok(())
    }

    fn next(&self, plan: &EventPlan) -> Result<Next, CeremonyError> {
        plan.check()?;
        let mut known = Known::new();
        for member in plan.known_members() {
            known.insert(member.clone(), self.known(&member)?);
        }
        let held = self.store()?.map(|store| store.current().manifest().clone());
        let mut next = Next { version: Some(1), held, known };
        if let Some(held) = &next.held {
            // The key is shared out, and records lie in directories of epochs.
            let holders: Vec<_> = held.share_holders.holders.iter().map(|h| &*h.party).collect();
            let fixed = [
                ("event", plan.event == held.event),
                ("epochs.length_minutes", plan.epochs.length_minutes == held.epochs.length_minutes),
                (
                    "share_holders",
                    plan.share_holders.threshold == held.share_holders.threshold
                        && plan.holders().iter().map(Member::name).eq(holders),
                ),
            ];
            if let Some((field, _)) = fixed.into_iter().find(|(_, same)| !same) {
                return Err(PlanError::Fixed { field }.into());
            }
            let place = Place {
                version: held.version,
                previous: held.previous,
                epochs: epochs(plan, Some(held), held.epochs.starts_at),
            };
            let same = self.manifest(plan, &next.known, place)? == *held;
            next.version = (!same).then_some(held.version + 1);
        }
        Ok(next)
    }

    fn text(
        &self,
        plan: &EventPlan,
        next: &Next,
        starts_at: Timestamp,
    ) -> Result<String, CeremonyError> {
        let held = next.held.as_ref();
        let previous = held.map(Manifest::to_text).transpose()?;
        let place = Place {
            version: next.version.unwrap_or(1),
            previous: previous.map(|text| Manifest::hash_text(&text)),
            epochs: epochs(plan, held, starts_at),
        };
        let manifest = self.manifest(plan, &next.known, place)?;
        if let Some(held) = held {
            held.check_ends(&manifest)?;
        }
        Ok(manifest.to_text()?)
    }

    fn manifest(
        &self,
        plan: &EventPlan,
        known: &Known,
        place: Place,
    ) -> Result<Manifest, CeremonyError> {
        draft::manifest(plan, known, place).map_err(|Missing { member, what }| {
            let path = self.exchange.path(&announcement_subject(&member));
            CeremonyError::tampered(&path, &member, format!("it has no {what}"))
        })
    }

    fn starts_at(&self, draft: &[u8]) -> Option<Timestamp> {
        let manifest = Manifest::parse_text(std::str::from_utf8(draft).ok()?).ok()?;
        (manifest.epochs.starts_at <= self.env.now()).then_some(manifest.epochs.starts_at)
    }

    /// The manifests adopted here, if any.
    fn store(&self) -> Result<Option<ManifestStore>, CeremonyError> {
        match ManifestStore::open(&self.folder) {
            Ok(store) => Ok(Some(store)),
            Err(ManifestStoreError::NotAdopted { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn version_dir(&self, version: u32) -> PathBuf {
        self.exchange.root().join("manifests").join(version.to_string())
    }

    fn draft_path(&self, version: u32) -> PathBuf {
        self.version_dir(version).join("draft.txt")
    }

    fn signed_path(&self, version: u32, authority: &Member) -> PathBuf {
        self.version_dir(version).join(format!("{authority}.note"))
    }
}

/// What the next manifest is made of; no version if it would say the same as the one held.
struct Next {
    version: Option<u32>,
    held: Option<Manifest>,
    known: Known,
}

/// A running event keeps its epochs.
fn epochs(plan: &EventPlan, held: Option<&Manifest>, starts_at: Timestamp) -> EpochPlan {
    let (first, starts_at) = match held {
        Some(held) => (held.epochs.first, held.epochs.starts_at),
        None => (plan.epochs.first, starts_at),
    };
    EpochPlan {
        first,
        starts_at,
        length_minutes: plan.epochs.length_minutes,
        publish_lead_minutes: plan.epochs.publish_lead_minutes,
    }
}

fn holders(manifest: &Manifest) -> Vec<Member> {
    let holders = manifest.share_holders.holders.iter();
    holders.filter_map(|holder| holder.party.parse().ok()).collect()
}
