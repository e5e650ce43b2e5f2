//! Disclosures: what the police ask is fetched, somebody of the committee decides, and the answer is taken to the police,
//! an identity sealed to their key of the manifest. The police never call the committee.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use lanyard_core::binding::BindingSalt;
use lanyard_core::disclosure::{DisclosedDocument, DisclosedIdentity, RECIPIENT};
use lanyard_core::hpke_box::{BoxError, HpkePublicKey};
use lanyard_core::ids::{BadgeNumber, EventId, Hash};
use lanyard_env::Env;
use lanyard_party::ManifestStore;
use lanyard_store::{
    AuditTrail, DamagedRow, NewAuditEntry, SealValue, Store, StoreError, Transaction, without,
};
use lanyard_transport::status;
use lanyard_wire::committee::v1 as committee;
use lanyard_wire::screening::v1 as wire;
use lanyard_wire::screening::v1::disclosure_answer::Decision;
use lanyard_wire::screening::v1::screening_service_client::ScreeningServiceClient;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};
use thiserror::Error;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use zeroize::Zeroizing;

use crate::badges::Deed;
use crate::person::StoredDocument;
use crate::states::{DisclosureState as State, Screening};

/// How often requests are fetched.
const INTERVAL: Duration = Duration::from_secs(2);
/// Answers in one message.
const MESSAGE: i64 = 64;
/// Requests that are taken in at once, at most a page more.
const MAX_REQUESTS: usize = 10_000;
/// Longest text of the police in characters.
const MAX_TEXT: usize = 500;

