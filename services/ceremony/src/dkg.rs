//! The key generation: each holder gets a share of the pseudonym key, and nobody ever has the key.
//!
//! FROST's distributed key generation (RFC 9591 names it, <https://eprint.iacr.org/2020/852> figure 1 gives it) in
//! three steps a holder. What it calls packages travel sealed to their recipient (HPKE) and signed by their author:
//! those of round 2 must be secret, those of round 1 would give the public shares away. FROST needs a broadcast for
//! round 1; instead every holder signs a digest of the public shares that it ended with, and nobody adopts a manifest
//! unless all of them agree.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use frost_ristretto255::Identifier;
use frost_ristretto255::keys::dkg::{self, round1, round2};
use frost_ristretto255::keys::{KeyPackage, PublicKeyPackage};
use lanyard_core::threshold::{KeyShare, PublicShare, ShareIndex};
use lanyard_env::{EnvRng, Mode};
use lanyard_party::{Generation, NamedShare};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::{CeremonyError, Step};
use crate::member::Member;
use crate::packages::{PackageKind, package_subject};
use crate::plan::EventPlan;
use crate::seat::{Seat, write_json};

const ROUND_1: PackageKind = PackageKind { name: Cow::Borrowed("dkg-round-1"), step: "dkg 1" };
const ROUND_2: PackageKind = PackageKind { name: Cow::Borrowed("dkg-round-2"), step: "dkg 2" };

/// `ceremony/dkg.secret`: what a holder remembers between the rounds; removed when it has its share.
///
/// Round 2 is a function of this and of what the others sent, so that nothing else need be kept.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct State {
    threshold: u8,
    /// In the order of their indices, from 1.
    #[zeroize(skip)]
    holders: Vec<Member>,
    /// FROST's secret package of round 1, base64.
    secret: String,
    /// FROST's package of round 1, base64.
    #[zeroize(skip)]
    package: String,
}

impl Seat {
    /// Round 1: draws a polynomial and sends each other holder a commitment to it.
    ///
    /// # Errors
    /// [`CeremonyError::NotForMember`], [`CeremonyError::Waiting`] until all holders are prepared, and others.
    pub fn dkg_round1(&self, plan: &EventPlan) -> Result<Step, CeremonyError> {
        plan.check()?;
        let holders = plan.holders();
        self.only_for("key generation", holders.contains(&self.member))?;
        if self.has_share()? {
            return Ok(Step::AlreadyDone);
        }
        let path = self.dkg_path();
        let resumed = self.files().exists(&path)?;
        if !resumed {
            let others = u16::try_from(holders.len()).unwrap_or(u16::MAX);
            let threshold = plan.share_holders.threshold;
            let (secret, package) = dkg::part1(
                identifier(self.own_index(holders)?)?,
                others,
                u16::from(threshold),
                FrostRng(self.env.rng()),
            )
            .map_err(|problem| self.frost(problem, None))?;
            let encode = |bytes: Result<Vec<u8>, _>| {
                bytes
                    .map(|bytes| BASE64.encode(Zeroizing::new(bytes)))
                    .map_err(|problem| self.frost(problem, None))
            };
            let state = State {
                threshold,
                holders: holders.to_vec(),
                secret: encode(secret.serialize())?,
                package: encode(package.serialize())?,
            };
            write_json(self.files(), &path, &state, Mode::Private)?;
        }
        let state = self.dkg_state()?;
        let package = decode(&path, &state.package)?;
        let mut sent = false;
        for other in self.others(&state) {
            sent |= self.send_package(&ROUND_1, other, &package)?;
        }
        Ok(if sent || !resumed { Step::Done } else { Step::AlreadyDone })
    }

