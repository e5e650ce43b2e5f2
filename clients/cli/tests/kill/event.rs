//! An event of six processes, and those who work for its parties.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanyard::cluster::Cluster;
use lanyard::event::{create, free_addresses, plan};
use lanyard_ceremony::{EventPlan, EventTree, Member, Seat};
use lanyard_client::Connection;
use lanyard_client::badge::derive_print;
use lanyard_core::badge::IssuingKey;
use lanyard_core::ids::{BadgeNumber, PrintNumber};
use lanyard_core::manifest::VerifiedManifest;
use lanyard_env::Env;
use lanyard_transport::Role;
use lanyard_wire::committee::v1 as committee;
use lanyard_wire::committee::v1::badge_service_client::BadgeServiceClient;
use lanyard_wire::committee::v1::enrolment_service_client::EnrolmentServiceClient;
use lanyard_wire::committee::v1::import_people_request::Step;
use lanyard_wire::common::v1::AuditEntry;
use lanyard_wire::epoch::v1::epoch_service_client::EpochServiceClient;
use lanyard_wire::gate::v1::gate_service_client::GateServiceClient;
use lanyard_wire::police::v1 as police;
use lanyard_wire::police::v1::case_service_client::CaseServiceClient;
use lanyard_wire::police::v1::import_watchlist_request::Step as ListStep;
use lanyard_wire::police::v1::subject_service_client::SubjectServiceClient;
use lanyard_wire::police::v1::watchlist_service_client::WatchlistServiceClient;
use lanyard_wire::pseudonym::v1::GetUsageRequest;
use lanyard_wire::pseudonym::v1::key_share_service_client::KeyShareServiceClient;
use lanyard_wire::staff::v1 as staff;
use lanyard_wire::staff::v1::staff_service_client::StaffServiceClient;
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::acknowledged::Acknowledged;
use crate::quota::Holder;
use crate::wanted::{self, WANTED, Wanted, document, wanted};

const PASSPHRASE: &str = "kill test";
/// People whose badges are in use while processes die.
const BADGES: usize = 24;
/// Their numbers begin here: nobody who is imported under load, and may be on a list, has their names.
const FIRST_BADGE: usize = 17_000;
/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A badge in use.
pub(crate) struct Badge {
    pub(crate) reference: String,
    pub(crate) subject: Vec<u8>,
    pub(crate) text: String,
}

/// Those who work for the parties.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) enrolment: EnrolmentServiceClient<Channel>,
    pub(crate) badges: BadgeServiceClient<Channel>,
    pub(crate) subjects: SubjectServiceClient<Channel>,
    pub(crate) watchlists: WatchlistServiceClient<Channel>,
    pub(crate) cases: CaseServiceClient<Channel>,
    pub(crate) staff: StaffServiceClient<Channel>,
    /// The committee's and the police's.
    pub(crate) epochs: [EpochServiceClient<Channel>; 2],
    pub(crate) scanner: GateServiceClient<Channel>,
    pub(crate) supervisor: GateServiceClient<Channel>,
    pub(crate) gate_operator: GateServiceClient<Channel>,
    pub(crate) trustee: KeyShareServiceClient<Channel>,
}

/// The event.
pub(crate) struct Event {
    pub(crate) cluster: Cluster,
    pub(crate) clients: Clients,
    pub(crate) issuer: Issuer,
    pub(crate) holders: Arc<[Holder]>,
    plan: EventPlan,
    _dir: TempDir,
}

