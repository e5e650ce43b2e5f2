//! What share holders send each other: sealed packages, and confirmations of the public shares that they ended with.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lanyard_core::codec::join;
use lanyard_core::hpke_box;
use lanyard_core::threshold::PublicShares;
use lanyard_party::Generation;
use zeroize::Zeroizing;

use crate::error::CeremonyError;
use crate::exchange::Subject;
use crate::member::Member;
use crate::seat::Seat;

/// A kind of sealed packages: what their folder is called, and the step that makes them.
pub(crate) struct PackageKind {
    pub(crate) name: Cow<'static, str>,
    pub(crate) step: &'static str,
}

impl Seat {
    /// Seals a package to another holder and leaves it in the exchange folder, unless it is there.
    pub(crate) fn send_package(
        &self,
        kind: &PackageKind,
        to: &Member,
        package: &[u8],
    ) -> Result<bool, CeremonyError> {
        let subject = package_subject(kind, &self.member, to);
        if self.exchange.has(&subject)? {
            return Ok(false);
        }
        let key = self.announced(to, "HPKE key", |known| known.hpke)?;
        let (info, aad) = self.package_context(&subject);
        let sealed = hpke_box::seal_to(&key, &info, &aad, package, &mut self.env.rng())?;
        self.publish(&subject, &format!("{}\n", BASE64.encode(sealed)))?;
        Ok(true)
    }

    /// Opens the package that another holder sealed to this one.
    pub(crate) fn open_package(
        &self,
        kind: &PackageKind,
        from: &Member,
    ) -> Result<Zeroizing<Vec<u8>>, CeremonyError> {
        let subject = package_subject(kind, from, &self.member);
        let payload = self.receive(&subject)?;
        let refused = |problem: &dyn ToString| {
            CeremonyError::tampered(&self.exchange.path(&subject), from, problem.to_string())
        };
        let sealed = BASE64.decode(payload.trim_end()).map_err(|error| refused(&error))?;
        let (info, aad) = self.package_context(&subject);
        hpke_box::open(&self.folder.hpke_key()?, &info, &aad, &sealed)
            .map_err(|error| refused(&error))
    }

    fn package_context(&self, subject: &Subject<'_>) -> (Vec<u8>, Vec<u8>) {
        let to = subject.to.map_or("", Member::name);
        let aad = join(&[
            self.event.as_bytes(),
            subject.kind.as_bytes(),
            subject.from.name().as_bytes(),
            to.as_bytes(),
        ]);
        (b"lanyard v1 key generation".to_vec(), aad)
    }

    /// Takes a package away that has been used: who gets hold of a key later shall not open it.
    pub(crate) fn remove_package(
        &self,
        kind: &PackageKind,
        from: &Member,
        to: &Member,
    ) -> Result<(), CeremonyError> {
        self.exchange.remove(&package_subject(kind, from, to))
    }

    /// Signs a digest of the public shares of a generation for all to compare, unless it is there.
    pub(crate) fn confirm(&self, generation: Generation) -> Result<(), CeremonyError> {
        let (kind, step) = confirmation(generation);
        let subject = Subject { kind: &kind, from: &self.member, to: None, step: &step };
        if self.exchange.has(&subject)? {
            return Ok(());
        }
        self.publish(&subject, &self.digest(&self.folder.public_shares(generation)?))
    }

    /// Checks that all holders have the same public shares of a generation as this one.
    pub(crate) fn check_confirmations(
        &self,
        generation: Generation,
        holders: &[Member],
    ) -> Result<(), CeremonyError> {
        self.check_confirmed(generation, &self.folder.public_shares(generation)?, holders)
    }

    /// Checks that all holders confirm these public shares.
    pub(crate) fn check_confirmed(
        &self,
        generation: Generation,
        public: &PublicShares,
        holders: &[Member],
    ) -> Result<(), CeremonyError> {
        let own = self.digest(public);
        let (kind, step) = confirmation(generation);
        for from in holders {
            let subject = Subject { kind: &kind, from, to: None, step: &step };
            if self.receive_from_any(&subject)? != own {
                let path = self.exchange.path(&subject);
                let problem = "it confirms other public shares than this holder has: the ceremony was disturbed, and \
                               these shares must not be used";
                return Err(CeremonyError::tampered(&path, from, problem));
            }
        }
        Ok(())
    }

    /// A digest of the public shares, which are random: it tells nobody what they are.
    fn digest(&self, public: &PublicShares) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("lanyard v1 public shares confirmation");
        hasher.update(&join(&[self.event.as_bytes(), &[public.threshold()]]));
        for share in public.shares() {
            hasher.update(&[share.index().get()]);
            hasher.update(share.as_bytes());
        }
        format!("{}\n", BASE64.encode(hasher.finalize().as_bytes()))
    }
}

pub(crate) fn package_subject<'a>(
    kind: &'a PackageKind,
    from: &'a Member,
    to: &'a Member,
) -> Subject<'a> {
    Subject { kind: &kind.name, from, to: Some(to), step: kind.step }
}

/// The kind of confirmations of a generation, and the step that makes them.
fn confirmation(generation: Generation) -> (String, String) {
    match generation {
        Generation::FIRST => ("dkg-confirmation".to_owned(), "dkg 3".to_owned()),
        later => (format!("refresh-{later}-confirmation"), "refresh 3".to_owned()),
    }
}
