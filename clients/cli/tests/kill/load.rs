//! What goes on while processes die: each task writes down what was acknowledged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lanyard_wire::committee::v1 as committee;
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::epoch::v1::StartEpochRequest;
use lanyard_wire::gate::v1 as gate;
use lanyard_wire::police::v1 as police;
use lanyard_wire::screening::v1::Verdict;
use lanyard_wire::staff::v1 as staff;
use rand::RngExt as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Response;

use crate::acknowledged::{Acknowledged, Act, Print};
use crate::event::{Badge, Clients, Event, Issuer, birth_date, name, person};
use crate::quota::Holder;
use crate::wanted::strangers;

/// People of one import.
const BATCH: usize = 10;
/// A pause between the steps of one task, so that the processes have time for all of them.
const PAUSE: Duration = Duration::from_millis(40);
/// A list of the police that is replaced again and again.
pub(crate) const LIST: &str = "load";

/// What a task does again and again.
#[derive(Clone, Copy)]
enum Step {
    Import,
    Screen,
    CommitteeStop,
    PoliceStop,
    Issue,
    Reissue,
    Check,
    AskHowFar,
    Evaluate,
    List,
    Decide,
    Staff,
    Epoch,
}

impl Step {
    const ALL: [Self; 13] = [
        Self::Import,
        Self::Screen,
        Self::CommitteeStop,
        Self::PoliceStop,
        Self::Issue,
        Self::Reissue,
        Self::Check,
        Self::AskHowFar,
        Self::Evaluate,
        Self::List,
        Self::Decide,
        Self::Staff,
        Self::Epoch,
    ];
}

/// Starts the load; its tasks end after `stop`.
pub(crate) fn start(
    event: &Event,
    badges: &Arc<[Badge]>,
    acknowledged: &Acknowledged,
    stop: &CancellationToken,
) -> Vec<JoinHandle<()>> {
    let load = Load {
        clients: event.clients.clone(),
        issuer: event.issuer.clone(),
        holders: Arc::clone(&event.holders),
        badges: Arc::clone(badges),
        answers: acknowledged.clone(),
    };
    let repeat = |step| {
        let (load, stop) = (load.clone(), stop.clone());
        tokio::spawn(async move {
            while !stop.is_cancelled() {
                load.run(step).await;
                tokio::time::sleep(PAUSE).await;
            }
        })
    };
    Step::ALL.into_iter().map(repeat).collect()
}

#[derive(Clone)]
struct Load {
    clients: Clients,
    issuer: Issuer,
    holders: Arc<[Holder]>,
    badges: Arc<[Badge]>,
    answers: Acknowledged,
}

impl Load {
    async fn run(&self, step: Step) {
        match step {
            Step::Import => self.import().await,
            Step::Screen => self.screen().await,
            Step::CommitteeStop => self.stop_at_committee().await,
            Step::PoliceStop => self.stop_at_police().await,
            Step::Issue => self.issue().await,
            Step::Reissue => self.reissue().await,
            Step::Check => self.check().await,
            Step::AskHowFar => self.ask_how_far().await,
            Step::Evaluate => self.evaluate().await,
            Step::List => self.replace_list().await,
            Step::Decide => self.decide().await,
            Step::Staff => self.import_staff().await,
            Step::Epoch => self.start_epochs().await,
        }
    }

    /// Without an answer, the same people are imported again.
    async fn import(&self) {
        let first = self.answers.note().imported.len();
        let people: Vec<_> = (first..first + BATCH).map(|number| person("L", number)).collect();
        let references: Vec<_> = people.iter().map(|person| person.reference.clone()).collect();
        if self.clients.import(people).await.is_ok() {
            self.answers.note().imported.extend(references);
        }
    }

    async fn screen(&self) {
        let references = self.answers.note().imported.clone();
        if self.clients.screen().await.is_err() {
            return;
        }
        let Ok(people) = self.clients.people(references).await else { return };
        use committee::ScreeningState::{Cleared, Refused};
        let told = people
            .into_iter()
            .map(|state| (state.screening(), state))
            .filter(|(said, _)| matches!(said, Cleared | Refused))
            .filter_map(|(said, state)| Some((state.person?.reference, said)));
        self.answers.note().told.extend(told);
    }