impl Event {
    /// Makes an event; nothing is started.
    pub(crate) async fn create() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let env = Env::system();
        let mut plan = plan(&env, None).expect("the sample plan");
        plan.tick_millis = 500;
        plan.screening.verdict_delay_seconds = 1;
        let addresses = free_addresses(&plan).expect("free ports");
        create(&env, dir.path(), &plan, &addresses, PASSPHRASE, |_, _| {}).expect("an event");
        // The program is this test's own, with crash points.
        let cluster = Cluster::open(&env, dir.path()).expect("the event");
        let act = |member: &Member, role| {
            Connection::open(&env, &cluster.folder(member), &[role], None).expect("an operator")
        };
        let (registrar, officer) =
            (act(&Member::Committee, Role::Operator), act(&Member::Police, Role::Operator));
        let gate = cluster.gates().remove(0);
        let clients = Clients {
            enrolment: registrar.enrolment().expect("a client"),
            badges: registrar.badges().expect("a client"),
            subjects: officer.subjects().expect("a client"),
            watchlists: officer.watchlists().expect("a client"),
            cases: officer.cases().expect("a client"),
            staff: officer.staff().expect("a client"),
            epochs: [&registrar, &officer].map(|one| one.epochs().expect("a client")),
            supervisor: act(&gate, Role::Supervisor).gate().expect("a client"),
            scanner: act(&gate, Role::Scanner).gate().expect("a client"),
            gate_operator: act(&gate, Role::Operator).gate().expect("a client"),
            trustee: act(&Member::Trustee, Role::Operator).key_share().expect("a client"),
        };
        let key = registrar.folder().issuing_key(PASSPHRASE).expect("the issuing key");
        let (key, manifest) = (Arc::new(key), Arc::clone(registrar.manifest()));
        let issuer = Issuer { key, manifest, badges: clients.badges.clone() };
        let holders = Holder::all(&env, &cluster, &issuer.manifest);
        Self { clients, issuer, holders, plan, cluster, _dir: dir }
    }

    /// Puts the next version of the manifest in force: the committee takes it up, and the trustee, who follows nobody. All
    /// others hear of it by the feeds.
    pub(crate) async fn amend(&self, acknowledged: &Acknowledged) {
        let version = acknowledged.note().manifest.max(1) + 1;
        let env = Env::system();
        let exchange = EventTree::exchange(self.cluster.dir());
        let seat = |member: &Member| Seat::open(&env, &self.cluster.folder(member), &exchange);
        let title = format!("{}, version {version}", self.plan.title);
        let plan = EventPlan { title, ..self.plan.clone() };
        // A service that starts sweeps away what is being written beside it: such a step is taken again.
        eventually("the manifest is drafted", async || {
            seat(&Member::Committee).is_ok_and(|seat| seat.draft_manifest(&plan).is_ok())
        })
        .await;
        for authority in [Member::Committee, Member::Police] {
            eventually("the manifest is signed", async || {
                seat(&authority).is_ok_and(|seat| seat.sign_manifest(&plan).is_ok())
            })
            .await;
        }
        for member in [Member::Committee, Member::Trustee] {
            eventually("the manifest is adopted", async || {
                seat(&member).is_ok_and(|seat| seat.adopt().is_ok())
            })
            .await;
        }
        acknowledged.note().manifest = version;
    }

    /// Enrols the people whose badges will be in use, issues them, has everybody cleared, and the gate know it.
    pub(crate) async fn issue_and_screen(&self) -> Arc<[Badge]> {
        let Clients { enrolment, .. } = &self.clients;
        let profile = |code: &str, category: &str, police| committee::Profile {
            code: code.to_owned(),
            category: category.to_owned(),
            police,
            ..Default::default()
        };
        let profiles = vec![profile("crew", "Volunteer", false), profile("patrol", "Police", true)];
        let request = committee::PutProfilesRequest { profiles };
        enrolment.clone().put_profiles(request).await.expect("profiles");
        self.clients.import_list(WANTED, wanted()).await.expect("a list");
        let numbers = FIRST_BADGE..FIRST_BADGE + BADGES;
        let people: Vec<_> = numbers.map(|number| person("B", number)).collect();
        self.clients.import(people.clone()).await.expect("people are imported");
        let people = people.into_iter().map(|person| person.reference).collect();
        let prints = self.issuer.issue(people).await.expect("prints are registered");
        eventually("everybody is cleared", async || {
            self.clients.screen().await.is_ok_and(|last| last.cleared == BADGES as u64)
        })
        .await;
        let references = prints.iter().map(|print| print.reference.clone()).collect();
        let people = self.clients.people(references).await.expect("people are listed");
        let badges: Arc<[Badge]> = std::iter::zip(prints, people)
            .map(|(Issued { reference, text, .. }, state)| {
                assert_eq!(state.person.map(|person| person.reference), Some(reference.clone()));
                Badge { reference, subject: state.subject_id, text }
            })
            .collect();
        assert_eq!(badges.len(), BADGES);
        badges
    }

    pub(crate) fn manifest(&self) -> &VerifiedManifest {
        &self.issuer.manifest
    }
}

