//! Certificates: each party's own authority, its services and its people.

use std::path::{Path, PathBuf};

use lanyard_core::ids::Timestamp;
use lanyard_env::Mode;
use lanyard_transport::certificates::{CertificateAuthority, make_csr};
use lanyard_transport::{Identity, PeerId, Role};

use crate::error::{CeremonyError, Step};
use crate::exchange::Subject;
use crate::member::Member;
use crate::seat::Seat;

const DAY: u64 = 24 * 60 * 60 * 1_000;

/// How long an authority lives, in milliseconds: three years, longer than an event and its aftermath.
const AUTHORITY_MILLIS: u64 = 3 * 365 * DAY;
/// How long a service's certificate lives, in milliseconds.
const SERVICE_MILLIS: u64 = 397 * DAY;
/// How long a person's certificate lives, in milliseconds.
const PERSON_MILLIS: u64 = 180 * DAY;
/// Certificates start this much before now, in milliseconds, for clocks that run behind.
const BACKDATE_MILLIS: u64 = 60 * 60 * 1_000;

/// Whose certificate to renew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder<'a> {
    /// The member's service.
    Service,
    /// A person or desk.
    Person(Role, &'a str),
}

impl Seat {
    /// The gates' authority certifies a gate's service, as the gate requested in its announcement.
    ///
    /// # Errors
    /// [`CeremonyError::NotForMember`], [`CeremonyError::Waiting`] and others.
    pub fn certify_gate(&self, gate: &Member) -> Result<Step, CeremonyError> {
        const STEP: &str = "certify a gate";
        self.only_for(STEP, self.member == Member::GateAuthority)?;
        let (Member::Gate(_), Some(peer)) = (gate, gate.service()) else {
            return Err(CeremonyError::NotForMember { member: gate.clone(), step: STEP });
        };
        let subject = certificate_subject(&self.member, gate);
        if self.exchange.has(&subject)? {
            return Ok(Step::AlreadyDone);
        }
        let request =
            self.announced(gate, "certificate request", |known| known.certificate_request_pem)?;
        self.publish(&subject, &self.certify(&peer, &request)?)?;
        Ok(Step::Done)
    }

    /// Signs a certificate with this member's authority, for one of its own party.
    ///
    /// # Errors
    /// [`CeremonyError::Certificate`] if the request is for somebody else, and others.
    pub fn certify(&self, peer: &PeerId, csr_pem: &str) -> Result<String, CeremonyError> {
        self.only_for("certify", self.member.certifies())?;
        let lifetime = if peer.role() == Role::Service { SERVICE_MILLIS } else { PERSON_MILLIS };
        let (from, until) = self.period(lifetime);
        Ok(self.authority()?.issue(peer, csr_pem, from, until)?)
    }

    /// Adds a person or desk: a key and its request made in this member's `operators/`, certified by `authority`,
    /// which is this member itself or, for a gate, the gates' authority. Idempotent.
    ///
    /// # Errors
    /// [`CeremonyError::Peer`] for a bad name, [`CeremonyError::NotForMember`] for the role `service`, and others.
    pub fn add_operator(
        &self,
        authority: &Self,
        role: Role,
        name: &str,
    ) -> Result<Step, CeremonyError> {
        self.only_for("add an operator with the role service", role != Role::Service)?;
        let peer = self.member.person(role, name)?;
        let stem = self.person_stem(role, name);
        // The certificate is written last: it stands for both being there.
        if self.files().exists(&stem.certificate)? {
            return Ok(Step::AlreadyDone);
        }
        self.request_and_install(authority, &peer, &stem)?;
        Ok(Step::Done)
    }

    /// Renews a certificate under a new key. A running service picks both up by itself; if this is interrupted
    /// between the two files, run it again.
    ///
    /// # Errors
    /// [`CeremonyError::KeyFile`] if there is nothing to renew, and others.
    pub fn renew_certificate(
        &self,
        authority: &Self,
        holder: Holder<'_>,
    ) -> Result<(), CeremonyError> {
        let (peer, stem) = match holder {
            Holder::Person(role, name) => {
                (self.member.person(role, name)?, self.person_stem(role, name))
            }
            Holder::Service => match self.member.service() {
                Some(peer) => (peer, self.service_stem()),
                None => {
                    let step = "renew a service's certificate";
                    return Err(CeremonyError::NotForMember { member: self.member.clone(), step });
                }
            },
        };
        self.folder.private_text(&stem.key)?;
        self.request_and_install(authority, &peer, &stem)
    }

