//! What people do while a course runs, and what they hold against the services.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lanyard_core::badge::IssuingKey;
use lanyard_core::ids::Authority;
use lanyard_wire::committee::v1::{Person as Row, ScreeningState};
use lanyard_wire::gate::v1::CheckResponse;
use tokio::sync::{Mutex, mpsc};
use tokio::time::sleep;

use crate::desk::{Desk, NoAnswer, Outcome};
use crate::event::GATES;
use crate::judged;
use crate::ledger::{Answer, Observed, Person, Standing};
use crate::links::{BOUND_MILLIS, index};
use crate::op::{Change, PEOPLE};
use crate::shared::Shared;

/// Pause of a scanner between two badges.
const PACE: Duration = Duration::from_millis(700);
/// How often each gate is asked what it knows.
const OBSERVED_EVERY: Duration = Duration::from_millis(1_000);
/// After how many checks a scanner asks again for an answer that it has had.
const RETRY_EVERY: u64 = 7;

/// What people are told to do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Task {
    /// Enrol somebody.
    Enrol(usize),
    /// Change somebody's status.
    Change(Authority, Change, usize),
    /// The course is over and all is mended: look at everything.
    Reckon,
}

/// Everybody, and what they share.
#[derive(Clone)]
pub(crate) struct People {
    desk: Desk,
    shared: Shared,
    people: Arc<Vec<Row>>,
    key: Arc<IssuingKey>,
    /// One import at a time.
    counter: Arc<Mutex<()>>,
    /// Who is stopped, with nobody hearing of it, whenever somebody is: a defect.
    stray: Option<usize>,
}

impl People {
    /// Everybody.
    #[must_use]
    pub(crate) fn new(desk: Desk, shared: Shared, key: IssuingKey, stray: Option<usize>) -> Self {
        let people = Arc::new(lanyard_tests::people(PEOPLE));
        Self { desk, shared, people, key: Arc::new(key), counter: Arc::default(), stray }
    }

    /// Enrols half of them, then does what it is told; `ready` and `reckoned` hear of the two ends.
    pub(crate) async fn act(
        self,
        mut tasks: mpsc::UnboundedReceiver<Task>,
        ready: Arc<std::sync::atomic::AtomicBool>,
        reckoned: Arc<std::sync::atomic::AtomicBool>,
    ) {
        use std::sync::atomic::Ordering;
        self.prepare().await;
        for gate in GATES {
            tokio::task::spawn_local(self.clone().scan(gate));
            tokio::task::spawn_local(self.clone().watch(gate));
        }
        self.all_admitted().await;
        self.shared.trace("ready");
        ready.store(true, Ordering::SeqCst);
        while let Some(task) = tasks.recv().await {
            let people = self.clone();
            match task {
                Task::Enrol(person) => {
                    tokio::task::spawn_local(async move { people.enrol(person).await });
                }
                Task::Change(authority, change, person) => {
                    tokio::task::spawn_local(async move {
                        people.change(authority, change, person).await
                    });
                }
                Task::Reckon => {
                    people.reckon().await;
                    reckoned.store(true, Ordering::SeqCst);
                }
            }
        }
    }

    async fn prepare(&self) {
        let listed: Vec<Row> = {
            let ledger = self.shared.ledger();
            let listed = |number: &usize| ledger.people[*number].listed;
            (0..PEOPLE).filter(listed).map(|number| self.people[number].clone()).collect()
        };
        insist(async || self.desk.list(&listed).await).await;
        insist(async || self.desk.put_profiles().await).await;
        let first: Vec<usize> = (0..PEOPLE / 2).chain([PEOPLE - 1]).collect();
        let rows: Vec<Row> = first.iter().map(|number| self.people[*number].clone()).collect();
        insist(async || self.desk.import(rows.clone()).await).await;
        insist(async || self.desk.screen().await).await;
        let references: Vec<String> = rows.iter().map(|row| row.reference.clone()).collect();
        let texts = insist(async || self.desk.issue(&self.key, references.clone()).await).await;
        let mut ledger = self.shared.ledger();
        for number in first {
            let person = &mut ledger.people[number];
            (person.enrolled, person.badge_since) = (true, self.shared.now());
            person.badge = texts.get(&self.people[number].reference).cloned();
        }
    }

    /// Waits until each gate has let everybody in who may.
    async fn all_admitted(&self) {
        loop {
            sleep(Duration::from_secs(1)).await;
            let answers = self.shared.ledger().answers.get("ADMIT/GOOD").copied();
            if answers.is_some_and(|count| count >= 3 * PEOPLE as u64) {
                return;
            }
        }
    }

