//! Repairing a lost share: enough other holders rebuild it, and none of them learns it.
//!
//! The holder that lost it asks, naming its helpers. Each helper contributes a polynomial that is zero at the lost share's
//! index, adds what it got to its own share, and seals the sum to the one that asked, which checks every sum against the
//! public shares that all holders confirmed, and interpolates.

use std::path::PathBuf;

use lanyard_core::threshold::{
    PublicShare, PublicShares, Root, ShareIndex, blind_for_repair, repair,
};
use lanyard_env::Mode;
use lanyard_party::{Generation, NamedShare};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{CeremonyError, Step};
use crate::exchange::Subject;
use crate::member::Member;
use crate::packages::{PackageKind, package_subject};
use crate::seat::Seat;
use crate::sharing::{KeyHolders, Sharing};

const REQUEST: &str = "repair-request";

/// What the holder that lost its share asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// Names this run: 16 hexadecimal digits.
    run: String,
    helpers: Vec<Member>,
}

/// What a helper seals to it.
struct Help {
    generation: Generation,
    blinded: Zeroizing<Vec<u8>>,
    public: PublicShares,
}

impl Seat {
    /// Asks `helpers`, or all other holders if none are named, to rebuild this holder's share. Does nothing if it is here.
    ///
    /// # Errors
    /// [`CeremonyError::NotForMember`] if this member or a helper has no share to begin with, and others.
    pub fn repair_ask(&self, helpers: &[Member]) -> Result<Step, CeremonyError> {
        let holders = self.key_holders()?;
        if self.folder.held_share(self.folder.generation_in_force()?).is_ok() {
            return Ok(Step::AlreadyDone);
        }
        let (path, subject) = (self.repair_path(), request_subject(&self.member));
        let step = if self.files().exists(&path)? {
            Step::AlreadyDone
        } else {
            let helpers = match helpers {
                [] => holders.members().into_iter().filter(|one| *one != self.member).collect(),
                named => named.to_vec(),
            };
            let mut run = [0; 8];
            self.env.rng().fill_bytes(&mut run);
            let request = Request { run: hex(&run), helpers };
            self.repairing(&holders, &self.member, &request)?;
            let json = serde_json::to_string(&request)
                .map_err(|error| CeremonyError::state(&path, error))?;
            self.files().write_atomic(&path, format!("{json}\n").as_bytes(), Mode::Private)?;
            Step::Done
        };
        let text = self.folder.private_text(&path)?;
        self.publish(&subject, &text)?;
        Ok(step)
    }

    /// A helper's round 1: draws a polynomial and publishes the commitment to it. To take it is to agree that the holder
    /// gets its share again.
    ///
    /// # Errors
    /// [`CeremonyError::Waiting`] until `lost` has asked, [`CeremonyError::NotForMember`] if it asked others.
    pub fn repair_round1(&self, lost: &Member) -> Result<Step, CeremonyError> {
        let holders = self.key_holders()?;
        let sharing = self.asked(&holders, lost)?;
        if self.exchange.has(&package_subject(&help_kind(&sharing), &self.member, lost))? {
            return Ok(Step::AlreadyDone);
        }
        self.share_out(&sharing)
    }

    /// A helper's round 2: sends each other helper its value, sealed.
    ///
    /// # Errors
    /// [`CeremonyError::Waiting`] until all helpers took round 1, and others.
    pub fn repair_round2(&self, lost: &Member) -> Result<Step, CeremonyError> {
        let holders = self.key_holders()?;
        let sharing = self.asked(&holders, lost)?;
        if self.exchange.has(&package_subject(&help_kind(&sharing), &self.member, lost))? {
            return Ok(Step::AlreadyDone);
        }
        self.send_values(&sharing)
    }

