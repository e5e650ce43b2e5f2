//! The calls of people and desks: enrol, screen, issue, publish, check.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use lanyard_client::Connection;
use lanyard_client::badge::derive_print;
use lanyard_core::ids::{BadgeNumber, PrintNumber};
use lanyard_env::Env;
use lanyard_transport::Role;
use lanyard_wire::committee::v1 as committee;
use lanyard_wire::committee::v1::import_people_request::Step as ImportStep;
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::gate::v1 as gate;
use lanyard_wire::police::v1 as police;
use lanyard_wire::police::v1::import_watchlist_request::Step as ListStep;
use rand::Rng as _;
use tonic::Status;

use crate::event::{PASSPHRASE, TestEvent};

/// Longest wait for what services do by themselves.
const PATIENCE: Duration = Duration::from_secs(40);

/// Everyone who acts in an event, each with a certificate of their own.
pub struct Desk {
    /// The committee's operator.
    pub registrar: Connection,
    /// The committee's desk.
    pub committee_desk: Connection,
    /// The police's operator.
    pub officer: Connection,
    /// The police's desk.
    pub police_desk: Connection,
    /// The sponsor's desk.
    pub sponsor_desk: Connection,
    /// The gate's scanner.
    pub scanner: Connection,
    /// The gate's supervisor.
    pub supervisor: Connection,
    /// The gate's operator.
    pub gate_operator: Connection,
}

/// What a gate said.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// `ADMIT`, `DENY`, `REFER` or `UNDETERMINED`.
    pub verdict: &'static str,
    /// For example `WRONG_ZONE`.
    pub reason: &'static str,
    /// The whole answer.
    pub response: gate::CheckResponse,
}

/// The profiles that tests enrol under: `crew` at the stadium's public doors, `everywhere`, and
/// `patrol`, which the police may give to their own staff.
#[must_use]
pub fn access() -> Vec<committee::Profile> {
    let profile =
        |code: &str, category: &str, venues: &[&str], zones: &[&str]| committee::Profile {
            code: code.to_owned(),
            category: category.to_owned(),
            venues: venues.iter().map(|venue| (*venue).to_owned()).collect(),
            zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
            sessions: Vec::new(),
            police: false,
        };
    vec![
        profile("crew", "Volunteer", &["STA"], &["PUB"]),
        profile("everywhere", "Official", &[], &[]),
        committee::Profile {
            police: true,
            ..profile("patrol", "Police", &["STA"], &["PUB", "BOH"])
        },
    ]
}

impl Desk {
    /// Everyone, with the certificates that the ceremony made.
    #[must_use]
    pub fn of(event: &TestEvent) -> Self {
        Self::at(event, "gate-1")
    }

    /// Everyone, with the people of this gate.
    #[must_use]
    pub fn at(event: &TestEvent, gate: &str) -> Self {
        Self::in_dir(event.env(), event.dir(), gate)
    }

    /// Everyone in an event's directory, whoever runs its services.
    ///
    /// # Panics
    /// If somebody has no certificate there.
    #[must_use]
    pub fn in_dir(env: &Env, dir: &Path, gate: &str) -> Self {
        let person = |member: &str, role| {
            Connection::open(env, &dir.join(member), &[role], None)
                .unwrap_or_else(|error| panic!("{member}: {error}"))
        };
        Self {
            registrar: person("committee", Role::Operator),
            committee_desk: person("committee", Role::Desk),
            officer: person("police", Role::Operator),
            police_desk: person("police", Role::Desk),
            sponsor_desk: person("sponsor", Role::Desk),
            scanner: person(gate, Role::Scanner),
            supervisor: person(gate, Role::Supervisor),
            gate_operator: person(gate, Role::Operator),
        }
    }

    /// Defines [`access`] and imports people.
    ///
    /// # Errors
    /// The committee's.
    ///
    /// # Panics
    /// If no channel can be made.
    pub async fn enrol(
        &self,
        people: &[committee::Person],
    ) -> Result<committee::ImportPeopleResponse, Status> {
        let mut enrolment = self.registrar.enrolment().expect("a channel");
        enrolment.put_profiles(committee::PutProfilesRequest { profiles: access() }).await?;
        let mode = committee::ImportMode::AllOrNothing.into();
        let start = ImportStep::Start(committee::ImportStart { mode, dry_run: false });
        let rows = (1..)
            .zip(people)
            .map(|(line, person)| committee::ImportRow { line, person: Some(person.clone()) });
        let rows = ImportStep::Rows(committee::ImportRows { rows: rows.collect() });
        let steps = [start, rows].map(|step| committee::ImportPeopleRequest { step: Some(step) });
        Ok(enrolment.import_people(tokio_stream::iter(steps)).await?.into_inner())
    }

