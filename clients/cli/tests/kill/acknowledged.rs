//! What parties answered, and whether they still stand by it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use lanyard_wire::committee::v1 as committee;
use lanyard_wire::common::v1::RecordStatus;
use lanyard_wire::epoch::v1::GetEpochCostRequest;
use lanyard_wire::gate::v1 as gate;
use lanyard_wire::police::v1 as police;
use lanyard_wire::pseudonym::v1::{EvaluateRequest, Purpose};
use lanyard_wire::screening::v1::Verdict;
use lanyard_wire::staff::v1 as staff;
use tonic::Code;

use crate::event::{Badge, Event, eventually};
use crate::load;
use crate::wanted::{WANTED, Wanted, wanted};

/// A check that is asked again later than this after it may be refused: by then the person is elsewhere.
const ASKED_AGAIN: Duration = Duration::from_secs(9 * 60);

/// Everything acknowledged so far. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Acknowledged {
    inner: Arc<Mutex<Answers>>,
}

#[derive(Default)]
pub(crate) struct Answers {
    /// References of people who were imported.
    pub(crate) imported: Vec<String>,
    /// What screening said of people: cleared or refused, by reference.
    pub(crate) told: BTreeMap<String, committee::ScreeningState>,
    /// Subjects whom an officer has cleared.
    pub(crate) decided: BTreeSet<Vec<u8>>,
    /// Entries of the list that is replaced again and again; none if the last answer is missing.
    pub(crate) listed: Option<u64>,
    /// References of the police's staff who were imported.
    pub(crate) staff: Vec<String>,
    /// What stands in the committee's and the police's audit trails.
    pub(crate) acts: [Vec<Act>; 2],
    /// The newest epochs out of turn that the committee and the police have begun; none if one is to be begun.
    pub(crate) epochs: [Option<u32>; 2],
    /// The newest version of the manifest.
    pub(crate) manifest: u32,
    /// Prints of badges, by reference; none if the last answer is missing.
    pub(crate) prints: BTreeMap<String, Option<Print>>,
    /// Badges that were reported lost.
    pub(crate) lost: Vec<String>,
    /// Evaluations that the trustee has counted, by caller and purpose, when it was last asked.
    pub(crate) counted: BTreeMap<(String, i32), u64>,
    /// Evaluations that a share holder has answered to the caller who counts along, by holder.
    pub(crate) evaluated: BTreeMap<&'static str, u64>,
    /// Batches of that caller that were not answered yet.
    pub(crate) batches: BTreeMap<&'static str, EvaluateRequest>,
    /// By badge: whether the committee suspended it; none if its last answer is missing.
    pub(crate) committee_stops: BTreeMap<usize, Option<bool>>,
    /// The same of the police.
    pub(crate) police_stops: BTreeMap<usize, Option<bool>>,
    /// Checks with their answers, and when they were made.
    pub(crate) checks: Vec<(gate::CheckRequest, gate::CheckResponse, Instant)>,
    /// Checks that a supervisor overruled.
    pub(crate) overrides: Vec<(gate::OverrideRequest, gate::OverrideResponse)>,
    /// The greatest sizes of the committee's and the police's logs: signed, and with a quorum.
    pub(crate) logs: [(u64, u64); 2],
}

/// A print of a badge; with its text if it was issued.
pub(crate) struct Print {
    pub(crate) number: u32,
    pub(crate) text: Option<String>,
}

/// Somebody's act, as an audit trail has it: one entry.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Act {
    pub(crate) action: &'static str,
    pub(crate) change: u64,
}

impl Act {
    /// One badge suspended or reinstated.
    pub(crate) const fn stop(suspend: bool, change: u64) -> Self {
        Self { action: if suspend { "suspend" } else { "reinstate" }, change }
    }
}