    /// A helper's round 3: seals its own share, blinded by all helpers, to the holder that lost its own, together with the
    /// public shares.
    ///
    /// # Errors
    /// [`CeremonyError::Waiting`] until all helpers took round 2; [`CeremonyError::Contribution`] names the file of a
    /// helper that cheated; and others.
    pub fn repair_round3(&self, lost: &Member) -> Result<Step, CeremonyError> {
        let holders = self.key_holders()?;
        let sharing = self.asked(&holders, lost)?;
        let kind = help_kind(&sharing);
        let step = if self.exchange.has(&package_subject(&kind, &self.member, lost))? {
            Step::AlreadyDone
        } else {
            let own = holders.index_of(&self.member)?;
            let held = self.folder.held_share(self.folder.generation_in_force()?)?;
            let contributions = self.contributions(&sharing, own)?;
            let helpers: Vec<_> = sharing.contributors.iter().map(|(_, index)| *index).collect();
            let lost_index = holders.index_of(lost)?;
            let blinded = blind_for_repair(
                held.share(),
                held.public(),
                lost_index,
                &helpers,
                &contributions,
            )?;
            let help = encode(held.generation(), &blinded, held.public());
            self.send_package(&kind, lost, &help)?;
            Step::Done
        };
        self.forget_sharing(&sharing)?;
        Ok(step)
    }

    /// Rebuilds this holder's share from what the helpers sent, if it fits the public shares that all holders confirmed.
    ///
    /// # Errors
    /// [`CeremonyError::Waiting`] until all helpers took round 3; [`CeremonyError::Contribution`] names the file of a
    /// helper that cheated; [`CeremonyError::Tampered`] that of one with other public shares; and others.
    pub fn repair_finish(&self) -> Result<Step, CeremonyError> {
        let holders = self.key_holders()?;
        let path = self.repair_path();
        if !self.files().exists(&path)? {
            if self.folder.held_share(self.folder.generation_in_force()?).is_ok() {
                return Ok(Step::AlreadyDone);
            }
            let problem = "nobody was asked to repair the share; run first: repair ask";
            return Err(CeremonyError::OutOfOrder { problem: problem.to_owned() });
        }
        let request = self.parse_request(&self.member, &self.folder.private_text(&path)?)?;
        let sharing = self.repairing(&holders, &self.member, &request)?;
        let kind = help_kind(&sharing);
        let mut helps = Vec::new();
        for (helper, _) in &sharing.contributors {
            helps.push(self.help(&kind, helper, &holders)?);
        }
        let Some(Help { generation, public, .. }) = helps.first() else {
            return Err(CeremonyError::OutOfOrder { problem: "no helper was asked".to_owned() });
        };
        for (help, (helper, _)) in helps.iter().zip(&sharing.contributors) {
            if help.generation != *generation || help.public != *public {
                let path = self.exchange.path(&package_subject(&kind, helper, &self.member));
                let problem = "its public shares are not those of the other helpers; complete the refresh everywhere first";
                return Err(CeremonyError::tampered(&path, helper, problem));
            }
        }
        self.check_confirmed(*generation, public, &holders.members())?;

        let own = holders.index_of(&self.member)?;
        let parts = sharing
            .contributors
            .iter()
            .zip(&helps)
            .map(|((helper, index), help)| {
                Ok((*index, self.commitment(&sharing, helper)?, help.blinded.clone()))
            })
            .collect::<Result<Vec<_>, CeremonyError>>()?;
        let share = repair(public, own, &parts).map_err(|source| {
            let culprit = source.culprit().and_then(|culprit| {
                sharing.contributors.iter().find(|(_, index)| *index == culprit)
            });
            match culprit {
                Some((helper, _)) => CeremonyError::Contribution {
                    path: self.exchange.path(&package_subject(&kind, helper, &self.member)),
                    from: helper.clone(),
                    source,
                },
                None => source.into(),
            }
        })?;
        let named = holders
            .list
            .iter()
            .map(|(member, index)| Ok(NamedShare::new(member.name(), public.get(*index)?)))
            .collect::<Result<_, CeremonyError>>()?;
        self.folder.write_held_share(*generation, &share, holders.threshold, named)?;
        if self.folder.generation_in_force()? != *generation {
            self.folder.put_in_force(*generation)?;
        }
        self.files().remove(&path)?;
        self.exchange.remove(&request_subject(&self.member))?;
        for (helper, _) in &sharing.contributors {
            self.remove_package(&kind, helper, &self.member)?;
        }
        Ok(Step::Done)
    }