    /// Imports a watchlist.
    ///
    /// # Errors
    /// The police's.
    ///
    /// # Panics
    /// If no channel can be made.
    pub async fn list(
        &self,
        entries: Vec<police::ListEntry>,
    ) -> Result<police::ImportWatchlistResponse, Status> {
        let mut watchlists = self.officer.watchlists().expect("a channel");
        let start =
            ListStep::Start(police::ImportStart { list: "test".to_owned(), ..Default::default() });
        let entries = ListStep::Entries(police::ImportEntries { entries });
        let steps =
            [start, entries].map(|step| police::ImportWatchlistRequest { step: Some(step) });
        let mut stream = watchlists.import_watchlist(tokio_stream::iter(steps)).await?.into_inner();
        let mut last = police::ImportWatchlistResponse::default();
        while let Some(progress) = stream.message().await? {
            last = progress;
        }
        Ok(last)
    }

    /// Screens, and waits up to ten seconds for verdicts.
    ///
    /// # Errors
    /// The committee's.
    ///
    /// # Panics
    /// If no channel can be made.
    pub async fn screen(&self, wait_seconds: u32) -> Result<committee::ScreenResponse, Status> {
        let mut enrolment = self.registrar.enrolment().expect("a channel");
        let request = committee::ScreenRequest { wait_seconds };
        let mut stream = enrolment.screen(request).await?.into_inner();
        let mut last = committee::ScreenResponse::default();
        while let Some(progress) = stream.message().await? {
            last = progress;
        }
        Ok(last)
    }

    /// The issuing station: derives every waiting print, registers its seeds, and returns the badge texts by reference.
    ///
    /// # Errors
    /// The committee's.
    ///
    /// # Panics
    /// If no channel can be made or the issuing key does not open.
    pub async fn issue(&self) -> Result<HashMap<String, String>, Status> {
        let mut badges = self.registrar.badges().expect("a channel");
        let key = self.registrar.folder().issuing_key(PASSPHRASE).expect("the issuing key opens");
        let event = &self.registrar.manifest().event;
        let request = committee::ListPrintsRequest::default();
        let mut stream = badges.list_prints(request).await?.into_inner();
        let (mut texts, mut prints) = (HashMap::new(), Vec::new());
        while let Some(message) = stream.message().await? {
            for print in message.prints {
                let print_number = u16::try_from(print.print_number).expect("a small number");
                let (badge, number) =
                    (BadgeNumber::new(print.badge_number), PrintNumber::new(print_number));
                let derived = derive_print(&key, event, badge, number);
                texts.insert(print.reference, derived.text.expose_str().to_owned());
                prints.push(derived.seeds);
            }
        }
        let messages = [committee::RegisterPrintsRequest { prints }];
        badges.register_prints(tokio_stream::iter(messages)).await?;
        Ok(texts)
    }

    /// Suspends or reinstates at the committee; the size of its log when that was durable.
    ///
    /// # Errors
    /// The committee's.
    ///
    /// # Panics
    /// If no channel can be made, or the change was not done.
    pub async fn committee_says(
        &self,
        action: StatusAction,
        reference: &str,
    ) -> Result<u64, Status> {
        let mut badges = self.registrar.badges().expect("a channel");
        let request = committee::ChangeStatusRequest {
            action: action.into(),
            references: vec![reference.to_owned()],
            reason: "a test".to_owned(),
            badge_numbers: Vec::new(),
        };
        let answer = badges.change_status(request).await?.into_inner();
        assert_eq!(answer.outcomes[0].outcome(), committee::Outcome::Done, "{reference}");
        let asked = badges.get_publication(committee::GetPublicationRequest {}).await?;
        Ok(asked.into_inner().log_size)
    }

    /// Suspends or reinstates at the police, by a badge in hand; the size of their log when that was durable.
    ///
    /// # Errors
    /// The police's.
    ///
    /// # Panics
    /// If no channel can be made, or the change was not done.
    pub async fn police_say(&self, action: StatusAction, badge: &str) -> Result<u64, Status> {
        let mut subjects = self.officer.subjects().expect("a channel");
        let request = police::ChangeStatusRequest {
            action: action.into(),
            subject_ids: Vec::new(),
            badge_texts: vec![badge.to_owned()],
            reason: "a test".to_owned(),
        };
        let answer = subjects.change_status(request).await?.into_inner();
        assert_eq!(answer.outcomes[0].outcome(), police::Outcome::Done);
        let asked = subjects.get_publication(police::GetPublicationRequest {}).await?;
        Ok(asked.into_inner().log_size)
    }

