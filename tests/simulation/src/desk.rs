//! The people: a registrar, an officer, and a scanner at each gate. Their own machine is never cut off, since each stands
//! where their service stands.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use lanyard_client::Connection;
use lanyard_client::badge::derive_print;
use lanyard_core::badge::IssuingKey;
use lanyard_core::ids::{Authority, BadgeNumber, PrintNumber};
use lanyard_env::Env;
use lanyard_transport::Role;
use lanyard_wire::committee::v1 as committee;
use lanyard_wire::committee::v1::badge_service_client::BadgeServiceClient;
use lanyard_wire::committee::v1::enrolment_service_client::EnrolmentServiceClient;
use lanyard_wire::committee::v1::import_people_request::Step as ImportStep;
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::gate::v1 as gate;
use lanyard_wire::gate::v1::gate_service_client::GateServiceClient;
use lanyard_wire::police::v1 as police;
use lanyard_wire::police::v1::import_watchlist_request::Step as ListStep;
use lanyard_wire::police::v1::subject_service_client::SubjectServiceClient;
use lanyard_wire::police::v1::watchlist_service_client::WatchlistServiceClient;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::Channel;

use crate::event::{GATES, door};
use crate::op::Change;

/// How long anybody waits for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Everybody who acts, with connections that they keep.
#[derive(Clone)]
pub(crate) struct Desk {
    enrolment: EnrolmentServiceClient<Channel>,
    badges: BadgeServiceClient<Channel>,
    watchlists: WatchlistServiceClient<Channel>,
    subjects: SubjectServiceClient<Channel>,
    gates: BTreeMap<&'static str, GateServiceClient<Channel>>,
    event: lanyard_core::ids::EventId,
}

/// Why there is no answer to go by.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// It did not come in time.
    Late,
    /// It is an error.
    Refused(Box<Status>),
}

impl From<Status> for NoAnswer {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

async fn wait<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, NoAnswer> {
    match timeout(PATIENCE, call).await {
        Ok(answered) => Ok(answered?),
        Err(_) => Err(NoAnswer::Late),
    }
}

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is so now, and the authority's log had this size, if it could be asked.
    Done {
        /// The size.
        size: Option<u64>,
        /// Whether it was not so before: then the audit trail has it.
        is_new: bool,
    },
    /// It cannot be: nothing was done.
    NotPossible,
}

impl Desk {
    /// Opens everybody's folder under `dir`.
    ///
    /// # Panics
    /// If the ceremony left something out.
    #[must_use]
    pub(crate) fn open(env: &Env, dir: &Path) -> Self {
        let person = |member: &str, role| {
            Connection::open(env, &dir.join(member), &[role], None)
                .unwrap_or_else(|error| panic!("{member}: {error}"))
        };
        let registrar = person("committee", Role::Operator);
        let officer = person("police", Role::Operator);
        let gates = GATES.map(|gate| (gate, person(gate, Role::Scanner).gate().expect("TLS")));
        Self {
            enrolment: registrar.enrolment().expect("TLS"),
            badges: registrar.badges().expect("TLS"),
            watchlists: officer.watchlists().expect("TLS"),
            subjects: officer.subjects().expect("TLS"),
            gates: gates.into(),
            event: registrar.manifest().event.clone(),
        }
    }