    async fn stop_at_committee(&self) {
        let (place, suspend) = self.draw();
        self.answers.note().committee_stops.insert(place, None);
        let request = committee::ChangeStatusRequest {
            action: action(suspend).into(),
            references: vec![self.badges[place].reference.clone()],
            reason: "load".to_owned(),
            ..Default::default()
        };
        let answer = self.clients.badges.clone().change_status(request).await;
        let Ok(answer) = answer.map(Response::into_inner) else { return };
        let mut answers = self.answers.note();
        answers.committee_stops.insert(place, Some(suspend));
        if answer.outcomes[0].outcome() == committee::Outcome::Done {
            answers.acts[0].push(Act::stop(suspend, answer.change_id));
        }
    }

    async fn stop_at_police(&self) {
        let (place, suspend) = self.draw();
        self.answers.note().police_stops.insert(place, None);
        let request = police::ChangeStatusRequest {
            action: action(suspend).into(),
            subject_ids: vec![self.badges[place].subject.clone()],
            reason: "load".to_owned(),
            ..Default::default()
        };
        let answer = self.clients.subjects.clone().change_status(request).await;
        let Ok(answer) = answer.map(Response::into_inner) else { return };
        let mut answers = self.answers.note();
        answers.police_stops.insert(place, Some(suspend));
        if answer.outcomes[0].outcome() == police::Outcome::Done {
            answers.acts[1].push(Act::stop(suspend, answer.change_id));
        }
    }

    /// Issues some of those who were imported and have no badge yet.
    async fn issue(&self) {
        let references: Vec<String> = {
            let answers = self.answers.note();
            let has_badge = |reference: &String| {
                let print = answers.prints.get(reference);
                print.is_some_and(|print| print.as_ref().is_some_and(|print| print.text.is_some()))
            };
            let waiting = answers.imported.iter().rev().filter(|one| !has_badge(one));
            waiting.take(3).cloned().collect()
        };
        if references.is_empty() {
            return;
        }
        self.forget_prints(&references);
        let Ok(issued) = self.issuer.issue(references.clone()).await else { return };
        let mut answers = self.answers.note();
        for one in issued {
            let print = Print { number: one.print_number, text: Some(one.text) };
            answers.prints.insert(one.reference, Some(print));
        }
    }

    /// Replaces a lost badge: its next print waits, and the lost one is no good.
    async fn reissue(&self) {
        let found = {
            let answers = self.answers.note();
            let mut issued = answers.prints.iter().filter_map(|(reference, print)| {
                let Print { number, text } = print.as_ref()?;
                Some((reference.clone(), *number, text.clone()?))
            });
            issued.next()
        };
        let Some((reference, number, lost)) = found else { return };
        self.forget_prints(std::slice::from_ref(&reference));
        let request = committee::ReissueBadgesRequest {
            references: vec![reference.clone()],
            reason: "load".to_owned(),
        };
        let answer = self.clients.badges.clone().reissue_badges(request).await;
        let Ok(answer) = answer else { return };
        let done =
            answer.get_ref().outcomes.iter().all(|one| one.outcome() == committee::Outcome::Done);
        if done {
            let mut answers = self.answers.note();
            answers.lost.push(lost);
            answers.acts[0].push(Act { action: "reissue", change: answer.get_ref().change_id });
            answers.prints.insert(reference, Some(Print { number: number + 1, text: None }));
        }
        tokio::time::sleep(10 * PAUSE).await;
    }

    /// Until the next answer nobody knows where these stand.
    fn forget_prints(&self, references: &[String]) {
        let mut answers = self.answers.note();
        answers.prints.extend(references.iter().map(|reference| (reference.clone(), None)));
    }