impl Acknowledged {
    pub(crate) fn note(&self) -> MutexGuard<'_, Answers> {
        self.inner.lock().expect("nobody panics holding it")
    }

    /// Asks every party for what it acknowledged. The load has ended.
    pub(crate) async fn check(&self, event: &Event, badges: &[Badge]) {
        for holder in &*event.holders {
            let what = format!("the {} answers the last batch", holder.name);
            eventually(&what, async || holder.evaluate(self).await).await;
        }
        let answers = std::mem::take(&mut *self.note());
        answers.show();
        answers.people(event, badges.len()).await;
        answers.police(event).await;
        answers.prints(event).await;
        answers.evaluations(event).await;
        answers.stops(event, badges).await;
        answers.audit(event).await;
        answers.receipts(event).await;
        answers.logs(event).await;
        *self.note() = answers;
    }
}

impl Answers {
    fn show(&self) {
        let said = |state| self.told.values().filter(|said| **said == state).count();
        let [cleared, refused] =
            [committee::ScreeningState::Cleared, committee::ScreeningState::Refused].map(said);
        println!(
            "acknowledged: {} people, {cleared} of them cleared, {refused} refused, {} by an officer, {} of the staff, {} \
             prints, {} lost, {} stops, {} and {} acts, {} checks, {} of them overruled, {:?} evaluations, epochs {:?}, logs of {:?}",
            self.imported.len(),
            self.decided.len(),
            self.staff.len(),
            self.prints.values().flatten().count(),
            self.lost.len(),
            self.committee_stops.len() + self.police_stops.len(),
            self.acts[0].len(),
            self.acts[1].len(),
            self.checks.len(),
            self.overrides.len(),
            self.evaluated,
            self.epochs,
            self.logs,
        );
        assert!(!self.imported.is_empty() && cleared > 0 && refused > 0, "people were screened");
        assert!(!self.checks.is_empty() && !self.overrides.is_empty(), "people were checked");
        assert!(!self.decided.is_empty() && !self.staff.is_empty(), "the police were at work");
        assert!(self.acts.iter().all(|acts| !acts.is_empty()), "badges were stopped");
        assert!(self.epochs.iter().all(Option::is_some), "epochs were begun");
    }

    async fn people(&self, event: &Event, badges: usize) {
        let enrolled = event.clients.people(self.imported.clone()).await;
        let enrolled = enrolled.expect("people are listed");
        assert_eq!(enrolled.len(), self.imported.len(), "everybody imported is enrolled");
        for state in &enrolled {
            let reference = state.person.as_ref().map(|person| person.reference.as_str());
            let reference = reference.expect("a person");
            if let Some(told) = self.told.get(reference) {
                assert_eq!(state.screening(), *told, "{reference}");
            }
        }
        // The others are screened now: none is stuck between the parties.
        let all = (self.imported.len() + badges) as u64;
        eventually("screening says of everybody what it must", async || {
            let Ok(last) = event.clients.screen().await else { return false };
            let Ok(people) = event.clients.people(self.imported.clone()).await else {
                return false;
            };
            last.cleared + last.refused + last.pending == all
                && people.iter().all(|state| {
                    let person = state.person.as_ref().expect("a person");
                    let wanted = Wanted::of_reference(&person.reference);
                    wanted.allows(state.screening(), self.decided.contains(&state.subject_id))
                })
        })
        .await;
    }

    /// The police's lists, the cases that were decided, and their own staff.
    async fn police(&self, event: &Event) {
        let request = police::ListWatchlistsRequest {};
        let lists = event.clients.watchlists.clone().list_watchlists(request).await;
        let lists = lists.expect("lists").into_inner().lists;
        let entries = |name| lists.iter().find(|list| list.name == name).map(|list| list.entries);
        assert_eq!(entries(WANTED), Some(wanted().len() as u64));
        if self.listed.is_some() {
            assert_eq!(entries(load::LIST), self.listed, "the list that was replaced last");
        }
        for subject in &self.decided {
            let request = police::GetCaseRequest { subject_id: subject.clone() };
            let case = event.clients.cases.clone().get_case(request).await.expect("a case");
            let case = case.into_inner().case.expect("a case");
            let verdict = case.subject.as_ref().map(|subject| subject.verdict());
            assert_eq!(verdict, Some(Verdict::Cleared), "an officer's decision: {case:?}");
        }
        let mut known = BTreeSet::new();
        for references in self.staff.chunks(500) {
            let request =
                staff::ListStaffRequest { references: references.to_vec(), ..Default::default() };
            let page = event.clients.staff.clone().list_staff(request).await.expect("the staff");
            let members = page.into_inner().members.into_iter().filter_map(|one| one.member);
            known.extend(members.map(|member| member.reference));
        }
        assert_eq!(known.len(), self.staff.len(), "staff who were imported");
    }

