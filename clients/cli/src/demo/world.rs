//! The event as the demo's people see it: a client for each of them, and the processes behind.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanyard_ceremony::Member;
use lanyard_client::{ClientError, Connection, badge::derive_print, call};
use lanyard_core::badge::{BadgeSecret, IssuingKey};
use lanyard_core::ids::{Authority, BadgeNumber, PrintNumber};
use lanyard_core::manifest::VerifiedManifest;
use lanyard_env::Env;
use lanyard_liar::LiarHandle;
use lanyard_transport::Role;
use lanyard_wire::committee::v1::badge_service_client::BadgeServiceClient;
use lanyard_wire::committee::v1::disclosure_service_client::DisclosureServiceClient;
use lanyard_wire::committee::v1::enrolment_service_client::EnrolmentServiceClient;
use lanyard_wire::common::v1 as common;
use lanyard_wire::gate::v1 as gate;
use lanyard_wire::gate::v1::gate_service_client::GateServiceClient;
use lanyard_wire::police::v1::case_service_client::CaseServiceClient;
use lanyard_wire::police::v1::desk_service_client::DeskServiceClient as PoliceDesk;
use lanyard_wire::police::v1::subject_service_client::SubjectServiceClient;
use lanyard_wire::police::v1::watchlist_service_client::WatchlistServiceClient;
use lanyard_wire::pseudonym::v1::key_share_service_client::KeyShareServiceClient;
use lanyard_wire::sponsor::v1::desk_service_client::DeskServiceClient as SponsorDesk;
use lanyard_wire::staff::v1::staff_service_client::StaffServiceClient;
use rand::Rng as _;
use tokio::time::sleep;
use tonic::transport::Channel;
use zeroize::Zeroizing;

use super::error::DemoError;
use crate::cluster::Cluster;

/// How long anything may take that is not measured, on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(25);

/// A badge as the issuing station knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Badge {
    pub(super) number: BadgeNumber,
    pub(super) print: PrintNumber,
}

/// The people of one gate.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) scanner: GateServiceClient<Channel>,
    pub(super) supervisor: GateServiceClient<Channel>,
    pub(super) operator: GateServiceClient<Channel>,
}

/// Everything that the demo acts with.
pub(super) struct World {
    pub(super) env: Env,
    pub(super) cluster: Cluster,
    pub(super) liar: LiarHandle,
    pub(super) manifest: Arc<VerifiedManifest>,
    pub(super) issuing: IssuingKey,
    /// The police's own.
    pub(super) staff_issuing: IssuingKey,
    pub(super) enrolment: EnrolmentServiceClient<Channel>,
    pub(super) badges: BadgeServiceClient<Channel>,
    pub(super) watchlists: WatchlistServiceClient<Channel>,
    pub(super) subjects: SubjectServiceClient<Channel>,
    pub(super) cases: CaseServiceClient<Channel>,
    pub(super) disclosures: DisclosureServiceClient<Channel>,
    pub(super) staff: StaffServiceClient<Channel>,
    pub(super) police_desk: PoliceDesk<Channel>,
    pub(super) sponsor_desk: SponsorDesk<Channel>,
    pub(super) trustee: KeyShareServiceClient<Channel>,
    pub(super) gate_1: Gate,
    pub(super) gate_2: Gate,
}

impl Gate {
    fn open(env: &Env, folder: &Path) -> Result<Self, ClientError> {
        let as_role = |role| Connection::open(env, folder, &[role], None)?.gate();
        Ok(Self {
            scanner: as_role(Role::Scanner)?,
            supervisor: as_role(Role::Supervisor)?,
            operator: as_role(Role::Operator)?,
        })
    }

    /// A check with a nonce of its own.
    pub(super) async fn check(
        &self,
        env: &Env,
        credential: &str,
        access_point: &str,
    ) -> Result<gate::CheckResponse, ClientError> {
        self.check_as(credential, access_point, nonce(env)).await
    }

    pub(super) async fn check_as(
        &self,
        credential: &str,
        access_point: &str,
        nonce: Vec<u8>,
    ) -> Result<gate::CheckResponse, ClientError> {
        let request = gate::CheckRequest {
            credential: credential.to_owned(),
            access_point: access_point.to_owned(),
            direction: gate::Direction::In.into(),
            nonce,
        };
        call("check a badge", self.scanner.clone().check(request).await)
    }

    pub(super) async fn state(
        &self,
        authority: Authority,
    ) -> Result<gate::AuthorityState, ClientError> {
        let asked = self.operator.clone().get_sync_state(gate::GetSyncStateRequest {}).await;
        let state = call("ask the gate what it knows", asked)?;
        let wanted = common::Authority::from(authority);
        let found = state.authorities.into_iter().find(|one| one.authority() == wanted);
        Ok(found.unwrap_or_default())
    }
}

