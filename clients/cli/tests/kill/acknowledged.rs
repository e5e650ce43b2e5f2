//! What parties answered, and whether they still stand by it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use lanyard_wire::committee::v1 as committee;
use lanyard_wire::common::v1::RecordStatus;
use lanyard_wire::gate::v1 as gate;
use lanyard_wire::police::v1 as police;

use crate::event::{Badge, Event, eventually};
use crate::load;

/// Everything acknowledged so far. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Acknowledged {
    inner: Arc<Mutex<Answers>>,
}

#[derive(Default)]
pub(crate) struct Answers {
    /// References of people who were imported.
    pub(crate) imported: Vec<String>,
    /// References of people who were seen cleared.
    pub(crate) cleared: BTreeSet<String>,
    /// Prints of badges, by reference; none if the last answer is missing.
    pub(crate) prints: BTreeMap<String, Option<Print>>,
    /// Badges that were reported lost.
    pub(crate) lost: Vec<String>,
    /// Evaluations that the trustee has counted, by caller and purpose.
    pub(crate) counted: BTreeMap<(String, i32), u64>,
    /// By badge: whether the committee suspended it; none if its last answer is missing.
    pub(crate) committee_stops: BTreeMap<usize, Option<bool>>,
    /// The same of the police.
    pub(crate) police_stops: BTreeMap<usize, Option<bool>>,
    /// Checks with their answers.
    pub(crate) checks: Vec<(gate::CheckRequest, gate::CheckResponse)>,
    /// The greatest sizes of the committee's and the police's logs: signed, and with a quorum.
    pub(crate) logs: [(u64, u64); 2],
}

/// A print of a badge; with its text if it was issued.
pub(crate) struct Print {
    pub(crate) number: u32,
    pub(crate) text: Option<String>,
}

impl Acknowledged {
    pub(crate) fn note(&self) -> MutexGuard<'_, Answers> {
        self.inner.lock().expect("nobody panics holding it")
    }

    /// Asks every party for what it acknowledged.
    pub(crate) async fn check(&self, event: &Event, badges: &[Badge]) {
        let answers = std::mem::take(&mut *self.note());
        println!(
            "acknowledged: {} people, {} of them cleared, {} prints, {} lost, {} stops, {} checks, {} evaluations, logs \
             of {:?}",
            answers.imported.len(),
            answers.cleared.len(),
            answers.prints.values().flatten().count(),
            answers.lost.len(),
            answers.committee_stops.len() + answers.police_stops.len(),
            answers.checks.len(),
            answers.counted.values().sum::<u64>(),
            answers.logs,
        );
        assert!(!answers.imported.is_empty() && !answers.checks.is_empty(), "there was a load");
        answers.people(event, badges.len()).await;
        answers.prints(event).await;
        answers.evaluations(event).await;
        answers.stops(event, badges).await;
        answers.receipts(event).await;
        answers.logs(event).await;
    }
}

impl Answers {
    async fn people(&self, event: &Event, badges: usize) {
        let enrolled = event.clients.people(self.imported.clone()).await;
        let enrolled = enrolled.expect("people are listed");
        assert_eq!(enrolled.len(), self.imported.len(), "everybody imported is enrolled");
        for state in &enrolled {
            let reference = state.person.as_ref().map(|person| person.reference.as_str());
            let reference = reference.expect("a person");
            if self.cleared.contains(reference) {
                let screening = state.screening();
                assert_eq!(screening, committee::ScreeningState::Cleared, "{reference}");
            }
        }
        // The others are screened now: none is stuck between the parties.
        let all = (self.imported.len() + badges) as u64;
        eventually("everybody enrolled is cleared", async || {
            let screened = event.clients.screen().await;
            screened.is_ok_and(|last| last.pending == 0 && last.cleared >= all)
        })
        .await;
    }