    /// Defines the profiles.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(crate) async fn put_profiles(&self) -> Result<(), NoAnswer> {
        let profiles = lanyard_tests::access();
        let request = committee::PutProfilesRequest { profiles };
        wait(self.enrolment.clone().put_profiles(request)).await.map(drop)
    }

    /// Puts people on the police's list, by their documents.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(crate) async fn list(&self, people: &[committee::Person]) -> Result<(), NoAnswer> {
        let start =
            ListStep::Start(police::ImportStart { list: "test".to_owned(), ..Default::default() });
        let entries =
            (1..).zip(people).map(|(line, person)| lanyard_tests::list_entry(line, person, true));
        let entries = ListStep::Entries(police::ImportEntries { entries: entries.collect() });
        let steps =
            [start, entries].map(|step| police::ImportWatchlistRequest { step: Some(step) });
        let mut client = self.watchlists.clone();
        wait(async move {
            let called = client.import_watchlist(tokio_stream::iter(steps)).await?;
            let mut stream = called.into_inner();
            while stream.message().await?.is_some() {}
            Ok(())
        })
        .await
    }

    /// Imports a person.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(crate) async fn import(&self, people: Vec<committee::Person>) -> Result<(), NoAnswer> {
        let mode = committee::ImportMode::AllOrNothing.into();
        let start = ImportStep::Start(committee::ImportStart { mode, dry_run: false });
        let rows = (1..)
            .zip(people)
            .map(|(line, person)| committee::ImportRow { line, person: Some(person) });
        let rows = ImportStep::Rows(committee::ImportRows { rows: rows.collect() });
        let steps = [start, rows].map(|step| committee::ImportPeopleRequest { step: Some(step) });
        let mut client = self.enrolment.clone();
        wait(async move { client.import_people(tokio_stream::iter(steps)).await }).await.map(drop)
    }

    /// Screens everybody who was not.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(crate) async fn screen(&self) -> Result<(), NoAnswer> {
        let mut client = self.enrolment.clone();
        wait(async move {
            let called = client.screen(committee::ScreenRequest { wait_seconds: 8 }).await?;
            let mut stream = called.into_inner();
            while stream.message().await?.is_some() {}
            Ok(())
        })
        .await
    }

    /// Issues badges, and returns their texts by reference once that is acknowledged.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(crate) async fn issue(
        &self,
        key: &IssuingKey,
        references: Vec<String>,
    ) -> Result<BTreeMap<String, String>, NoAnswer> {
        let mut client = self.badges.clone();
        let event = self.event.clone();
        wait(async move {
            let request = committee::ListPrintsRequest {
                references,
                include_issued: true,
                ..Default::default()
            };
            let mut stream = client.list_prints(request).await?.into_inner();
            let (mut texts, mut prints) = (BTreeMap::new(), Vec::new());
            while let Some(message) = stream.message().await? {
                for print in message.prints {
                    let badge = BadgeNumber::new(print.badge_number);
                    let number = PrintNumber::new(u16::try_from(print.print_number).unwrap_or(1));
                    let derived = derive_print(key, &event, badge, number);
                    texts.insert(print.reference, derived.text.expose_str().to_owned());
                    prints.push(derived.seeds);
                }
            }
            let messages = [committee::RegisterPrintsRequest { prints }];
            client.register_prints(tokio_stream::iter(messages)).await?;
            Ok(texts)
        })
        .await
    }

    /// Has an authority change somebody's status.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(crate) async fn change(
        &self,
        authority: Authority,
        change: Change,
        reference: &str,
        badge: &str,
    ) -> Result<Outcome, NoAnswer> {
        let action = match change {
            Change::Suspend => StatusAction::Suspend,
            Change::Reinstate => StatusAction::Reinstate,
            Change::Revoke => StatusAction::Revoke,
        };
        let (done, is_new) = match authority {
            Authority::Committee => {
                let request = committee::ChangeStatusRequest {
                    action: action.into(),
                    references: vec![reference.to_owned()],
                    reason: "a test".to_owned(),
                    badge_numbers: Vec::new(),
                };
                let mut client = self.badges.clone();
                let answer = wait(client.change_status(request)).await?.into_inner();
                let outcome = answer.outcomes.first().map(committee::ReferenceOutcome::outcome);
                let is_new = outcome == Some(committee::Outcome::Done);
                (is_new || outcome == Some(committee::Outcome::Unchanged), is_new)
            }
            Authority::Police => {
                let request = police::ChangeStatusRequest {
                    action: action.into(),
                    subject_ids: Vec::new(),
                    badge_texts: vec![badge.to_owned()],
                    reason: "a test".to_owned(),
                };
                let mut client = self.subjects.clone();
                let answer = wait(client.change_status(request)).await?.into_inner();
                let outcome = answer.outcomes.first().map(police::SubjectOutcome::outcome);
                let is_new = outcome == Some(police::Outcome::Done);
                (is_new || outcome == Some(police::Outcome::Unchanged), is_new)
            }
        };
        if !done {
            return Ok(Outcome::NotPossible);
        }
        let size = self.log_size(authority).await.ok().flatten();
        Ok(Outcome::Done { size, is_new })
    }

    /// The size of an authority's log; `None` from one that started and has not ticked yet.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(crate) async fn log_size(&self, authority: Authority) -> Result<Option<u64>, NoAnswer> {
        let size = match authority {
            Authority::Committee => {
                let mut client = self.badges.clone();
                let call = client.get_publication(committee::GetPublicationRequest {});
                wait(call).await?.into_inner().log_size
            }
            Authority::Police => {
                let mut client = self.subjects.clone();
                let call = client.get_publication(police::GetPublicationRequest {});
                wait(call).await?.into_inner().log_size
            }
        };
        Ok((size > 0).then_some(size))
    }

    /// How many changes of people's status an authority's audit trail has.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(crate) async fn changes_on_record(&self, authority: Authority) -> Result<usize, NoAnswer> {
        let (mut changes, mut after) = (0, 0);
        loop {
            let entries = match authority {
                Authority::Committee => {
                    let request = committee::ListAuditRequest { after, ..Default::default() };
                    wait(self.badges.clone().list_audit(request)).await?.into_inner().entries
                }
                Authority::Police => {
                    let request = police::ListAuditRequest { after, ..Default::default() };
                    wait(self.subjects.clone().list_audit(request)).await?.into_inner().entries
                }
            };
            let Some(last) = entries.last() else { return Ok(changes) };
            after = last.sequence;
            let is_change = |action: &str| ["suspend", "reinstate", "revoke"].contains(&action);
            changes += entries.iter().filter(|entry| is_change(&entry.action)).count();
        }
    }

    /// The references that the committee has, and the screening state of each.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(crate) async fn enrolled(
        &self,
    ) -> Result<BTreeMap<String, committee::ScreeningState>, NoAnswer> {
        let mut client = self.enrolment.clone();
        let answer = wait(client.list_people(committee::ListPeopleRequest::default())).await?;
        let people = answer.into_inner().people.into_iter();
        Ok(people
            .filter_map(|state| {
                let screening = state.screening();
                Some((state.person?.reference, screening))
            })
            .collect())
    }

    /// Shows a badge at a gate.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(crate) async fn check(
        &self,
        gate: &str,
        credential: &str,
        nonce: [u8; 16],
    ) -> Result<gate::CheckResponse, NoAnswer> {
        let request = gate::CheckRequest {
            credential: credential.to_owned(),
            access_point: door(gate),
            direction: gate::Direction::In.into(),
            nonce: nonce.to_vec(),
        };
        let mut client = self.gates[gate].clone();
        Ok(wait(client.check(request)).await?.into_inner())
    }

    /// What a gate knows.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(crate) async fn sync_state(
        &self,
        gate: &str,
    ) -> Result<gate::GetSyncStateResponse, NoAnswer> {
        let mut client = self.gates[gate].clone();
        Ok(wait(client.get_sync_state(gate::GetSyncStateRequest {})).await?.into_inner())
    }
}