/// 16 random bytes.
pub(super) fn nonce(env: &Env) -> Vec<u8> {
    let mut nonce = vec![0; 16];
    env.rng().fill_bytes(&mut nonce);
    nonce
}

impl World {
    pub(super) fn open(
        env: &Env,
        cluster: Cluster,
        liar: LiarHandle,
        passphrase: &str,
    ) -> Result<Self, DemoError> {
        let act =
            |member: &Member, role| Connection::open(env, &cluster.folder(member), &[role], None);
        let registrar = act(&Member::Committee, Role::Operator)?;
        let officer = act(&Member::Police, Role::Operator)?;
        let gates = cluster.gates();
        let [gate_1, gate_2] = gates.as_slice() else {
            return Err(DemoError::unexpected("the event has not two gates"));
        };
        Ok(Self {
            issuing: registrar.folder().issuing_key(passphrase)?,
            staff_issuing: officer.folder().issuing_key(passphrase)?,
            manifest: Arc::clone(registrar.manifest()),
            enrolment: registrar.enrolment()?,
            badges: registrar.badges()?,
            watchlists: officer.watchlists()?,
            subjects: officer.subjects()?,
            cases: officer.cases()?,
            disclosures: registrar.disclosures()?,
            staff: officer.staff()?,
            police_desk: act(&Member::Police, Role::Desk)?.police_desk()?,
            sponsor_desk: act(&Member::Sponsor, Role::Desk)?.sponsor_desk()?,
            trustee: act(&Member::Trustee, Role::Operator)?.key_share()?,
            gate_1: Gate::open(env, &cluster.folder(gate_1))?,
            gate_2: Gate::open(env, &cluster.folder(gate_2))?,
            env: env.clone(),
            cluster,
            liar,
        })
    }

    pub(super) fn folder(&self, member: &Member) -> PathBuf {
        self.cluster.folder(member)
    }

    /// The text on a badge.
    pub(super) fn text(&self, badge: Badge) -> Zeroizing<String> {
        let print = derive_print(&self.issuing, &self.manifest.event, badge.number, badge.print);
        Zeroizing::new(print.text.expose_str().to_owned())
    }

    pub(super) fn secret(&self, badge: Badge) -> BadgeSecret {
        self.issuing.badge_secret(&self.manifest.event, badge.number, badge.print)
    }

    /// How far both authorities' publication is: sizes of the signed log, and changes that wait.
    pub(super) async fn publication(&self) -> Result<[Published; 2], ClientError> {
        let request = lanyard_wire::committee::v1::GetPublicationRequest {};
        let committee = self.badges.clone().get_publication(request).await;
        let committee = call("ask how far publication is", committee)?;
        let request = lanyard_wire::police::v1::GetPublicationRequest {};
        let police = self.subjects.clone().get_publication(request).await;
        let police = call("ask how far publication is", police)?;
        Ok([
            Published {
                size: committee.log_size,
                quorum: committee.quorum_size,
                waiting: committee.waiting,
                records: committee.records,
            },
            Published {
                size: police.log_size,
                quorum: police.quorum_size,
                waiting: police.waiting,
                records: police.records,
            },
        ])
    }

    /// Waits until everything that was acknowledged so far is published, has its quorum, and is at both gates.
    pub(super) async fn published(&self) -> Result<[Published; 2], DemoError> {
        // What was acknowledged just now is in the tick that begins next, at the latest.
        let begun = self.publication().await?;
        let published = eventually("the changes are published", PATIENCE, async || {
            let now = self.publication().await?;
            let done = begun.iter().zip(&now).all(|(begun, now)| {
                now.size >= begun.size + 2 && now.waiting == 0 && now.quorum >= begun.size + 2
            });
            Ok(done.then_some(now))
        })
        .await?;
        for gate in [&self.gate_1, &self.gate_2] {
            for (authority, published) in Authority::ALL.into_iter().zip(&published) {
                eventually("the gates have what is published", PATIENCE, async || {
                    let state = gate.state(authority).await?;
                    Ok((state.quorum_size >= published.quorum).then_some(()))
                })
                .await?;
            }
        }
        Ok(published)
    }
}

/// How far one authority's publication is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Published {
    pub(super) size: u64,
    pub(super) quorum: u64,
    pub(super) waiting: u64,
    pub(super) records: u64,
}

/// Looks until there is an answer. A service that cannot be reached just now is looked for again.
pub(super) async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>, DemoError>,
) -> Result<T, DemoError> {
    let start = Instant::now();
    loop {
        let looked = match look().await {
            Err(DemoError::Client(error)) if error.is_unreachable() => Err(error),
            Err(error) => return Err(error),
            Ok(Some(found)) => return Ok(found),
            Ok(None) => Ok(()),
        };
        if start.elapsed() >= limit {
            return Err(match looked {
                Err(error) => error.into(),
                Ok(()) => DemoError::NotInTime { what: what.to_owned(), limit },
            });
        }
        sleep(POLL).await;
    }
}