    /// Makes this member's authority and, where the member runs a service, its certificate; resumes.
    pub(crate) fn make_authority(&self) -> Result<String, CeremonyError> {
        let path = self.folder.ca_certificate_path();
        self.ensure(&path, |path| {
            let (from, until) = self.authority_period();
            let authority = CertificateAuthority::generate(self.member.party(), from, until)?;
            self.write_private(&self.folder.ca_key_path(), &authority.key_pem())?;
            self.write_public(path, authority.certificate_pem())
        })?;
        let authority = self.authority()?;
        if let Some(peer) = self.member.service() {
            let stem = self.service_stem();
            self.ensure(&stem.certificate, |_| self.request_and_install(self, &peer, &stem))?;
        }
        Ok(authority.certificate_pem().to_owned())
    }

    /// Makes a gate's key and the request for its certificate; resumes.
    pub(crate) fn request_service(&self) -> Result<String, CeremonyError> {
        let peer = self.member.service().ok_or_else(|| CeremonyError::NotForMember {
            member: self.member.clone(),
            step: "request a certificate",
        })?;
        let request_path = self.state_path("service.csr");
        self.ensure(&request_path, |path| {
            let made = make_csr(&peer)?;
            self.write_private(&self.service_stem().key, &made.key_pem)?;
            self.write_public(path, &made.csr_pem)
        })?;
        let request = self.files().read(&request_path)?;
        String::from_utf8(request).map_err(|error| CeremonyError::state(&request_path, error))
    }

    /// Takes the certificate that the gates' authority left for this gate.
    pub(crate) fn install_service_certificate(&self) -> Result<(), CeremonyError> {
        let stem = self.service_stem();
        if self.files().exists(&stem.certificate)? {
            return Ok(());
        }
        let subject = certificate_subject(&Member::GateAuthority, &self.member);
        let certificate = self.receive(&subject)?;
        let key = self.folder.private_text(&stem.key)?;
        let refused = |problem: &dyn ToString| {
            let path = self.exchange.path(&subject);
            CeremonyError::tampered(&path, subject.from, problem.to_string())
        };
        let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes())
            .map_err(|error| refused(&error))?;
        if Some(identity.peer()) != self.member.service() {
            return Err(refused(&format!("it certifies {}", identity.peer())));
        }
        self.write_public(&stem.certificate, &certificate)
    }

    pub(crate) fn only_for(&self, step: &'static str, allowed: bool) -> Result<(), CeremonyError> {
        if allowed {
            return Ok(());
        }
        Err(CeremonyError::NotForMember { member: self.member.clone(), step })
    }

    fn request_and_install(
        &self,
        authority: &Self,
        peer: &PeerId,
        stem: &Stem,
    ) -> Result<(), CeremonyError> {
        let made = make_csr(peer)?;
        let certificate = authority.certify(peer, &made.csr_pem)?;
        self.write_private(&stem.key, &made.key_pem)?;
        self.write_public(&stem.certificate, &certificate)
    }

    fn authority(&self) -> Result<CertificateAuthority, CeremonyError> {
        let path = self.folder.ca_certificate_path();
        let certificate = String::from_utf8(self.files().read(&path)?)
            .map_err(|error| CeremonyError::state(&path, error))?;
        let key = self.folder.private_text(&self.folder.ca_key_path())?;
        Ok(CertificateAuthority::from_pem(self.member.party(), &certificate, &key)?)
    }

    pub(crate) fn authority_period(&self) -> (Timestamp, Timestamp) {
        self.period(AUTHORITY_MILLIS)
    }

    fn period(&self, lifetime: u64) -> (Timestamp, Timestamp) {
        let now = self.env.now();
        (now.minus_millis(BACKDATE_MILLIS), now.plus_millis(lifetime))
    }

    fn service_stem(&self) -> Stem {
        Stem {
            key: self.folder.service_key_path(),
            certificate: self.folder.service_certificate_path(),
        }
    }

    fn person_stem(&self, role: Role, name: &str) -> Stem {
        Stem {
            key: self.folder.operator_key_path(role, name),
            certificate: self.folder.operator_certificate_path(role, name),
        }
    }

    fn write_private(&self, path: &Path, text: &str) -> Result<(), CeremonyError> {
        Ok(self.files().write_atomic(path, text.as_bytes(), Mode::Private)?)
    }

    fn write_public(&self, path: &Path, text: &str) -> Result<(), CeremonyError> {
        Ok(self.files().write_atomic(path, text.as_bytes(), Mode::Public)?)
    }
}

/// A key and its certificate.
struct Stem {
    key: PathBuf,
    certificate: PathBuf,
}

const fn certificate_subject<'a>(authority: &'a Member, gate: &'a Member) -> Subject<'a> {
    Subject { kind: "certificates", from: authority, to: Some(gate), step: "certify-gate" }
}
