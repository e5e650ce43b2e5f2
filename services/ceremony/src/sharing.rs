//! Polynomials with a root, shared out among holders: the first two rounds of a refresh and of a repair.
//!
//! Each contributor draws one, publishes its commitment for all to see (it says nothing about the shares), and once it has
//! everyone's commitment, seals to each other contributor its value.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lanyard_core::threshold::{
    Contribution, Root, RootedCommitment, RootedPolynomial, ShareIndex, ThresholdError,
};
use lanyard_env::Mode;
use zeroize::Zeroizing;

use crate::error::{CeremonyError, Step};
use crate::exchange::Subject;
use crate::member::Member;
use crate::packages::{PackageKind, package_subject};
use crate::seat::Seat;

/// The share holders that the manifest names.
pub(crate) struct KeyHolders {
    pub(crate) threshold: u8,
    pub(crate) list: Vec<(Member, ShareIndex)>,
}

impl KeyHolders {
    pub(crate) fn index_of(&self, member: &Member) -> Result<ShareIndex, CeremonyError> {
        let found = self.list.iter().find(|(holder, _)| holder == member);
        found.map(|(_, index)| *index).ok_or_else(|| CeremonyError::NotForMember {
            member: member.clone(),
            step: "the pseudonym key, which it has no share of",
        })
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        self.list.iter().map(|(member, _)| member.clone()).collect()
    }
}

/// One run of it.
pub(crate) struct Sharing {
    /// What files are called after, such as `refresh-2`.
    pub(crate) name: String,
    /// The steps that take its two rounds, for whoever waits.
    pub(crate) steps: [&'static str; 2],
    pub(crate) root: Root,
    pub(crate) threshold: u8,
    pub(crate) contributors: Vec<(Member, ShareIndex)>,
}

impl Sharing {
    fn commitments(&self) -> String {
        format!("{}-commitment", self.name)
    }

    fn values(&self) -> PackageKind {
        PackageKind { name: format!("{}-value", self.name).into(), step: self.steps[1] }
    }

    fn others<'a>(
        &'a self,
        own: &'a Member,
    ) -> impl Iterator<Item = &'a (Member, ShareIndex)> + 'a {
        self.contributors.iter().filter(move |(member, _)| member != own)
    }
}

impl Seat {
    /// The share holders, this member among them.
    pub(crate) fn key_holders(&self) -> Result<KeyHolders, CeremonyError> {
        let manifest = lanyard_party::ManifestStore::open(&self.folder)?.current();
        let list = manifest.share_holders.holders.iter();
        let list = list
            .map(|holder| Ok((holder.party.parse()?, ShareIndex::new(holder.index)?)))
            .collect::<Result<_, CeremonyError>>()?;
        let holders = KeyHolders { threshold: manifest.share_holders.threshold, list };
        holders.index_of(&self.member)?;
        Ok(holders)
    }

    /// Round 1: draws this contributor's polynomial and publishes its commitment.
    pub(crate) fn share_out(&self, sharing: &Sharing) -> Result<Step, CeremonyError> {
        let path = self.sharing_path(sharing);
        let subject_kind = sharing.commitments();
        let subject = self.commitment_subject(sharing, &subject_kind, &self.member);
        if !self.files().exists(&path)? {
            if self.exchange.has(&subject)? {
                let problem =
                    "this holder has taken this round before and no longer has its secret";
                return Err(CeremonyError::state(&path, problem));
            }
            let drawn =
                RootedPolynomial::generate(sharing.threshold, sharing.root, &mut self.env.rng())?;
            let line =
                Zeroizing::new(format!("{}\n", *Zeroizing::new(BASE64.encode(drawn.to_bytes()))));
            self.files().write_atomic(&path, line.as_bytes(), Mode::Private)?;
        }
        if self.exchange.has(&subject)? {
            return Ok(Step::AlreadyDone);
        }
        let commitment = self.polynomial(sharing)?.commitment();
        self.publish(&subject, &format!("{}\n", BASE64.encode(commitment.to_bytes())))?;
        Ok(Step::Done)
    }

    /// Round 2: once everyone has committed, seals to each other contributor its value.
    pub(crate) fn send_values(&self, sharing: &Sharing) -> Result<Step, CeremonyError> {
        let polynomial = self.polynomial(sharing)?;
        for (member, _) in &sharing.contributors {
            self.commitment(sharing, member)?;
        }
        let mut sent = false;
        for (member, index) in sharing.others(&self.member) {
            sent |= self.send_package(&sharing.values(), member, &*polynomial.value_for(*index))?;
        }
        Ok(if sent { Step::Done } else { Step::AlreadyDone })
    }