    /// The run that `lost` asked this helper for.
    fn asked(&self, holders: &KeyHolders, lost: &Member) -> Result<Sharing, CeremonyError> {
        holders.index_of(lost)?;
        let text = self.receive(&request_subject(lost))?;
        let sharing = self.repairing(holders, lost, &self.parse_request(lost, &text)?)?;
        let asked = sharing.contributors.iter().any(|(helper, _)| *helper == self.member);
        self.only_for("this repair: others were asked", asked)?;
        Ok(sharing)
    }

    fn repairing(
        &self,
        holders: &KeyHolders,
        lost: &Member,
        request: &Request,
    ) -> Result<Sharing, CeremonyError> {
        let refused = |problem: &str| {
            CeremonyError::tampered(&self.exchange.path(&request_subject(lost)), lost, problem)
        };
        let is_run = request.run.len() == 16
            && request.run.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_run {
            return Err(refused("its run is not 16 hexadecimal digits"));
        }
        let mut contributors = Vec::new();
        for helper in &request.helpers {
            if helper == lost || contributors.iter().any(|(known, _)| known == helper) {
                return Err(refused("a helper stands there twice, or is the one who asks"));
            }
            contributors.push((helper.clone(), holders.index_of(helper)?));
        }
        if contributors.len() < usize::from(holders.threshold) {
            let problem = format!("{} helpers are needed at least", holders.threshold);
            return Err(refused(&problem));
        }
        Ok(Sharing {
            name: format!("repair-{}", request.run),
            steps: ["repair assist 1", "repair assist 2"],
            root: Root::Share(holders.index_of(lost)?),
            threshold: holders.threshold,
            contributors,
        })
    }

    fn parse_request(&self, lost: &Member, text: &str) -> Result<Request, CeremonyError> {
        serde_json::from_str(text).map_err(|error| {
            CeremonyError::tampered(&self.exchange.path(&request_subject(lost)), lost, error)
        })
    }

    fn help(
        &self,
        kind: &PackageKind,
        from: &Member,
        holders: &KeyHolders,
    ) -> Result<Help, CeremonyError> {
        let bytes = self.open_package(kind, from)?;
        decode(&bytes, holders).ok_or_else(|| {
            let path = self.exchange.path(&package_subject(kind, from, &self.member));
            CeremonyError::tampered(&path, from, "it is not a helper's part in a repair")
        })
    }

    /// What was asked for, until the share is here.
    fn repair_path(&self) -> PathBuf {
        self.state_path("repair.json")
    }
}

/// The generation (4 bytes, big-endian), the blinded share (32), then each holder's index (1) and public share (32).
fn encode(generation: Generation, blinded: &[u8; 32], public: &PublicShares) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(36 + 33 * public.shares().len()));
    bytes.extend_from_slice(&generation.get().to_be_bytes());
    bytes.extend_from_slice(blinded);
    for share in public.shares() {
        bytes.push(share.index().get());
        bytes.extend_from_slice(share.as_bytes());
    }
    bytes
}

fn decode(bytes: &[u8], holders: &KeyHolders) -> Option<Help> {
    let (generation, rest) = bytes.split_first_chunk::<4>()?;
    let (blinded, rest) = rest.split_first_chunk::<32>()?;
    let (entries, []) = rest.as_chunks::<33>() else { return None };
    let shares = entries
        .iter()
        .map(|[index, element @ ..]| {
            PublicShare::from_bytes(ShareIndex::new(*index).ok()?, element).ok()
        })
        .collect::<Option<Vec<_>>>()?;
    Some(Help {
        generation: Generation::new(u32::from_be_bytes(*generation))?,
        blinded: Zeroizing::new(blinded.to_vec()),
        public: PublicShares::new(holders.threshold, shares).ok()?,
    })
}

fn help_kind(sharing: &Sharing) -> PackageKind {
    PackageKind { name: format!("{}-share", sharing.name).into(), step: "repair assist 3" }
}

const fn request_subject(lost: &Member) -> Subject<'_> {
    Subject { kind: REQUEST, from: lost, to: None, step: "repair ask" }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