/// Why requests or answers wait.
#[derive(Debug, Error)]
pub(crate) enum DisclosureError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no key to seal to.
    #[error("manifest: no verifier {RECIPIENT}, so there is no key to seal identities to")]
    NoKey,
    /// The key cannot be used.
    #[error(transparent)]
    Box(#[from] BoxError),
    /// The police refuse or cannot be reached.
    #[error("police: {}", status::explain(.0))]
    Police(#[source] Box<tonic::Status>),
}

impl From<sqlx::Error> for DisclosureError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<tonic::Status> for DisclosureError {
    fn from(status: tonic::Status) -> Self {
        Self::Police(Box::new(status))
    }
}

/// The committee's side of disclosures.
pub(crate) struct Disclosures {
    pub(crate) store: Store,
    pub(crate) env: Env,
    pub(crate) manifests: Arc<ManifestStore>,
    pub(crate) police: ScreeningServiceClient<Channel>,
    /// Something was decided: it need not wait for the next round.
    pub(crate) decided: Notify,
}

impl Disclosures {
    /// Fetches and answers every few seconds until `shutdown`.
    pub(crate) async fn keep_up(self: Arc<Self>, shutdown: CancellationToken) {
        let mut complained = false;
        while !shutdown.is_cancelled() {
            let done = async {
                self.fetch().await?;
                self.answer().await
            };
            match done.await {
                Ok(()) => complained = false,
                Err(error) if !complained => {
                    tracing::warn!(%error, "disclosures wait");
                    complained = true;
                }
                Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = self.decided.notified() => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    async fn fetch(&self) -> Result<(), DisclosureError> {
        let mut requests: Vec<wire::DisclosureRequest> = Vec::new();
        loop {
            let after = requests.last().map_or(0, |last| last.request_id);
            let asked = wire::ListDisclosureRequestsRequest { after, limit: 0 };
            let page = self.police.clone().list_disclosure_requests(asked).await?.into_inner();
            // Oldest first, each once, and not without end, whatever the other side sends.
            let goes_on = page.requests.last().is_some_and(|last| last.request_id > after);
            if !goes_on || requests.len() >= MAX_REQUESTS {
                break;
            }
            requests.extend(page.requests);
        }
        Ok(take_in(&self.store, &self.env, &requests).await?)
    }

    /// Takes what was decided to the police. Whoever was changed and waits to be submitted anew is left out: the police
    /// give up on what they asked of the person of before. Nothing is disclosed from a damaged row.
    async fn answer(&self) -> Result<(), DisclosureError> {
        let damaged = damaged(&self.store, "delivered = 0").await?;
        let statement = format!(
            "SELECT d.request_id, d.state, d.decided_by, d.reason, p.badge_number, p.subject_id, p.salt, p.full_name, \
             p.latin_name, p.birth_date, p.documents, p.portrait_hash FROM disclosures d \
             JOIN people p ON p.badge_number = d.badge_number WHERE d.delivered = 0 AND d.request_id > $1{}{} \
             AND (d.state = $2 OR (d.state = $3 AND p.screening <> $4)) ORDER BY d.request_id LIMIT $5",
            without("d.request_id", "disclosures", &damaged),
            without("p.badge_number", "people", &damaged),
        );
        let mut after = 0;
        loop {
            let rows = sqlx::query(AssertSqlSafe(statement.as_str()))
                .bind(after)
                .bind(State::Refused.number())
                .bind(State::Approved.number())
                .bind(Screening::New.number())
                .bind(MESSAGE)
                .fetch_all(self.store.pool())
                .await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.try_get("request_id")?;
            let manifest = self.manifests.current();
            let key = &manifest.verifier(RECIPIENT).ok_or(DisclosureError::NoKey)?.key;
            let answers = rows.iter().map(|row| answer(row, &manifest.event, key, &self.env));
            let answers = answers.collect::<Result<Vec<_>, _>>()?;
            let request = wire::AnswerDisclosuresRequest { answers };
            let settled = self.police.clone().answer_disclosures(request).await?.into_inner();
            let mut transaction = self.store.begin().await?;
            for id in settled.settled_ids {
                sqlx::query("UPDATE disclosures SET delivered = 1 WHERE request_id = $1")
                    .bind(i64::try_from(id).unwrap_or(i64::MAX))
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await?;
        }
    }
}

/// Damaged rows of requests that `condition` chooses, and of the people whom they are about.
async fn damaged(store: &Store, condition: &str) -> Result<BTreeSet<DamagedRow>, StoreError> {
    let of = format!("badge_number IN (SELECT badge_number FROM disclosures WHERE {condition})");
    let mut damaged = BTreeSet::new();
    for (table, condition) in [("disclosures", condition), ("people", &of)] {
        damaged.extend(store.damaged(table, condition, &[]).await?);
    }
    for row in &damaged {
        tracing::error!(%row, "damaged: requests for disclosure wait; restore the store from a backup");
    }
    Ok(damaged)
}

fn answer(
    row: &AnyRow,
    event: &EventId,
    key: &HpkePublicKey,
    env: &Env,
) -> Result<wire::DisclosureAnswer, DisclosureError> {
    let request_id = row.try_get::<i64, _>("request_id")? as u64;
    let state = State::from_number(row.try_get("state")?)?;
    let decision = if state == State::Approved {
        let subject_id: Vec<u8> = row.try_get("subject_id")?;
        let identity = identity(row)?;
        let rng = &mut env.rng();
        Decision::SealedIdentity(identity.seal(event, request_id, &subject_id, key, rng)?)
    } else {
        Decision::Refusal(row.try_get("reason")?)
    };
    let decided_by = row.try_get("decided_by")?;
    Ok(wire::DisclosureAnswer { request_id, decided_by, decision: Some(decision) })
}

/// The preimage of the binding as the file has it.
pub(crate) fn identity(row: &AnyRow) -> Result<DisclosedIdentity, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: "people", column };
    let documents: Vec<StoredDocument> =
        serde_json::from_str(row.try_get("documents")?).map_err(|_| corrupt("documents"))?;
    let documents = documents.into_iter().map(|stored| DisclosedDocument {
        kind: stored.kind,
        issuer: stored.issuer,
        number: stored.number,
    });
    let salt: Zeroizing<Vec<u8>> = Zeroizing::new(row.try_get("salt")?);
    let salt = <[u8; BindingSalt::SIZE]>::try_from(salt.as_slice()).map_err(|_| corrupt("salt"))?;
    let portrait: Vec<u8> = row.try_get("portrait_hash")?;
    let number: i64 = row.try_get("badge_number")?;
    Ok(DisclosedIdentity {
        full_name: row.try_get::<String, _>("full_name")?.into(),
        latin_name: row.try_get::<String, _>("latin_name")?.into(),
        birth_date: row.try_get::<String, _>("birth_date")?.into(),
        documents: documents.collect(),
        portrait: <[u8; Hash::SIZE]>::try_from(portrait.as_slice()).ok().map(Hash::new),
        badge_number: BadgeNumber::new(u32::try_from(number).map_err(|_| corrupt("badge_number"))?),
        salt: BindingSalt::from_bytes(salt),
    })
}

/// Keeps new requests, for which the audit trail has an entry each; what the police ask no longer is over.
pub(crate) async fn take_in(
    store: &Store,
    env: &Env,
    requests: &[wire::DisclosureRequest],
) -> Result<(), StoreError> {
    let waiting: Vec<(i64,)> =
        sqlx::query_as("SELECT request_id FROM disclosures WHERE state = $1")
            .bind(State::Asked.number())
            .fetch_all(store.pool())
            .await?;
    let asked: HashSet<i64> = requests.iter().map(|request| request.request_id as i64).collect();
    let over: Vec<i64> =
        waiting.into_iter().map(|(id,)| id).filter(|id| !asked.contains(id)).collect();
    if requests.is_empty() && over.is_empty() {
        return Ok(());
    }
    let mut transaction = store.begin().await?;
    for id in over {
        sqlx::query("UPDATE disclosures SET state = $1 WHERE request_id = $2 AND state = $3")
            .bind(State::Over.number())
            .bind(id)
            .bind(State::Asked.number())
            .execute(&mut *transaction)
            .await?;
    }
    for request in requests {
        if let Some(reference) = insert(&mut transaction, request).await? {
            let entry = NewAuditEntry {
                operator: &text(&request.asked_by),
                action: "disclosure-asked",
                subject: &reference,
                reason: &text(&request.legal_basis),
            };
            let change = AuditTrail::new_change(&mut transaction).await?;
            AuditTrail::append(&mut transaction, env.now(), change, &[entry]).await?;
        }
    }
    transaction.commit().await
}

/// Keeps a request unless it is known; whom it is about, if it was new. A subject that nobody knows is passed over.
async fn insert(
    transaction: &mut Transaction,
    request: &wire::DisclosureRequest,
) -> Result<Option<String>, StoreError> {
    let person: Option<(i64, String)> =
        sqlx::query_as("SELECT badge_number, reference FROM people WHERE subject_id = $1")
            .bind(&request.subject_id)
            .fetch_optional(&mut **transaction)
            .await?;
    let Some((badge_number, reference)) = person else { return Ok(None) };
    let inserted = sqlx::query(
        "INSERT INTO disclosures (request_id, badge_number, legal_basis, asked_by, asked_millis, state, decided_by, \
         reason, decided_millis, delivered) VALUES ($1, $2, $3, $4, $5, $6, '', '', 0, 0) \
         ON CONFLICT (request_id) DO NOTHING",
    )
    .bind(request.request_id as i64)
    .bind(badge_number)
    .bind(text(&request.legal_basis))
    .bind(text(&request.asked_by))
    .bind(request.asked_millis as i64)
    .bind(State::Asked.number())
    .execute(&mut **transaction)
    .await?;
    Ok((inserted.rows_affected() > 0).then_some(reference))
}

/// Another party's words, no longer than they may be.
fn text(given: &str) -> String {
    given.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

/// Approves or refuses a request that waits.
pub(crate) async fn decide(
    store: &Store,
    env: &Env,
    request: i64,
    approve: bool,
    deed: &Deed<'_>,
) -> Result<committee::Outcome, StoreError> {
    let id = [SealValue::Number(request)];
    store.refuse_damaged("disclosures", "request_id = $1", &id).await?;
    let of_request = "badge_number IN (SELECT badge_number FROM disclosures WHERE request_id = $1)";
    store.refuse_damaged("people", of_request, &id).await?;
    let mut transaction = store.begin().await?;
    let row: Option<(i64, String, String, i64)> = sqlx::query_as(
        "SELECT d.state, d.legal_basis, p.reference, p.screening FROM disclosures d \
         JOIN people p ON p.badge_number = d.badge_number WHERE d.request_id = $1",
    )
    .bind(request)
    .fetch_optional(&mut *transaction)
    .await?;
    let Some((state, legal_basis, reference, screening)) = row else {
        return Ok(committee::Outcome::NotFound);
    };
    let decision = if approve { State::Approved } else { State::Refused };
    let state = State::from_number(state)?;
    if state == decision {
        return Ok(committee::Outcome::Unchanged);
    }
    // Changed since it was submitted: this is not the person that the police ask about.
    let changed = Screening::from_number(screening)? == Screening::New;
    if state != State::Asked || (approve && changed) {
        return Ok(committee::Outcome::NotPossible);
    }
    let now = env.now();
    sqlx::query(
        "UPDATE disclosures SET state = $1, decided_by = $2, reason = $3, decided_millis = $4 WHERE request_id = $5",
    )
    .bind(decision.number())
    .bind(deed.operator)
    .bind(deed.reason)
    .bind(now.millis() as i64)
    .bind(request)
    .execute(&mut *transaction)
    .await?;
    let action = if approve { "approve-disclosure" } else { "refuse-disclosure" };
    let reason = format!("{}; legal basis: {legal_basis}", deed.reason);
    let entry =
        NewAuditEntry { operator: deed.operator, action, subject: &reference, reason: &reason };
    let change = AuditTrail::new_change(&mut transaction).await?;
    AuditTrail::append(&mut transaction, now, change, &[entry]).await?;
    transaction.commit().await?;
    Ok(committee::Outcome::Done)
}

/// Requests after `after`, oldest first; only those that wait for somebody unless `all`. Damaged ones are left out.
pub(crate) async fn list(
    store: &Store,
    all: bool,
    after: u64,
    limit: u32,
) -> Result<Vec<committee::Disclosure>, StoreError> {
    let which = if all { State::Over } else { State::Asked };
    let damaged = damaged(store, "1 = 1").await?;
    let statement = format!(
        "SELECT d.request_id, d.legal_basis, d.asked_by, d.asked_millis, d.state, d.decided_by, d.reason, \
         d.decided_millis, d.delivered, p.reference, p.full_name FROM disclosures d \
         JOIN people p ON p.badge_number = d.badge_number \
         WHERE d.state <= $1 AND d.request_id > $2{}{} ORDER BY d.request_id LIMIT $3",
        without("d.request_id", "disclosures", &damaged),
        without("p.badge_number", "people", &damaged),
    );
    let rows = sqlx::query(AssertSqlSafe(statement))
        .bind(which.number())
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(store.pool())
        .await?;
    let number = |row: &AnyRow, column| row.try_get::<i64, _>(column);
    rows.iter()
        .map(|row| {
            let state = State::from_number(number(row, "state")?)?;
            Ok(committee::Disclosure {
                request_id: number(row, "request_id")? as u64,
                reference: row.try_get("reference")?,
                full_name: row.try_get("full_name")?,
                legal_basis: row.try_get("legal_basis")?,
                asked_by: row.try_get("asked_by")?,
                asked_millis: number(row, "asked_millis")? as u64,
                state: committee::DisclosureState::from(state).into(),
                decided_by: row.try_get("decided_by")?,
                reason: row.try_get("reason")?,
                decided_millis: number(row, "decided_millis")? as u64,
                delivered: number(row, "delivered")? != 0,
            })
        })
        .collect()
}