    async fn enrol(&self, number: usize) {
        {
            let mut ledger = self.shared.ledger();
            let person = &mut ledger.people[number];
            if person.badge.is_some() || person.enrolling {
                return;
            }
            person.enrolling = true;
        }
        let row = self.people[number].clone();
        let _counter = self.counter.lock().await;
        let restored = self.shared.ledger().restored;
        let is_lost = || self.shared.ledger().restored != restored;
        // An authority that has forgotten them answers nothing that helps.
        let import = async || match is_lost() {
            true => Ok(()),
            false => self.desk.import(vec![row.clone()]).await,
        };
        insist(import).await;
        if is_lost() {
            return;
        }
        self.shared.ledger().people[number].enrolled = true;
        self.shared.trace(format!("person {number} enrolled"));
        insist(async || if is_lost() { Ok(()) } else { self.desk.screen().await }).await;
        let wanted = vec![row.reference.clone()];
        let issue = async || match is_lost() {
            true => Ok(BTreeMap::new()),
            false => self.desk.issue(&self.key, wanted.clone()).await,
        };
        let texts = insist(issue).await;
        if is_lost() {
            return;
        }
        let mut ledger = self.shared.ledger();
        let person = &mut ledger.people[number];
        person.badge = texts.get(&row.reference).cloned();
        (person.badge_since, person.enrolling) = (self.shared.now(), false);
        drop(ledger);
        self.shared.trace(format!("person {number} has a badge"));
    }

    async fn change(&self, authority: Authority, change: Change, number: usize) {
        let before = self.shared.ledger().people[number].standing[index(authority)];
        if !self.shared.ledger().begin(authority, change, number) {
            return;
        }
        if change == Change::Reinstate {
            // What is better waits for a quorum past the sizes at which it was not.
            let Ok(Some(size)) = self.desk.log_size(authority).await else {
                self.shared.ledger().refused(authority, number, before);
                return;
            };
            let stood = match before {
                Standing::Stopped { shows_at: Some(from), .. } if from <= size => {
                    Some((from, size))
                }
                _ => None,
            };
            self.shared.ledger().people[number].stood[index(authority)] = stood;
        }
        let badge = self.shared.ledger().people[number].badge.clone().unwrap_or_default();
        let reference = self.people[number].reference.clone();
        let restored = self.shared.ledger().restored;
        let changed = self.desk.change(authority, change, &reference, &badge).await;
        // The acknowledgement was earlier by as long as asking for the size took: a bound counts from now, which is later.
        let now = self.shared.now();
        self.shared.trace(format!("{} {change:?} {number}: {}", authority.name(), short(&changed)));
        self.enter(authority, change, number, (changed, before, restored), now);
        if let Some(stray) = self.stray.filter(|_| change == Change::Suspend) {
            let badge = self.shared.ledger().people[stray].badge.clone().unwrap_or_default();
            let reference = &self.people[stray].reference;
            // A defect need not succeed.
            let _ = self.desk.change(authority, change, reference, &badge).await;
        }
    }

    /// Enters what came of a change; it was begun when somebody stood so, and copies had been restored so often.
    fn enter(
        &self,
        authority: Authority,
        change: Change,
        number: usize,
        (changed, before, restored): (Result<Outcome, NoAnswer>, Standing, [u32; 2]),
        now: u64,
    ) {
        let mut ledger = self.shared.ledger();
        match changed {
            // What was acknowledged by a machine that is lost is as may be.
            _ if ledger.restored != restored => ledger.unanswered(authority, number),
            Ok(Outcome::Done { size, is_new }) => {
                ledger.done(authority, change, number, (now, size));
                ledger.acknowledged[index(authority)].extend(is_new.then_some(now));
            }
            Ok(Outcome::NotPossible) => ledger.refused(authority, number, before),
            Err(_) => ledger.unanswered(authority, number),
        }
    }

    /// A scanner at a gate: everybody who has a badge, again and again.
    async fn scan(self, gate: &'static str) {
        let mut count = 0_u64;
        let mut last: Option<(String, [u8; 16], CheckResponse, u64)> = None;
        loop {
            sleep(PACE).await;
            count += 1;
            if count.is_multiple_of(RETRY_EVERY)
                && let Some(last) = &last
            {
                self.ask_again(gate, last).await;
                continue;
            }
            let person = count as usize % PEOPLE;
            let Some(badge) = self.shared.ledger().people[person].badge.clone() else { continue };
            let nonce = nonce(gate, count);
            if let Some(response) = self.check(gate, person, &badge, nonce).await {
                last = Some((badge, nonce, response, self.shared.now()));
            }
        }
    }

