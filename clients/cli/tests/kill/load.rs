//! What goes on while processes die: each task writes down what was acknowledged.

use std::sync::Arc;
use std::time::Duration;

use lanyard_wire::committee::v1 as committee;
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::gate::v1 as gate;
use lanyard_wire::police::v1 as police;
use rand::RngExt as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::acknowledged::{Acknowledged, Print};
use crate::event::{Badge, Clients, Event, Issuer, person};

/// People of one import.
const BATCH: usize = 10;
/// A pause between the steps of one task, so that the processes have time for all of them.
const PAUSE: Duration = Duration::from_millis(40);

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
}

impl Step {
    const ALL: [Self; 8] = [
        Self::Import,
        Self::Screen,
        Self::CommitteeStop,
        Self::PoliceStop,
        Self::Issue,
        Self::Reissue,
        Self::Check,
        Self::AskHowFar,
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
        let cleared = people
            .into_iter()
            .filter(|state| state.screening() == committee::ScreeningState::Cleared)
            .filter_map(|state| Some(state.person?.reference));
        self.answers.note().cleared.extend(cleared);
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
        if self.clients.badges.clone().change_status(request).await.is_ok() {
            self.answers.note().committee_stops.insert(place, Some(suspend));
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
        if self.clients.subjects.clone().change_status(request).await.is_ok() {
            self.answers.note().police_stops.insert(place, Some(suspend));
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
        if let Ok(answer) = self.clients.scanner.clone().check(request.clone()).await {
            self.answers.note().checks.push((request, answer.into_inner()));
        }
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