    /// What all contributors, this one among them, gave this one; each checked against its commitment.
    pub(crate) fn contributions(
        &self,
        sharing: &Sharing,
        own: ShareIndex,
    ) -> Result<Vec<Contribution>, CeremonyError> {
        let kind = sharing.values();
        let mut contributions = Vec::new();
        for (member, index) in &sharing.contributors {
            let commitment = self.commitment(sharing, member)?;
            let value = if *member == self.member {
                Zeroizing::new(self.polynomial(sharing)?.value_for(own).to_vec())
            } else {
                self.open_package(&kind, member)?
            };
            let verified = Contribution::verify(*index, own, commitment, &value);
            contributions.push(verified.map_err(|source| {
                let path = self.exchange.path(&package_subject(&kind, member, &self.member));
                CeremonyError::Contribution { path, from: member.clone(), source }
            })?);
        }
        Ok(contributions)
    }

    /// A contributor's commitment.
    pub(crate) fn commitment(
        &self,
        sharing: &Sharing,
        from: &Member,
    ) -> Result<RootedCommitment, CeremonyError> {
        let kind = sharing.commitments();
        let subject = self.commitment_subject(sharing, &kind, from);
        let payload = self.receive(&subject)?;
        let refused = |problem: &dyn ToString| {
            CeremonyError::tampered(&self.exchange.path(&subject), from, problem.to_string())
        };
        let bytes = BASE64.decode(payload.trim_end()).map_err(|error| refused(&error))?;
        RootedCommitment::parse(sharing.threshold, sharing.root, &bytes)
            .map_err(|error: ThresholdError| refused(&error))
    }

    /// Forgets this contributor's polynomial, and takes the sealed values away that it got.
    pub(crate) fn forget_sharing(&self, sharing: &Sharing) -> Result<(), CeremonyError> {
        self.files().remove(&self.sharing_path(sharing))?;
        for (other, _) in sharing.others(&self.member) {
            self.remove_package(&sharing.values(), other, &self.member)?;
        }
        Ok(())
    }

    /// Takes all sealed values away that this contributor sent or got.
    pub(crate) fn remove_values(&self, sharing: &Sharing) -> Result<(), CeremonyError> {
        for (other, _) in sharing.others(&self.member) {
            self.remove_package(&sharing.values(), other, &self.member)?;
            self.remove_package(&sharing.values(), &self.member, other)?;
        }
        Ok(())
    }

    /// Takes back what this contributor has published in this run, and forgets its polynomial.
    pub(crate) fn withdraw_sharing(&self, sharing: &Sharing) -> Result<(), CeremonyError> {
        let kind = sharing.commitments();
        self.exchange.remove(&self.commitment_subject(sharing, &kind, &self.member))?;
        self.remove_values(sharing)?;
        self.forget_sharing(sharing)
    }

    /// Whether this contributor has begun this run.
    pub(crate) fn has_begun(&self, sharing: &Sharing) -> Result<bool, CeremonyError> {
        Ok(self.files().exists(&self.sharing_path(sharing))?)
    }

    fn polynomial(&self, sharing: &Sharing) -> Result<RootedPolynomial, CeremonyError> {
        let path = self.sharing_path(sharing);
        if !self.files().exists(&path)? {
            let problem = format!("round 1 has not been taken here; run: {}", sharing.steps[0]);
            return Err(CeremonyError::OutOfOrder { problem });
        }
        let line = self.folder.private_text(&path)?;
        let bytes = BASE64.decode(line.trim_end()).map(Zeroizing::new);
        let bytes = bytes.map_err(|error| CeremonyError::state(&path, error))?;
        Ok(RootedPolynomial::from_bytes(sharing.threshold, sharing.root, &bytes)?)
    }

    fn commitment_subject<'a>(
        &self,
        sharing: &'a Sharing,
        kind: &'a str,
        from: &'a Member,
    ) -> Subject<'a> {
        Subject { kind, from, to: None, step: sharing.steps[0] }
    }

    fn sharing_path(&self, sharing: &Sharing) -> PathBuf {
        self.state_path(&format!("{}.secret", sharing.name))
    }
}