/// A print that was issued.
pub(crate) struct Issued {
    pub(crate) reference: String,
    pub(crate) print_number: u32,
    pub(crate) text: String,
}

/// The issuing station.
#[derive(Clone)]
pub(crate) struct Issuer {
    key: Arc<IssuingKey>,
    manifest: Arc<VerifiedManifest>,
    badges: BadgeServiceClient<Channel>,
}

impl Issuer {
    /// Issues the prints of these people that wait.
    pub(crate) async fn issue(&self, references: Vec<String>) -> Result<Vec<Issued>, Status> {
        let request = committee::ListPrintsRequest { references, ..Default::default() };
        let mut waiting = self.badges.clone().list_prints(request).await?.into_inner();
        let (mut issued, mut prints) = (Vec::new(), Vec::new());
        while let Some(message) = waiting.message().await? {
            for print in message.prints {
                let number = BadgeNumber::new(print.badge_number);
                let of = PrintNumber::new(u16::try_from(print.print_number).expect("a print"));
                let derived = derive_print(&self.key, &self.manifest.event, number, of);
                prints.push(derived.seeds);
                issued.push(Issued {
                    reference: print.reference,
                    print_number: print.print_number,
                    text: derived.text.expose_str().to_owned(),
                });
            }
        }
        let register = tokio_stream::iter([committee::RegisterPrintsRequest { prints }]);
        self.badges.clone().register_prints(register).await?;
        Ok(issued)
    }
}

impl Clients {
    /// Imports people, all or none of them.
    pub(crate) async fn import(
        &self,
        people: Vec<committee::Person>,
    ) -> Result<committee::ImportPeopleResponse, Status> {
        let mode = committee::ImportMode::AllOrNothing.into();
        let rows = (1..)
            .zip(people)
            .map(|(line, person)| committee::ImportRow { line, person: Some(person) })
            .collect();
        let steps = [
            Step::Start(committee::ImportStart { mode, dry_run: false }),
            Step::Rows(committee::ImportRows { rows }),
        ];
        let steps = steps.map(|step| committee::ImportPeopleRequest { step: Some(step) });
        let imported = self.enrolment.clone().import_people(tokio_stream::iter(steps)).await;
        imported.map(Response::into_inner)
    }

    /// Replaces a list of the police.
    pub(crate) async fn import_list(
        &self,
        list: &str,
        entries: Vec<police::ListEntry>,
    ) -> Result<(), Status> {
        let start = police::ImportStart {
            list: list.to_owned(),
            content: Vec::new(),
            entries: entries.len() as u64,
        };
        let steps = [ListStep::Start(start), ListStep::Entries(police::ImportEntries { entries })];
        let steps = steps.map(|step| police::ImportWatchlistRequest { step: Some(step) });
        let imported = self.watchlists.clone().import_watchlist(tokio_stream::iter(steps)).await;
        let mut progress = imported?.into_inner();
        while let Some(progress) = progress.message().await? {
            if progress.finished {
                return Ok(());
            }
        }
        Err(Status::aborted("the import did not end"))
    }

    /// Imports a member of the police's staff.
    pub(crate) async fn import_staff(&self, member: staff::Member) -> Result<(), Status> {
        use staff::import_staff_request::Step;
        let mode = staff::ImportMode::AllOrNothing.into();
        let row = staff::ImportRow { line: 1, member: Some(member) };
        let steps = [
            Step::Start(staff::ImportStart { mode, dry_run: false }),
            Step::Rows(staff::ImportRows { rows: vec![row] }),
        ];
        let steps = steps.map(|step| staff::ImportStaffRequest { step: Some(step) });
        let imported = self.staff.clone().import_staff(tokio_stream::iter(steps)).await?;
        match imported.into_inner().refused {
            0 => Ok(()),
            _ => Err(Status::failed_precondition("the profile is not offered yet")),
        }
    }