    /// Shows a badge at an access point.
    ///
    /// # Errors
    /// The gate's.
    pub async fn check(&self, credential: &str, access_point: &str) -> Result<Checked, Status> {
        let mut nonce = [0; 16];
        self.scanner.env().rng().fill_bytes(&mut nonce);
        self.check_again(credential, access_point, nonce).await
    }

    /// Shows a badge under this nonce.
    ///
    /// # Errors
    /// The gate's.
    ///
    /// # Panics
    /// If no channel can be made.
    pub async fn check_again(
        &self,
        credential: &str,
        access_point: &str,
        nonce: [u8; 16],
    ) -> Result<Checked, Status> {
        let request = gate::CheckRequest {
            credential: credential.to_owned(),
            access_point: access_point.to_owned(),
            direction: gate::Direction::In.into(),
            nonce: nonce.to_vec(),
        };
        let mut client = self.scanner.gate().expect("a channel");
        let response = client.check(request).await?.into_inner();
        let verdict = response.verdict().as_str_name().trim_start_matches("VERDICT_");
        let reason = response.reason().as_str_name().trim_start_matches("REASON_");
        Ok(Checked { verdict, reason, response })
    }

    /// What the gate knows.
    ///
    /// # Errors
    /// The gate's.
    ///
    /// # Panics
    /// If no channel can be made.
    pub async fn sync_state(&self) -> Result<gate::GetSyncStateResponse, Status> {
        let mut client = self.scanner.gate().expect("a channel");
        Ok(client.get_sync_state(gate::GetSyncStateRequest {}).await?.into_inner())
    }

    /// Sizes of both authorities' logs, and whether changes wait.
    ///
    /// # Errors
    /// The authorities'.
    ///
    /// # Panics
    /// If no channel can be made.
    pub async fn published(&self) -> Result<[(u64, u64); 2], Status> {
        let mut badges = self.registrar.badges().expect("a channel");
        let committee = badges.get_publication(committee::GetPublicationRequest {}).await?;
        let mut subjects = self.officer.subjects().expect("a channel");
        let police = subjects.get_publication(police::GetPublicationRequest {}).await?;
        let (committee, police) = (committee.into_inner(), police.into_inner());
        Ok([(committee.log_size, committee.waiting), (police.log_size, police.waiting)])
    }

    /// Enrols so many people, issues and screens, and waits until all of it is at the gate; their badges' texts, by number of
    /// person.
    ///
    /// # Panics
    /// If something is refused, or takes too long.
    pub async fn publish_people(&self, count: usize) -> Vec<String> {
        let everyone = crate::people(count);
        self.enrol(&everyone).await.expect("they are enrolled");
        let texts = self.issue().await.expect("badges are issued");
        eventually("screening ends", async || {
            (self.screen(2).await.ok()?.cleared == count as u64).then_some(())
        })
        .await;
        self.settle().await;
        everyone.iter().map(|person| texts[&person.reference].clone()).collect()
    }

    /// Waits until all that was changed before is signed, cosigned and at the gate.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn settle(&self) {
        let before = eventually("authorities answer", async || self.published().await.ok()).await;
        let signed = eventually("changes are signed", async || {
            let now = self.published().await.ok()?;
            // Two ticks later, each change was in one of them.
            let later = now.iter().zip(&before).all(|(now, before)| now.0 >= before.0 + 2);
            (later && now.iter().all(|(_, waiting)| *waiting == 0)).then_some(now)
        })
        .await;
        eventually("the gate follows", async || {
            let state = self.sync_state().await.ok()?;
            let there = state.authorities.len() == 2
                && state.authorities.iter().zip(signed).all(|(authority, (size, _))| {
                    authority.quorum_size >= size && authority.key_present
                });
            there.then_some(())
        })
        .await;
    }
}

/// Tries until something comes of it.
///
/// # Panics
/// If nothing does in 40 seconds.
pub async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {} s", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Runs a test on a runtime of its own.
///
/// # Panics
/// If there is no runtime to be had.
pub fn run_together<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().expect("a runtime").block_on(test)
}