    /// Round 2: sends each other holder its point of this holder's polynomial.
    ///
    /// # Errors
    /// [`CeremonyError::Waiting`] until all holders took round 1; [`CeremonyError::KeyGeneration`] names the file of
    /// a holder that cheated; and others.
    pub fn dkg_round2(&self) -> Result<Step, CeremonyError> {
        if self.has_share()? {
            return Ok(Step::AlreadyDone);
        }
        let state = self.dkg_state()?;
        let round1 = self.round1_packages(&state)?;
        let (_, packages) = self.second_part(&state, &round1)?;
        let mut sent = false;
        for other in self.others(&state) {
            let index = identifier(index_of(&state.holders, other)?)?;
            // FROST makes one for each other holder.
            let Some(package) = packages.get(&index) else { continue };
            let bytes =
                Zeroizing::new(package.serialize().map_err(|problem| self.frost(problem, None))?);
            sent |= self.send_package(&ROUND_2, other, &bytes)?;
        }
        Ok(if sent { Step::Done } else { Step::AlreadyDone })
    }

    /// Round 3: adds the points up to this holder's share, keeps it with all public shares, and confirms them.
    ///
    /// # Errors
    /// [`CeremonyError::Waiting`] until all holders took round 2; [`CeremonyError::KeyGeneration`] names the file of
    /// a holder that cheated; and others.
    pub fn dkg_round3(&self) -> Result<Step, CeremonyError> {
        let step = if self.has_share()? {
            Step::AlreadyDone
        } else {
            self.finish_key_generation()?;
            Step::Done
        };
        self.confirm(Generation::FIRST)?;
        self.files().remove(&self.dkg_path())?;
        Ok(step)
    }

    fn finish_key_generation(&self) -> Result<(), CeremonyError> {
        let state = self.dkg_state()?;
        let round1 = self.round1_packages(&state)?;
        let (secret, _) = self.second_part(&state, &round1)?;
        let mut round2 = BTreeMap::new();
        for other in self.others(&state) {
            let bytes = self.open_package(&ROUND_2, other)?;
            let package = round2::Package::deserialize(&bytes)
                .map_err(|problem| self.frost(problem, Some((&ROUND_2, other))))?;
            round2.insert(identifier(index_of(&state.holders, other)?)?, package);
        }
        let (key, public) = dkg::part3(&secret, &round1, &round2)
            .map_err(|problem| self.blame(&state, &ROUND_2, problem))?;
        self.keep_share(&state, &key, &public)
    }

    /// Hands FROST's result to the protocol's own types, as 32-byte encodings.
    fn keep_share(
        &self,
        state: &State,
        key: &KeyPackage,
        public: &PublicKeyPackage,
    ) -> Result<(), CeremonyError> {
        let frost = |problem| self.frost(problem, None);
        let secret = Zeroizing::new(key.signing_share().serialize());
        let share = KeyShare::from_bytes(
            ShareIndex::new(self.own_index(&state.holders)?)?,
            &*bytes32(&secret).map_err(frost)?,
        )?;
        let mut shares = Vec::new();
        for (member, index) in state.holders.iter().zip(1..) {
            let element = public
                .verifying_shares()
                .get(&identifier(index)?)
                .ok_or_else(|| frost(frost_ristretto255::Error::UnknownIdentifier))?
                .serialize()
                .map_err(frost)?;
            let element = bytes32(&element).map_err(frost)?;
            let element = PublicShare::from_bytes(ShareIndex::new(index)?, &element)?;
            shares.push(NamedShare::new(member.name(), &element));
        }
        Ok(self.folder.write_held_share(Generation::FIRST, &share, state.threshold, shares)?)
    }

    fn round1_packages(
        &self,
        state: &State,
    ) -> Result<BTreeMap<Identifier, round1::Package>, CeremonyError> {
        let mut packages = BTreeMap::new();
        for other in self.others(state) {
            let bytes = self.open_package(&ROUND_1, other)?;
            let package = round1::Package::deserialize(&bytes)
                .map_err(|problem| self.frost(problem, Some((&ROUND_1, other))))?;
            packages.insert(identifier(index_of(&state.holders, other)?)?, package);
        }
        Ok(packages)
    }