    /// Everybody has the print that was issued or is to be issued next; at the gate the issued are good, the lost are not.
    async fn prints(&self, event: &Event) {
        let known = || self.prints.iter().filter_map(|(one, print)| Some((one, print.as_ref()?)));
        assert!(known().count() > 0 && !self.lost.is_empty(), "badges were issued and lost");
        let references = known().map(|(reference, _)| reference.clone()).collect();
        let people = event.clients.people(references).await.expect("people are listed");
        for ((reference, print), state) in std::iter::zip(known(), people) {
            let is_issued = state.print_state() == committee::PrintState::Issued;
            let found = (state.print_number, is_issued);
            assert_eq!(found, (print.number, print.text.is_some()), "{reference}");
        }
        let issued = known().filter_map(|(_, print)| print.text.as_deref()).rev().take(8);
        let lost = self.lost.iter().rev().take(8).map(String::as_str);
        let admitted = issued.map(|text| (text, gate::Verdict::Admit));
        for (text, expected) in admitted.chain(lost.map(|text| (text, gate::Verdict::Deny))) {
            eventually("the gate knows which print is good", async || {
                let checked = event.clients.scanner.clone().check(load::check_of(text)).await;
                checked.is_ok_and(|checked| checked.get_ref().verdict() == expected)
            })
            .await;
        }
    }

    /// No evaluation that was counted is forgotten, and each person who was cleared has cost one.
    async fn evaluations(&self, event: &Event) {
        let now = event.clients.usage().await.expect("the trustee's counters");
        for (counter, used) in &self.counted {
            assert!(now.get(counter).is_some_and(|now| now >= used), "{counter:?}: {now:?}");
        }
        assert!(now.values().sum::<u64>() >= self.cleared.len() as u64);
    }

    async fn stops(&self, event: &Event, badges: &[Badge]) {
        let references = badges.iter().map(|badge| badge.reference.clone()).collect();
        let at_committee = event.clients.people(references).await.expect("people are listed");
        for (place, (badge, state)) in std::iter::zip(badges, at_committee).enumerate() {
            let by_committee = state.status() == RecordStatus::Suspended;
            let request = police::ListSubjectsRequest {
                subject_ids: vec![badge.subject.clone()],
                ..Default::default()
            };
            let subjects = event.clients.subjects.clone().list_subjects(request).await;
            let subjects = subjects.expect("a subject").into_inner().subjects;
            let [subject] = subjects.as_slice() else { panic!("the police forgot a subject") };
            let stops = [
                ("committee", &self.committee_stops, by_committee),
                ("police", &self.police_stops, subject.suspended),
            ];
            for (who, acknowledged, found) in stops {
                if let Some(Some(expected)) = acknowledged.get(&place) {
                    assert_eq!(found, *expected, "{}, suspended by the {who}", badge.reference);
                }
            }
            let is_stopped = by_committee || subject.suspended;
            let expected = if is_stopped { gate::Verdict::Refer } else { gate::Verdict::Admit };
            eventually("the gate says what the authorities say", async || {
                let checked =
                    event.clients.scanner.clone().check(load::check_of(&badge.text)).await;
                checked.is_ok_and(|checked| checked.get_ref().verdict() == expected)
            })
            .await;
        }
    }

    /// A check asked again has the answer and the receipt that it had, and no receipt was given twice.
    async fn receipts(&self, event: &Event) {
        let mut receipts = BTreeSet::new();
        for (request, answer) in &self.checks {
            assert!(receipts.insert(answer.receipt_id), "receipt {} twice", answer.receipt_id);
            let again = event.clients.scanner.clone().check(request.clone()).await;
            assert_eq!(again.expect("an answer").get_ref(), answer);
        }
        let request = gate::GetSyncStateRequest {};
        let state = event.clients.gate_operator.clone().get_sync_state(request).await;
        let state = state.expect("the gate's state").into_inner();
        assert!(Some(&state.receipts) >= receipts.last());
        let evidence: Vec<_> = state.authorities.iter().flat_map(|one| &one.evidence).collect();
        assert!(evidence.is_empty(), "a log contradicts itself: {evidence:?}");
    }

    async fn logs(&self, event: &Event) {
        eventually("both logs are longer than they were", async || {
            let now = event.clients.published().await;
            std::iter::zip(now, self.logs)
                .all(|(now, was)| now.is_some_and(|now| now.0 > was.0 && now.1 > was.1))
        })
        .await;
    }
}
