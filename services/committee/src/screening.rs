//! Screening: pseudonyms out, verdicts in. Batches of people are evaluated and submitted side by side, each stored before
//! it is asked, so that a run that was interrupted goes on where it stopped. In memory are the batches under way.

mod batches;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use lanyard_core::identity::{Facts, IdentityKey, KeyKind};
use lanyard_core::ids::EventId;
use lanyard_core::oprf::Pseudonym;
use lanyard_env::Env;
use lanyard_party::{SealedBlobError, StoreKey};
use lanyard_shareholder::{Batch, PseudonymError, Pseudonymiser};
use lanyard_store::{DamagedRow, SealValue, Store, StoreError, placeholders, without};
use lanyard_transport::status;
use lanyard_wire::committee::v1::ScreenResponse;
use lanyard_wire::screening::v1::screening_service_client::ScreeningServiceClient;
use lanyard_wire::screening::v1::{
    self as wire, ListVerdictsRequest, PrintSeeds, RegisterPrintsRequest, Subject, SubjectKey,
    SubmitSubjectsRequest,
};
use sqlx::{AssertSqlSafe, Row as _};
use thiserror::Error;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use zeroize::Zeroizing;

use self::batches::{Kept, Member, Stage};
use crate::badges::{SEEDS, seeds_cell};
use crate::cursors;
use crate::person::{Identity, StoredDocument};
use crate::states::{PrintState, Screening as State};

/// Prints handed over together.
const PAGE: i64 = 2_048;
/// People read from the store at a time.
const PEOPLE: i64 = 256;
/// The next of them, by state, number and how many.
const NEXT_PEOPLE: &str = "badge_number IN (SELECT badge_number FROM people WHERE screening = $1 AND badge_number > $2 \
                           ORDER BY badge_number LIMIT $3)";
/// Rows that one statement names.
const ROWS: usize = 256;
/// Subjects or prints in one message.
const MESSAGE: usize = 256;
/// How often prints are handed over and verdicts fetched.
const INTERVAL: Duration = Duration::from_secs(2);