    async fn check(
        &self,
        gate: &'static str,
        person: usize,
        badge: &str,
        nonce: [u8; 16],
    ) -> Option<CheckResponse> {
        let asked = self.shared.now();
        let (standing, observed) = {
            let ledger = self.shared.ledger();
            let observed = ledger.observed.get(gate).copied().unwrap_or_default();
            (ledger.people[person].standing, observed)
        };
        let response = match self.desk.check(gate, badge, nonce).await {
            Ok(response) => response,
            Err(error) => {
                let why = format!("{gate} does not answer: {}", short_error(&error));
                self.shared.trace(&why);
                if self.shared.ledger().must_answer(gate, asked, self.shared.now()) {
                    self.shared.violate("gates-go-on", format!("asked at {asked}, {why}"));
                }
                return None;
            }
        };
        let verdict = response.verdict().as_str_name().trim_start_matches("VERDICT_");
        let reason = response.reason().as_str_name().trim_start_matches("REASON_");
        self.shared.trace(format!("{gate} {person} {verdict} {reason} #{}", response.receipt_id));
        let answer = Answer { gate, person, asked, standing, observed, verdict, reason };
        let now = self.shared.now();
        let mut ledger = self.shared.ledger();
        let wrong = ledger.judge(&answer, now);
        let given = *ledger.receipts.entry((gate, response.receipt_id)).or_insert(nonce);
        drop(ledger);
        if let Some((invariant, why)) = wrong {
            self.shared.violate(invariant, why);
        }
        if given != nonce {
            let twice = format!("{gate} gave receipt {} for two checks", response.receipt_id);
            self.shared.violate("nothing-lost", twice);
        }
        Some(response)
    }

    async fn ask_again(
        &self,
        gate: &'static str,
        (badge, nonce, before, at): &(String, [u8; 16], CheckResponse, u64),
    ) {
        let Ok(again) = self.desk.check(gate, badge, *nonce).await else { return };
        // Within the ten minutes in which a retry is the same check; by a clock that was set, nobody knows.
        if self.shared.ledger().links.clocks().farthest(gate, *at, self.shared.now()) > 0 {
            return;
        }
        self.shared.judged(judged::RETRIED);
        if again != *before {
            let detail = format!("{gate} answered {before:?}, and asked again {again:?}");
            self.shared.violate("nothing-lost", detail);
        }
    }

    /// Asks a gate what it knows, again and again.
    async fn watch(self, gate: &'static str) {
        loop {
            sleep(OBSERVED_EVERY).await;
            let time = self.shared.now();
            let Ok(state) = self.desk.sync_state(gate).await else { continue };
            let mut observed = Observed { time, ..Observed::default() };
            for (place, authority) in state.authorities.iter().take(2).enumerate() {
                observed.signed[place] = authority.signed_size;
                observed.quorum[place] = authority.quorum_size;
            }
            let mut ledger = self.shared.ledger();
            let gone_back = ledger.observe(gate, observed).err();
            let hasty = ledger.hasty(gate);
            drop(ledger);
            self.shared.trace(format!("{gate} {:?} {:?}", observed.signed, observed.quorum));
            if let Some(detail) = gone_back {
                self.shared.violate("no-gate-goes-back", detail);
            }
            if let Some(detail) = hasty {
                self.shared.violate("better-waits-for-a-quorum", detail);
            }
        }
    }

    /// All is mended and has had time: everything that was acknowledged is there, and shows at every gate.
    async fn reckon(&self) {
        self.change_late().await;
        self.look_at_trails().await;
        let enrolled = insist(async || self.desk.enrolled().await).await;
        for number in 0..PEOPLE {
            let person = self.shared.ledger().people[number].clone();
            let reference = &self.people[number].reference;
            self.shared.judged(judged::ENROLLED);
            if person.enrolled && !enrolled.contains_key(reference) {
                self.shared.violate("nothing-lost", format!("person {number} is not enrolled"));
            }
            let Some(badge) = &person.badge else { continue };
            let screening = enrolled.get(reference).copied();
            let cleared = screening == Some(ScreeningState::Cleared);
            if !cleared && !person.listed {
                let detail = format!("person {number} has a badge and is {screening:?}");
                self.shared.violate("all-recovers", detail);
            }
            let mut verdicts = Vec::new();
            for (place, gate) in GATES.into_iter().enumerate() {
                let count = (place as u64 + 1) << 32 | number as u64;
                verdicts.push(self.expect(gate, number, badge, count).await);
            }
            // Whatever the answer is where nobody knows.
            if verdicts.iter().any(|verdict| *verdict != verdicts[0]) {
                let detail = format!("gates answer {verdicts:?} about person {number}");
                self.shared.violate("all-recovers", detail);
            }
        }
    }

