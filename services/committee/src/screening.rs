//! Screening: pseudonyms out, verdicts in. Each page of people is submitted and marked before the next, so a run that was
//! interrupted goes on where it stopped.

use std::sync::Arc;
use std::time::Duration;

use lanyard_core::identity::{Facts, IdentityKey, KeyKind};
use lanyard_core::ids::EventId;
use lanyard_core::oprf::Pseudonym;
use lanyard_env::Env;
use lanyard_party::{SealedBlobError, StoreKey};
use lanyard_shareholder::{PseudonymError, Pseudonymiser, Purpose};
use lanyard_store::{Store, StoreError};
use lanyard_transport::status;
use lanyard_wire::committee::v1::ScreenResponse;
use lanyard_wire::screening::v1::screening_service_client::ScreeningServiceClient;
use lanyard_wire::screening::v1::{
    self as wire, ListVerdictsRequest, PrintSeeds, RegisterPrintsRequest, Subject, SubjectKey,
    SubmitSubjectsRequest,
};
use rand::Rng as _;
use sqlx::Row as _;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use zeroize::Zeroizing;

use crate::badges::{SEEDS, seeds_cell};
use crate::person::{Identity, StoredDocument};
use crate::states::{PrintState, Screening as State};

/// People whose pseudonyms are computed and submitted together.
const PAGE: i64 = 2_048;
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
    /// Submits all who need it and reports after each page.
    pub(crate) async fn run(
        &self,
        mut report: impl FnMut(ScreenResponse) + Send,
    ) -> Result<(), ScreeningError> {
        let _running = self.running.lock().await;
        let mut progress = self.totals().await?;
        progress.total = self.count(State::New).await?;
        let mut after = 0;
        loop {
            let (candidates, last) = self.page(after).await?;
            let Some(last) = last else { break };
            after = last;
            let (with_keys, without): (Vec<_>, Vec<_>) =
                candidates.into_iter().partition(|candidate| !candidate.keys.is_empty());
            progress.without_key += without.len() as u64;
            progress.pseudonymised += with_keys.len() as u64;
            progress.submitted += with_keys.len() as u64;
            self.submit(with_keys).await?;
            report(progress);
        }
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

    async fn page(&self, after: i64) -> Result<(Vec<Candidate>, Option<i64>), ScreeningError> {
        let rows = sqlx::query(
            "SELECT badge_number, subject_id, binding, full_name, latin_name, birth_date, documents, portrait_hash FROM people \
             WHERE screening = $1 AND badge_number > $2 ORDER BY badge_number LIMIT $3",
        )
        .bind(State::New.number())
        .bind(after)
        .bind(PAGE)
        .fetch_all(self.store.pool())
        .await?;
        let mut candidates = Vec::with_capacity(rows.len());
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
            candidates.push(Candidate {
                badge_number: row.try_get("badge_number")?,
                subject_id: row.try_get("subject_id")?,
                binding: row.try_get("binding")?,
                keys: identity.keys(&self.event),
            });
        }
        let last = candidates.last().map(|candidate| candidate.badge_number);
        Ok((candidates, last))
    }

    async fn submit(&self, mut candidates: Vec<Candidate>) -> Result<(), ScreeningError> {
        let mut lengths = Vec::with_capacity(candidates.len());
        let mut keys = Vec::new();
        for candidate in &mut candidates {
            lengths.push(candidate.keys.len());
            keys.append(&mut candidate.keys);
        }
        let pseudonyms = self.pseudonymiser.pseudonyms(Purpose::Enrolment, &keys).await?;
        let mut pseudonyms = pseudonyms.iter().zip(&keys);
        let subjects: Vec<Subject> = candidates
            .iter()
            .zip(lengths)
            .map(|(candidate, length)| Subject {
                subject_id: candidate.subject_id.clone(),
                binding: candidate.binding.clone(),
                keys: self
                    .pad(pseudonyms.by_ref().take(length).map(|(p, key)| subject_key(p, key))),
            })
            .collect();
        let messages: Vec<_> = subjects
            .chunks(MESSAGE)
            .map(|subjects| SubmitSubjectsRequest { subjects: subjects.to_vec() })
            .collect();
        self.police.clone().submit_subjects(tokio_stream::iter(messages)).await?;
        let mut transaction = self.store.begin().await?;
        for candidate in &candidates {
            // Who was imported anew in the meantime has another binding, and waits for the next run.
            sqlx::query(
                "UPDATE people SET screening = $1 WHERE badge_number = $2 AND binding = $3 AND screening = $4",
            )
            .bind(State::Pending.number())
            .bind(candidate.badge_number)
            .bind(&candidate.binding)
            .bind(State::New.number())
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Fills up with random pseudonyms, which nobody can tell from variants: neither their number nor their place says how
    /// many parts a name has.
    fn pad(&self, keys: impl Iterator<Item = SubjectKey>) -> Vec<SubjectKey> {
        let mut keys: Vec<SubjectKey> = keys.collect();
        while !keys.len().is_multiple_of(Facts::PERSON_KEYS) {
            let mut pseudonym = vec![0; Pseudonym::SIZE];
            self.env.rng().fill_bytes(&mut pseudonym);
            keys.push(SubjectKey { kind: wire::KeyKind::Variant.into(), pseudonym });
        }
        keys.sort_unstable_by(|one, two| one.pseudonym.cmp(&two.pseudonym));
        keys
    }

    /// Gives the police the seeds of prints that they do not have.
    pub(crate) async fn hand_over_prints(&self) -> Result<u64, ScreeningError> {
        let mut total = 0;
        loop {
            let rows = sqlx::query(
                "SELECT i.id, i.print_number, i.seeds, i.changed, p.subject_id FROM prints i \
                 JOIN people p ON p.badge_number = i.badge_number \
                 WHERE i.handed_over = 0 AND i.state = $1 AND p.screening <> $2 ORDER BY i.id LIMIT $3",
            )
            .bind(PrintState::Issued.number())
            .bind(State::New.number())
            .bind(PAGE)
            .fetch_all(self.store.pool())
            .await?;
            if rows.is_empty() {
                return Ok(total);
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

    /// Takes in the verdicts released since the last time.
    pub(crate) async fn fetch_verdicts(&self) -> Result<u64, ScreeningError> {
        let cursor: Option<(i64,)> =
            sqlx::query_as("SELECT value FROM cursors WHERE name = 'verdicts'")
                .fetch_optional(self.store.pool())
                .await?;
        let mut cursor = cursor.map_or(0, |(value,)| value as u64);
        let mut total = 0;
        loop {
            let request = ListVerdictsRequest { cursor, limit: 0 };
            let response = self.police.clone().list_verdicts(request).await?.into_inner();
            if response.verdicts.is_empty() {
                return Ok(total);
            }
            let mut transaction = self.store.begin().await?;
            for verdict in &response.verdicts {
                let Some(state) = State::from_verdict(verdict.verdict()) else { continue };
                sqlx::query(
                    "UPDATE people SET screening = $1 WHERE subject_id = $2 AND screening <> $3",
                )
                .bind(state.number())
                .bind(&verdict.subject_id)
                .bind(State::New.number())
                .execute(&mut *transaction)
                .await?;
                total += 1;
            }
            sqlx::query(
                "INSERT INTO cursors (name, value) VALUES ('verdicts', $1) \
                 ON CONFLICT (name) DO UPDATE SET value = $1",
            )
            .bind(response.cursor as i64)
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
            cursor = response.cursor;
        }
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

fn subject_key(pseudonym: &Pseudonym, key: &IdentityKey) -> SubjectKey {
    let kind = match key.kind() {
        KeyKind::Document => wire::KeyKind::Document,
        KeyKind::NameBirthDate => wire::KeyKind::NameBirthDate,
        _ => wire::KeyKind::Variant,
    };
    let bytes: Zeroizing<[u8; Pseudonym::SIZE]> = pseudonym.to_bytes();
    SubjectKey { kind: kind.into(), pseudonym: bytes.to_vec() }
}