/// Why screening stopped. What was submitted before stays submitted.
#[derive(Debug, Error)]
pub(crate) enum ScreeningError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Pseudonyms cannot be computed.
    #[error(transparent)]
    Pseudonym(#[from] PseudonymError),
    /// Seeds do not open.
    #[error(transparent)]
    Seeds(#[from] SealedBlobError),
    /// The police refuse or cannot be reached.
    #[error("police: {}", status::explain(.0))]
    Police(#[source] Box<tonic::Status>),
}

impl From<sqlx::Error> for ScreeningError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<tonic::Status> for ScreeningError {
    fn from(status: tonic::Status) -> Self {
        Self::Police(Box::new(status))
    }
}

/// A person to be screened.
struct Candidate {
    badge_number: i64,
    subject_id: Vec<u8>,
    binding: Vec<u8>,
    keys: Vec<IdentityKey>,
}

/// Where the drawing of batches stands.
struct Drawing<'a> {
    /// Keys that a batch has room for.
    size: usize,
    /// People passed over, who give no key.
    without_key: &'a AtomicU64,
    /// The last badge number read.
    after: i64,
    read: VecDeque<Candidate>,
}

/// The committee's side of screening.
pub(crate) struct Screening {
    pub(crate) store: Store,
    pub(crate) env: Env,
    pub(crate) event: EventId,
    pub(crate) store_key: Arc<StoreKey>,
    pub(crate) pseudonymiser: Pseudonymiser,
    pub(crate) police: ScreeningServiceClient<Channel>,
    /// One run at a time; a second waits and finds nothing left.
    pub(crate) running: Mutex<()>,
}

impl Screening {
    /// Submits all who need it and reports after each batch.
    pub(crate) async fn run(
        &self,
        mut report: impl FnMut(ScreenResponse) + Send,
    ) -> Result<(), ScreeningError> {
        let _running = self.running.lock().await;
        let _alone = self.store.exclusive("screening").await?;
        let mut progress = self.totals().await?;
        progress.total = self.count(State::New).await?;
        report(progress.clone());
        let without_key = AtomicU64::new(0);
        let side_by_side = self.pseudonymiser.concurrency();
        // All that was asked before is settled before anything else is asked: then it is among the batches that holders
        // recognise.
        let kept = futures::stream::iter(self.kept().await?);
        let kept = kept.map(|id| Ok(self.load(id))).try_buffered(1).boxed();
        let size = self.pseudonymiser.batch_size(progress.total as usize * Facts::PERSON_KEYS);
        let drawing = Drawing { size, without_key: &without_key, after: 0, read: VecDeque::new() };
        let new = futures::stream::try_unfold(drawing, |mut drawing| async {
            let kept = self.next_batch(&mut drawing).await?;
            Ok(kept.map(|kept| (kept, drawing)))
        });
        for batches in [kept, new.boxed()] {
            let settled = batches.map_ok(|kept| self.settle(kept)).try_buffered(side_by_side);
            let mut settled = pin!(settled);
            while let Some(people) = settled.try_next().await? {
                progress.pseudonymised += people;
                progress.submitted += people;
                progress.without_key = without_key.load(Ordering::Relaxed);
                report(progress.clone());
            }
        }
        progress.without_key = without_key.load(Ordering::Relaxed);
        progress.evaluations = self.evaluations().await?;
        report(progress);
        self.hand_over_prints().await?;
        self.fetch_verdicts().await?;
        Ok(())
    }

    /// How many people stand where.
    pub(crate) async fn totals(&self) -> Result<ScreenResponse, ScreeningError> {
        Ok(ScreenResponse {
            cleared: self.count(State::Cleared).await?,
            refused: self.count(State::Refused).await?,
            pending: self.count(State::Pending).await?,
            ..Default::default()
        })
    }

    async fn count(&self, state: State) -> Result<u64, ScreeningError> {
        let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM people WHERE screening = $1")
            .bind(state.number())
            .fetch_one(self.store.pool())
            .await?;
        Ok(count as u64)
    }

    /// Draws and stores the next batch of people; `None` if nobody is left.
    async fn next_batch(&self, drawing: &mut Drawing<'_>) -> Result<Option<Kept>, ScreeningError> {
        let (mut members, mut keys): (Vec<Member>, Vec<IdentityKey>) = (Vec::new(), Vec::new());
        loop {
            if drawing.read.is_empty() {
                drawing.read = self.page(drawing.after).await?;
                let Some(last) = drawing.read.back() else { break };
                drawing.after = last.badge_number;
            }
            let Some(mut candidate) = drawing.read.pop_front() else { continue };
            if candidate.keys.is_empty() {
                drawing.without_key.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            if !keys.is_empty() && keys.len() + candidate.keys.len() > drawing.size {
                drawing.read.push_front(candidate);
                break;
            }
            let kinds = candidate.keys.iter().map(IdentityKey::kind).collect();
            keys.append(&mut candidate.keys);
            let Candidate { badge_number, subject_id, binding, .. } = candidate;
            members.push(Member { badge_number, subject_id, binding, kinds });
        }
        if keys.is_empty() {
            return Ok(None);
        }
        let batch = Batch::draw(&keys, &mut self.env.rng());
        self.open(members, batch).await.map(Some)
    }

    async fn page(&self, after: i64) -> Result<VecDeque<Candidate>, ScreeningError> {
        let values = [State::New.number(), after, PEOPLE].map(SealValue::Number);
        let damaged = self.store.damaged("people", NEXT_PEOPLE, &values).await?;
        for row in &damaged {
            tracing::error!(%row, "damaged: not screened; restore the store from a backup");
        }
        let statement = format!(
            "SELECT badge_number, subject_id, binding, full_name, latin_name, birth_date, documents, portrait_hash FROM people \
             WHERE screening = $1 AND badge_number > $2{} ORDER BY badge_number LIMIT $3",
            without("badge_number", "people", &damaged.into_iter().collect()),
        );
        let rows = sqlx::query(AssertSqlSafe(statement))
            .bind(State::New.number())
            .bind(after)
            .bind(PEOPLE)
            .fetch_all(self.store.pool())
            .await?;
        let mut candidates = VecDeque::with_capacity(rows.len());
        for row in &rows {
            let documents: Vec<StoredDocument> = serde_json::from_str(row.try_get("documents")?)
                .map_err(|_| StoreError::Corrupt { table: "people", column: "documents" })?;
            let identity = Identity {
                full_name: row.try_get("full_name")?,
                latin_name: row.try_get("latin_name")?,
                birth_date: row.try_get("birth_date")?,
                documents,
                portrait_hash: row.try_get("portrait_hash")?,
            };
            candidates.push_back(Candidate {
                badge_number: row.try_get("badge_number")?,
                subject_id: row.try_get("subject_id")?,
                binding: row.try_get("binding")?,
                keys: identity.keys(&self.event),
            });
        }
        Ok(candidates)
    }

    /// Takes a batch through what is left of its steps, and returns how many people it had.
    async fn settle(&self, kept: Kept) -> Result<u64, ScreeningError> {
        let Kept { id, members, stage } = self.evaluated(kept).await?;
        let people = members.len() as u64;
        let Stage::Evaluated { pseudonyms, verdicts } = stage else {
            return Err(PseudonymError::Stopped.into());
        };
        // Whoever was imported anew in the meantime has another binding, and waits for a batch with the new keys.
        let unchanged = self.unchanged(&mut *self.store.pool().acquire().await?, &members).await?;
        let mut pseudonyms = pseudonyms.iter();
        let mut subjects = Vec::with_capacity(unchanged.len());
        for member in &members {
            let keys = pseudonyms.by_ref().zip(&member.kinds).map(subject_key);
            let keys: Vec<_> = keys.take(member.kinds.len()).collect();
            if unchanged.contains(&member.badge_number) {
                subjects.push(Subject {
                    subject_id: member.subject_id.clone(),
                    binding: member.binding.clone(),
                    keys,
                });
            }
        }
        let mut subjects = subjects.into_iter();
        let messages = std::iter::from_fn(move || {
            let subjects: Vec<_> = subjects.by_ref().take(MESSAGE).collect();
            (!subjects.is_empty()).then_some(SubmitSubjectsRequest { subjects })
        });
        self.police.clone().submit_subjects(tokio_stream::iter(messages)).await?;
        self.close(id, &members, verdicts).await?;
        Ok(people)
    }

    /// The police have them: they wait for a verdict, and the batch goes. Verdicts are read again from where they stood
    /// before: one that came sooner than this was passed over.
    async fn close(
        &self,
        id: i64,
        members: &[Member],
        verdicts: u64,
    ) -> Result<(), ScreeningError> {
        let mut transaction = self.store.begin().await?;
        let unchanged = self.unchanged(&mut transaction, members).await?;
        let unchanged: Vec<i64> = unchanged.into_iter().collect();
        for numbers in unchanged.chunks(ROWS) {
            let statement = format!(
                "UPDATE people SET screening = $1 WHERE badge_number IN {}",
                placeholders(2, 1, numbers.len())
            );
            let query = sqlx::query(AssertSqlSafe(statement)).bind(State::Pending.number());
            numbers
                .iter()
                .fold(query, |query, number| query.bind(*number))
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::query("UPDATE cursors SET value = $1 WHERE name = 'verdicts' AND value > $1")
            .bind(verdicts as i64)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM screening_batches WHERE id = $1")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// The badge numbers of those members who are not screened yet and whose identity is as it was.
    async fn unchanged(
        &self,
        connection: &mut sqlx::AnyConnection,
        members: &[Member],
    ) -> Result<HashSet<i64>, ScreeningError> {
        let mut unchanged = HashSet::with_capacity(members.len());
        for members in members.chunks(ROWS) {
            let statement = format!(
                "SELECT badge_number, binding FROM people WHERE screening = $1 AND badge_number IN {}",
                placeholders(2, 1, members.len())
            );
            let query = sqlx::query_as(AssertSqlSafe(statement)).bind(State::New.number());
            let rows: Vec<(i64, Vec<u8>)> = members
                .iter()
                .fold(query, |query, member| query.bind(member.badge_number))
                .fetch_all(&mut *connection)
                .await?;
            let now: HashMap<i64, Vec<u8>> = rows.into_iter().collect();
            let same = |member: &&Member| now.get(&member.badge_number) == Some(&member.binding);
            unchanged.extend(members.iter().filter(same).map(|member| member.badge_number));
        }
        Ok(unchanged)
    }

    /// Gives the police the seeds of prints that they do not have, but for those of a damaged row.
    pub(crate) async fn hand_over_prints(&self) -> Result<u64, ScreeningError> {
        let mut damaged: BTreeSet<DamagedRow> = BTreeSet::new();
        let mut total = 0;
        loop {
            let statement = format!(
                "SELECT i.id, i.print_number, i.seeds, i.changed, p.subject_id FROM prints i \
                 JOIN people p ON p.badge_number = i.badge_number \
                 WHERE i.handed_over = 0 AND i.state = $1 AND p.screening <> $2{}{} ORDER BY i.id LIMIT $3",
                without("i.id", "prints", &damaged),
                without("i.badge_number", "people", &damaged),
            );
            let rows = sqlx::query(AssertSqlSafe(statement))
                .bind(PrintState::Issued.number())
                .bind(State::New.number())
                .bind(PAGE)
                .fetch_all(self.store.pool())
                .await?;
            let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(total) };
            let known = damaged.len();
            damaged.extend(self.damaged_prints(first.try_get("id")?, last.try_get("id")?).await?);
            if damaged.len() > known {
                continue;
            }
            let mut prints = Vec::with_capacity(rows.len());
            let mut ids: Vec<(i64, i64)> = Vec::with_capacity(rows.len());
            for row in &rows {
                let id: i64 = row.try_get("id")?;
                let sealed: Vec<u8> = row.try_get("seeds")?;
                let seeds = self.store_key.open(seeds_cell(id), &sealed)?;
                if seeds.len() != SEEDS {
                    return Err(StoreError::Corrupt { table: "prints", column: "seeds" }.into());
                }
                prints.push(PrintSeeds {
                    subject_id: row.try_get("subject_id")?,
                    print_number: row.try_get::<i64, _>("print_number")? as u32,
                    committee_police_seed: seeds[32..64].to_vec(),
                    police_gate_seed: seeds[96..].to_vec(),
                });
                ids.push((id, row.try_get("changed")?));
            }
            let messages: Vec<_> = prints
                .chunks(MESSAGE)
                .map(|prints| RegisterPrintsRequest { prints: prints.to_vec() })
                .collect();
            self.police.clone().register_prints(tokio_stream::iter(messages)).await?;
            let mut transaction = self.store.begin().await?;
            for (id, changed) in &ids {
                sqlx::query("UPDATE prints SET handed_over = 1 WHERE id = $1 AND changed = $2")
                    .bind(id)
                    .bind(changed)
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await?;
            total += ids.len() as u64;
        }
    }

    /// Damaged rows of issued prints with these ids, and of their people. No more than is handed over now: after an import,
    /// a million prints wait.
    async fn damaged_prints(&self, first: i64, last: i64) -> Result<Vec<DamagedRow>, StoreError> {
        const PRINTS: &str = "handed_over = 0 AND state = $1 AND id >= $2 AND id <= $3";
        let of = format!("badge_number IN (SELECT badge_number FROM prints WHERE {PRINTS})");
        let range = [PrintState::Issued.number(), first, last].map(SealValue::Number);
        let mut damaged = self.store.damaged("prints", PRINTS, &range).await?;
        damaged.extend(self.store.damaged("people", &of, &range).await?);
        for row in &damaged {
            tracing::error!(%row, "damaged: not handed over; restore the store from a backup");
        }
        Ok(damaged)
    }

    /// Takes in the verdicts released since the last time.
    pub(crate) async fn fetch_verdicts(&self) -> Result<u64, ScreeningError> {
        let mut total = 0;
        loop {
            let cursor = self.cursor().await?;
            let request = ListVerdictsRequest { cursor, limit: 0 };
            let response = self.police.clone().list_verdicts(request).await?.into_inner();
            if response.verdicts.is_empty() {
                return Ok(total);
            }
            let mut transaction = self.store.begin().await?;
            // Another reader was faster, or a batch wants verdicts read again: from there, then.
            let moved =
                sqlx::query("UPDATE cursors SET value = $1 WHERE name = 'verdicts' AND value = $2")
                    .bind(response.cursor as i64)
                    .bind(cursor as i64)
                    .execute(&mut *transaction)
                    .await?;
            if moved.rows_affected() == 0 {
                continue;
            }
            for state in [State::Pending, State::Cleared, State::Refused] {
                let subjects: Vec<&[u8]> = response
                    .verdicts
                    .iter()
                    .filter(|verdict| State::from_verdict(verdict.verdict()) == Some(state))
                    .map(|verdict| verdict.subject_id.as_slice())
                    .collect();
                total += subjects.len() as u64;
                for subjects in subjects.chunks(ROWS) {
                    let statement = format!(
                        "UPDATE people SET screening = $1 WHERE screening <> $2 AND subject_id IN {}",
                        placeholders(3, 1, subjects.len())
                    );
                    let query = sqlx::query(AssertSqlSafe(statement))
                        .bind(state.number())
                        .bind(State::New.number());
                    subjects
                        .iter()
                        .fold(query, |query, subject| query.bind(subject.to_vec()))
                        .execute(&mut *transaction)
                        .await?;
                }
            }
            transaction.commit().await?;
        }
    }

    /// Up to where verdicts have been read.
    async fn cursor(&self) -> Result<u64, ScreeningError> {
        if let Some(cursor) = cursors::read(&self.store, "verdicts").await? {
            return Ok(cursor);
        }
        let mut transaction = self.store.begin().await?;
        sqlx::query("INSERT INTO cursors (name, value) VALUES ('verdicts', 0) ON CONFLICT (name) DO NOTHING")
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(0)
    }

    /// Hands over and fetches every few seconds, so that reprints and late verdicts need no operator.
    pub(crate) async fn keep_up(self: Arc<Self>, shutdown: CancellationToken) {
        let mut complained = false;
        while !shutdown.is_cancelled() {
            let done = async {
                self.hand_over_prints().await?;
                self.fetch_verdicts().await
            };
            match done.await {
                Ok(_) => complained = false,
                Err(error) if !complained => {
                    tracing::warn!(%error, "screening waits for the police");
                    complained = true;
                }
                Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }
}

fn subject_key((pseudonym, kind): (&Pseudonym, &KeyKind)) -> SubjectKey {
    let kind = match kind {
        KeyKind::Document => wire::KeyKind::Document,
        KeyKind::NameBirthDate => wire::KeyKind::NameBirthDate,
        _ => wire::KeyKind::Variant,
    };
    let bytes: Zeroizing<[u8; Pseudonym::SIZE]> = pseudonym.to_bytes();
    SubjectKey { kind: kind.into(), pseudonym: bytes.to_vec() }
}