    /// Now that all is well, two people are stopped, and one who is stopped is good again: that shows at every gate soon.
    async fn change_late(&self) {
        let quiet = |person: &Person| {
            person.badge.is_some() && !person.listed && person.changing == [false; 2]
        };
        for authority in Authority::ALL {
            let place = index(authority);
            let stopped =
                |standing| matches!(standing, Standing::Stopped { for_good: Some(false), .. });
            let found = self.first(|person| {
                let [own, other] = [place, 1 - place].map(|place| person.standing[place]);
                quiet(person) && stopped(own) && other == Standing::Good
            });
            if let Some(number) = found {
                self.change(authority, Change::Reinstate, number).await;
                break;
            }
        }
        for authority in Authority::ALL {
            let is_good = |person: &Person| {
                quiet(person) && person.standing == [Standing::Good; 2] && person.stood == [None; 2]
            };
            if let Some(number) = self.first(is_good) {
                self.change(authority, Change::Suspend, number).await;
            }
        }
        // Whoever is checked from now on is checked after the bound.
        sleep(Duration::from_millis(2 * BOUND_MILLIS)).await;
    }

    fn first(&self, is_meant: impl FnMut(&Person) -> bool) -> Option<usize> {
        self.shared.ledger().people.iter().position(is_meant)
    }

    /// What was acknowledged stands in the audit trails.
    async fn look_at_trails(&self) {
        for authority in Authority::ALL {
            let found = insist(async || self.desk.changes_on_record(authority).await).await;
            let acknowledged = self.shared.ledger().acknowledged[index(authority)].len();
            self.shared.judged(judged::TRAIL);
            if found < acknowledged {
                let name = authority.name();
                let detail = format!(
                    "the {name} acknowledged {acknowledged} changes, its audit trail has {found}"
                );
                self.shared.violate("nothing-lost", detail);
            }
        }
    }

    /// Asks a gate about somebody, and returns the verdict.
    async fn expect(&self, gate: &'static str, number: usize, badge: &str, count: u64) -> String {
        let person = self.shared.ledger().people[number].clone();
        let Some(response) = self.check(gate, number, badge, nonce(gate, count << 8)).await else {
            self.shared.violate("all-recovers", format!("{gate} does not answer"));
            return String::new();
        };
        let verdict = response.verdict().as_str_name().trim_start_matches("VERDICT_");
        self.shared.judged(judged::LAST_LOOK);
        if person.changing != [false; 2] || person.standing.contains(&Standing::Unknown) {
            return verdict.to_owned();
        }
        let [committee, police] = person.standing;
        let expected: &[_] = match (committee, police) {
            (Standing::Stopped { for_good: Some(true), .. }, _) => &["DENY"],
            (Standing::Stopped { for_good: None, .. }, _) => &["DENY", "REFER"],
            (Standing::Good, Standing::Good) if !person.listed => &["ADMIT"],
            _ => &["REFER"],
        };
        if !expected.contains(&verdict) {
            let invariant = if verdict == "ADMIT" { "nothing-lost" } else { "all-recovers" };
            let reason = response.reason().as_str_name();
            let detail = format!(
                "{gate} answers {verdict} {reason} about person {number}, {expected:?} expected: {:?}",
                person.standing
            );
            self.shared.violate(invariant, detail);
        }
        verdict.to_owned()
    }
}

fn nonce(gate: &str, count: u64) -> [u8; 16] {
    let mut nonce = [0; 16];
    nonce[..6].copy_from_slice(&gate.as_bytes()[..6]);
    nonce[8..].copy_from_slice(&count.to_be_bytes());
    nonce
}

fn short<T: std::fmt::Debug>(result: &Result<T, NoAnswer>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => short_error(error),
    }
}

fn short_error(error: &NoAnswer) -> String {
    match error {
        NoAnswer::Late => "late".to_owned(),
        NoAnswer::Refused(status) => format!("{:?}", status.code()),
    }
}

/// Asks until there is an answer.
async fn insist<T>(mut call: impl AsyncFnMut() -> Result<T, NoAnswer>) -> T {
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(_) => sleep(Duration::from_secs(2)).await,
        }
    }
}