    fn second_part(
        &self,
        state: &State,
        round1: &BTreeMap<Identifier, round1::Package>,
    ) -> Result<(round2::SecretPackage, BTreeMap<Identifier, round2::Package>), CeremonyError> {
        let secret = decode(&self.dkg_path(), &state.secret)?;
        let secret = round1::SecretPackage::deserialize(&secret)
            .map_err(|problem| self.frost(problem, None))?;
        dkg::part2(secret, round1).map_err(|problem| self.blame(state, &ROUND_1, problem))
    }

    fn has_share(&self) -> Result<bool, CeremonyError> {
        Ok(self.files().exists(&self.folder.share_key_path(Generation::FIRST))?)
    }

    fn dkg_path(&self) -> PathBuf {
        self.state_path("dkg.secret")
    }

    fn dkg_state(&self) -> Result<State, CeremonyError> {
        let path = self.dkg_path();
        if !self.files().exists(&path)? {
            return Err(CeremonyError::state(&path, "round 1 has not been taken here"));
        }
        let text = self.folder.private_text(&path)?;
        serde_json::from_str(&text).map_err(|error| CeremonyError::state(&path, error))
    }

    fn others<'a>(&'a self, state: &'a State) -> impl Iterator<Item = &'a Member> {
        state.holders.iter().filter(|holder| **holder != self.member)
    }

    fn own_index(&self, holders: &[Member]) -> Result<u8, CeremonyError> {
        index_of(holders, &self.member)
    }

    /// Names the file of the holder that FROST blames.
    fn blame(
        &self,
        state: &State,
        kind: &PackageKind,
        problem: frost_ristretto255::Error,
    ) -> CeremonyError {
        let culprits = problem.culprits();
        let culprit = state.holders.iter().zip(1..).find_map(|(member, index)| {
            identifier(index).is_ok_and(|id| culprits.contains(&id)).then_some(member)
        });
        self.frost(problem, culprit.map(|member| (kind, member)))
    }

    fn frost(
        &self,
        problem: frost_ristretto255::Error,
        file: Option<(&PackageKind, &Member)>,
    ) -> CeremonyError {
        let path = match file {
            Some((kind, from)) => self.exchange.path(&package_subject(kind, from, &self.member)),
            None => self.exchange.root().to_owned(),
        };
        CeremonyError::KeyGeneration { path, problem }
    }
}

fn index_of(holders: &[Member], member: &Member) -> Result<u8, CeremonyError> {
    holders
        .iter()
        .zip(1..)
        .find(|(holder, _)| *holder == member)
        .map(|(_, index)| index)
        .ok_or_else(|| CeremonyError::NotForMember {
            member: member.clone(),
            step: "key generation",
        })
}

fn identifier(index: u8) -> Result<Identifier, CeremonyError> {
    Identifier::try_from(u16::from(index))
        .map_err(|problem| CeremonyError::KeyGeneration { path: PathBuf::new(), problem })
}

fn decode(path: &Path, text: &str) -> Result<Zeroizing<Vec<u8>>, CeremonyError> {
    BASE64.decode(text).map(Zeroizing::new).map_err(|error| CeremonyError::state(path, error))
}

fn bytes32(bytes: &[u8]) -> Result<Zeroizing<[u8; 32]>, frost_ristretto255::Error> {
    let bytes = <[u8; 32]>::try_from(bytes);
    bytes.map(Zeroizing::new).map_err(|_| frost_ristretto255::Error::SerializationError)
}

/// The environment's generator as FROST's older `rand_core` knows it.
struct FrostRng(EnvRng);

impl frost_ristretto255::rand_core::RngCore for FrostRng {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.0.fill_bytes(dest);
    }

    fn try_fill_bytes(
        &mut self,
        dest: &mut [u8],
    ) -> Result<(), frost_ristretto255::rand_core::Error> {
        self.0.fill_bytes(dest);
        Ok(())
    }
}

impl frost_ristretto255::rand_core::CryptoRng for FrostRng {}