    async fn check(&self) {
        let request = check_of(&self.badges[self.draw().0].text);
        let nonce = request.nonce.clone();
        let answer = self.clients.scanner.clone().check(request.clone()).await;
        let Ok(answer) = answer.map(Response::into_inner) else { return };
        self.answers.note().checks.push((request, answer.clone(), Instant::now()));
        // Some of those who are referred are let in.
        if answer.verdict() != gate::Verdict::Refer || answer.receipt_id % 4 != 0 {
            return;
        }
        let request = gate::OverrideRequest {
            receipt_id: answer.receipt_id,
            nonce,
            verdict: gate::Verdict::Admit.into(),
            reason: "load".to_owned(),
        };
        if let Ok(answer) = self.clients.supervisor.clone().r#override(request.clone()).await {
            self.answers.note().overrides.push((request, answer.into_inner()));
        }
    }

    async fn evaluate(&self) {
        for holder in &*self.holders {
            holder.evaluate(&self.answers).await;
        }
    }

    /// Replaces a list that names nobody by a longer or a shorter one.
    async fn replace_list(&self) {
        let count = rand::rng().random_range(1..4);
        self.answers.note().listed = None;
        if self.clients.import_list(LIST, strangers(count)).await.is_ok() {
            self.answers.note().listed = Some(count as u64);
        }
        tokio::time::sleep(25 * PAUSE).await;
    }

    /// An officer clears somebody whom the list may mean.
    async fn decide(&self) {
        tokio::time::sleep(10 * PAUSE).await;
        let request =
            police::ListCasesRequest { undecided_only: true, page_size: 1, ..Default::default() };
        let Ok(open) = self.clients.cases.clone().list_cases(request).await else { return };
        let subject = open.into_inner().cases.into_iter().next().and_then(|case| case.subject);
        let Some(subject) = subject else { return };
        let request = police::DecideCaseRequest {
            subject_id: subject.subject_id.clone(),
            verdict: Verdict::Cleared.into(),
            reason: "load".to_owned(),
        };
        let Ok(answer) = self.clients.cases.clone().decide_case(request).await else { return };
        if answer.get_ref().outcome() == police::Outcome::Done {
            self.answers.note().decided.insert(subject.subject_id);
        }
    }

    async fn import_staff(&self) {
        let number = self.answers.note().staff.len();
        let member = staff::Member {
            reference: format!("S-{number:05}"),
            full_name: name(number),
            birth_date: birth_date(number),
            profile: "patrol".to_owned(),
            ..Default::default()
        };
        let reference = member.reference.clone();
        if self.clients.import_staff(member).await.is_ok() {
            self.answers.note().staff.push(reference);
        }
        tokio::time::sleep(10 * PAUSE).await;
    }

    /// One epoch out of turn at each authority.
    async fn start_epochs(&self) {
        for (place, client) in self.clients.epochs.iter().enumerate() {
            if self.answers.note().epochs[place].is_some() {
                continue;
            }
            let request = StartEpochRequest { reason: "load".to_owned() };
            if let Ok(answer) = client.clone().start_epoch(request).await {
                self.answers.note().epochs[place] = Some(answer.get_ref().epoch);
            }
        }
        tokio::time::sleep(10 * PAUSE).await;
    }

    async fn ask_how_far(&self) {
        let [committee, police] = self.clients.published().await;
        let usage = self.clients.usage().await.unwrap_or_default();
        let mut answers = self.answers.note();
        for (counter, used) in usage {
            let known = answers.counted.entry(counter).or_default();
            assert!(used >= *known, "the trustee forgot {} evaluations", *known - used);
            *known = used;
        }
        for (log, now) in std::iter::zip(&mut answers.logs, [committee, police]) {
            // A service that has just started does not know yet, and says 0.
            let now = now.unwrap_or_default();
            *log = (log.0.max(now.0), log.1.max(now.1));
        }
    }

    /// A badge, and whether to suspend or to reinstate it.
    fn draw(&self) -> (usize, bool) {
        let mut rng = rand::rng();
        (rng.random_range(0..self.badges.len()), rng.random())
    }
}

fn action(suspend: bool) -> StatusAction {
    if suspend { StatusAction::Suspend } else { StatusAction::Reinstate }
}

fn nonce() -> Vec<u8> {
    rand::random::<[u8; 16]>().to_vec()
}

/// A check of a badge at the main door.
pub(crate) fn check_of(text: &str) -> gate::CheckRequest {
    gate::CheckRequest {
        credential: text.to_owned(),
        access_point: "sta-main".to_owned(),
        direction: gate::Direction::In.into(),
        nonce: nonce(),
    }
}