    /// The whole audit trails of the committee and the police.
    pub(crate) async fn audit(&self) -> [Vec<AuditEntry>; 2] {
        let mut trails = [Vec::new(), Vec::new()];
        loop {
            let after = trails.each_ref().map(|trail: &Vec<AuditEntry>| trail.len() as u64);
            let request = committee::ListAuditRequest { after: after[0], ..Default::default() };
            let committee = self.badges.clone().list_audit(request).await.expect("a trail");
            let request = police::ListAuditRequest { after: after[1], ..Default::default() };
            let police = self.subjects.clone().list_audit(request).await.expect("a trail");
            let more = [committee.into_inner().entries, police.into_inner().entries];
            if more.iter().all(Vec::is_empty) {
                return trails;
            }
            for (trail, more) in std::iter::zip(&mut trails, more) {
                trail.extend(more);
            }
        }
    }

    /// Screens whoever needs it, without waiting for verdicts.
    pub(crate) async fn screen(&self) -> Result<committee::ScreenResponse, Status> {
        let request = committee::ScreenRequest { wait_seconds: 0 };
        let mut stream = self.enrolment.clone().screen(request).await?.into_inner();
        let mut last = committee::ScreenResponse::default();
        while let Some(progress) = stream.message().await? {
            last = progress;
        }
        Ok(last)
    }

    /// The committee's file of these people, in their order.
    pub(crate) async fn people(
        &self,
        references: Vec<String>,
    ) -> Result<Vec<committee::PersonState>, Status> {
        let mut people = Vec::with_capacity(references.len());
        for references in references.chunks(500) {
            let request = committee::ListPeopleRequest {
                references: references.to_vec(),
                ..Default::default()
            };
            let mut page = self.enrolment.clone().list_people(request).await?.into_inner().people;
            page.sort_by_key(|state| {
                let reference = state.person.as_ref().map(|person| &person.reference);
                references.iter().position(|one| Some(one) == reference)
            });
            people.extend(page);
        }
        Ok(people)
    }

    /// What the trustee has counted, by caller and purpose.
    pub(crate) async fn usage(&self) -> Result<BTreeMap<(String, i32), u64>, Status> {
        let usage = self.trustee.clone().get_usage(GetUsageRequest {}).await?.into_inner();
        let counted = usage.usages.into_iter().map(|one| ((one.caller, one.purpose), one.used));
        Ok(counted.collect())
    }

    /// Sizes of the committee's and the police's logs, signed and with a quorum, of those that answer.
    pub(crate) async fn published(&self) -> [Option<(u64, u64)>; 2] {
        let request = committee::GetPublicationRequest {};
        let committee =
            self.badges.clone().get_publication(request).await.map(Response::into_inner);
        let request = police::GetPublicationRequest {};
        let police = self.subjects.clone().get_publication(request).await.map(Response::into_inner);
        [
            committee.ok().map(|now| (now.log_size, now.quorum_size)),
            police.ok().map(|now| (now.log_size, now.quorum_size)),
        ]
    }
}

/// A person of an invented family.
pub(crate) fn person(prefix: &str, number: usize) -> committee::Person {
    let document = committee::Document {
        kind: "passport".to_owned(),
        issuer: "UTO".to_owned(),
        number: document(number),
    };
    let wanted = Wanted::of(prefix, number);
    let is_named = wanted == Wanted::ByName;
    committee::Person {
        reference: format!("{prefix}-{number:05}"),
        full_name: if is_named { wanted::name(number) } else { name(number) },
        birth_date: if is_named { wanted::BIRTH_DATE.to_owned() } else { birth_date(number) },
        category: "Volunteer".to_owned(),
        profile: "crew".to_owned(),
        documents: Vec::from_iter((wanted == Wanted::ByDocument).then_some(document)),
        ..Default::default()
    }
}

pub(crate) fn name(number: usize) -> String {
    let letter = |place: usize| char::from(b'a' + (number / place % 26) as u8);
    format!("Kill{}{}{} Utopian", letter(676), letter(26), letter(1))
}

pub(crate) fn birth_date(number: usize) -> String {
    format!("1990-{:02}-{:02}", number / 28 % 12 + 1, number % 28 + 1)
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