    /// Each act that was acknowledged stands in the trail, once.
    async fn audit(&self, event: &Event) {
        for (acts, trail) in std::iter::zip(&self.acts, event.clients.audit().await) {
            let mut entries: BTreeMap<_, usize> = BTreeMap::new();
            for entry in &trail {
                *entries.entry((entry.action.as_str(), entry.change_id)).or_default() += 1;
            }
            for Act { action, change } in acts {
                assert_eq!(entries.get(&(*action, *change)), Some(&1), "{action}, change {change}");
            }
        }
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
        let issued = known().rev().filter_map(|(reference, print)| {
            let text = print.text.as_deref()?;
            match Wanted::of_reference(reference) {
                Wanted::Not => Some((text, gate::Verdict::Admit)),
                Wanted::ByDocument => Some((text, gate::Verdict::Refer)),
                Wanted::ByName => None,
            }
        });
        let (admitted, referred): (Vec<_>, Vec<_>) =
            issued.partition(|(_, verdict)| *verdict == gate::Verdict::Admit);
        let lost = self.lost.iter().rev().map(|text| (text.as_str(), gate::Verdict::Deny));
        let some = admitted.into_iter().take(8).chain(referred.into_iter().take(8));
        for (text, expected) in some.chain(lost.take(8)) {
            eventually("the gate knows which print is good", async || {
                let checked = event.clients.scanner.clone().check(load::check_of(text)).await;
                checked.is_ok_and(|checked| checked.get_ref().verdict() == expected)
            })
            .await;
        }
    }

    /// No evaluation that was counted is forgotten, and of the caller who counts along exactly those that were answered are
    /// counted.
    async fn evaluations(&self, event: &Event) {
        let now = event.clients.usage().await.expect("the trustee's counters");
        for (counter, used) in &self.counted {
            assert!(now.get(counter).is_some_and(|now| now >= used), "{counter:?}: {now:?}");
        }
        let counter = ("police".to_owned(), i32::from(Purpose::Check));
        assert_eq!(now.get(&counter), self.evaluated.get("trustee"), "evaluations");
        assert_eq!(self.evaluated.len(), event.holders.len());
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

    /// A check asked again has the answer and the receipt that it had, an override too, and no receipt was given twice.
    async fn receipts(&self, event: &Event) {
        let mut receipts = BTreeSet::new();
        for (request, answer, at) in &self.checks {
            assert!(receipts.insert(answer.receipt_id), "receipt {} twice", answer.receipt_id);
            match event.clients.scanner.clone().check(request.clone()).await {
                Ok(again) => assert_eq!(again.get_ref(), answer),
                // Its nonce is known all the same.
                Err(refused) => {
                    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
                    assert!(at.elapsed() > ASKED_AGAIN, "{refused}");
                }
            }
        }
        for (request, answer) in &self.overrides {
            assert!(receipts.insert(answer.receipt_id), "receipt {} twice", answer.receipt_id);
            let again = event.clients.supervisor.clone().r#override(request.clone()).await;
            assert_eq!(again.expect("an answer").get_ref(), answer);
        }
        let request = gate::GetSyncStateRequest {};
        let state = event.clients.gate_operator.clone().get_sync_state(request).await;
        let state = state.expect("the gate's state").into_inner();
        assert!(Some(&state.receipts) >= receipts.last());
        assert_eq!(state.manifest_version, self.manifest, "the newest manifest is in force");
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
        for (client, begun) in std::iter::zip(&event.clients.epochs, self.epochs) {
            let cost = client.clone().get_epoch_cost(GetEpochCostRequest {}).await;
            let live = cost.expect("an authority answers").get_ref().live_epoch;
            assert!(Some(live) >= begun, "epoch {begun:?} was begun, and {live} is live");
        }
    }
}
