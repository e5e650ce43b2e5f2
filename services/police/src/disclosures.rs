//! Disclosures: asked of the committee with a legal basis, answered with the preimage of a binding, checked, and kept sealed
//! no longer than the case needs it.
//!
//! The preimage is checked twice: it must give the binding that was submitted, and its identity keys must be those whose
//! pseudonyms were submitted. The first alone would let one person's pseudonyms clear another person's binding.

use lanyard_core::binding::Binding;
use lanyard_core::disclosure::DisclosedIdentity;
use lanyard_core::ids::EventId;
use lanyard_env::Env;
use lanyard_party::{Cell, SealedBlobError, StoreKey};
use lanyard_store::{
    AuditTrail, NewAuditEntry, SealValue, Store, StoreError, Transaction, next_number, without,
};
use lanyard_wire::police::v1 as wire;
use lanyard_wire::screening::v1 as screening;
use rand::seq::index::sample;
use sqlx::AnyConnection;
use thiserror::Error;

use crate::act::Act;
use crate::cases;
use crate::ids::{LocalHash, SubjectId};
use crate::matching::{MISMATCH, Ruling, Standing, decide};
use crate::states::{DecidedBy, DisclosureState as State, Verdict};
use crate::subjects::keys;

/// Why a kept identity is not shown.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It does not open.
    #[error(transparent)]
    Sealed(#[from] SealedBlobError),
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

fn cell(request: i64) -> Cell<'static> {
    Cell { table: "disclosures", column: "identity", row: request as u64 }
}

/// Asks who a subject is. Whoever is cleared is asked about in samples only.
pub(crate) async fn ask(
    store: &Store,
    subject_id: &SubjectId,
    legal_basis: &str,
    act: Act<'_>,
) -> Result<(wire::Outcome, i64), StoreError> {
    for table in ["subjects", "disclosures"] {
        let id = [SealValue::Bytes(subject_id.as_slice())];
        store.refuse_damaged(table, "subject_id = $1", &id).await?;
    }
    let mut transaction = store.begin().await?;
    let Some(standing) = Standing::load(&mut transaction, subject_id.as_slice()).await? else {
        return Ok((wire::Outcome::NotFound, 0));
    };
    if standing.withdrawn || standing.verdict == Verdict::Cleared {
        return Ok((wire::Outcome::NotPossible, 0));
    }
    let waiting: Option<(i64,)> = sqlx::query_as(
        "SELECT id FROM disclosures WHERE subject_id = $1 AND sample = 0 \
         AND (state = $2 OR (state = $3 AND identity <> $4))",
    )
    .bind(subject_id.as_slice())
    .bind(State::Asked.number())
    .bind(State::Holds.number())
    .bind(Vec::new())
    .fetch_optional(&mut *transaction)
    .await?;
    if let Some((id,)) = waiting {
        return Ok((wire::Outcome::Unchanged, id));
    }
    let id = put(&mut transaction, subject_id, false, legal_basis, act).await?;
    audit(&mut transaction, "ask-disclosure", &[(subject_id.to_string(), legal_basis)], act)
        .await?;
    transaction.commit().await?;
    Ok((wire::Outcome::Done, id))
}

/// Asks about cleared subjects drawn at random, and returns the requests. Only those whose verdict the committee has: being
/// drawn tells that somebody is cleared.
pub(crate) async fn draw(
    store: &Store,
    env: &Env,
    count: usize,
    legal_basis: &str,
    act: Act<'_>,
) -> Result<Vec<i64>, StoreError> {
    let mut transaction = store.begin().await?;
    let cleared: Vec<(Vec<u8>,)> = sqlx::query_as(
        "SELECT s.subject_id FROM subjects s WHERE s.verdict = $1 AND s.released = $1 AND s.withdrawn = 0 AND NOT EXISTS \
         (SELECT 1 FROM disclosures d WHERE d.subject_id = s.subject_id AND d.state = $2) ORDER BY s.subject_id",
    )
    .bind(Verdict::Cleared.number())
    .bind(State::Asked.number())
    .fetch_all(&mut *transaction)
    .await?;
    let drawn = sample(&mut env.rng(), cleared.len(), count.min(cleared.len()));
    let (mut requests, mut entries) = (Vec::new(), Vec::new());
    for place in drawn {
        let subject_id = SubjectId::from_column("subjects", &cleared[place].0)?;
        requests.push(put(&mut transaction, &subject_id, true, legal_basis, act).await?);
        entries.push((subject_id.to_string(), legal_basis));
    }
    audit(&mut transaction, "draw-sample", &entries, act).await?;
    transaction.commit().await?;
    Ok(requests)
}

async fn put(
    transaction: &mut Transaction,
    subject_id: &SubjectId,
    sample: bool,
    legal_basis: &str,
    act: Act<'_>,
) -> Result<i64, StoreError> {
    let id = next_number(transaction, "disclosure").await?;
    sqlx::query(
        "INSERT INTO disclosures (id, subject_id, sample, state, legal_basis, asked_by, asked_millis, answered_by, \
         answered_millis, refusal, identity) VALUES ($1, $2, $3, $4, $5, $6, $7, '', 0, '', $8)",
    )
    .bind(id)
    .bind(subject_id.as_slice())
    .bind(i64::from(sample))
    .bind(State::Asked.number())
    .bind(legal_basis)
    .bind(act.operator)
    .bind(act.now.millis() as i64)
    .bind(Vec::new())
    .execute(&mut **transaction)
    .await?;
    Ok(id)
}

async fn audit(
    transaction: &mut Transaction,
    action: &str,
    subjects: &[(String, &str)],
    act: Act<'_>,
) -> Result<(), StoreError> {
    let entries: Vec<_> = subjects
        .iter()
        .map(|(subject, reason)| NewAuditEntry { operator: act.operator, action, subject, reason })
        .collect();
    let change = AuditTrail::new_change(transaction).await?;
    AuditTrail::append(transaction, act.now, change, &entries).await
}

/// Leaves damaged requests after `after` out of a statement; they are named in the log.
async fn without_damaged(store: &Store, column: &str, after: i64) -> Result<String, StoreError> {
    let damaged = store.damaged("disclosures", "id > $1", &[SealValue::Number(after)]).await?;
    for row in &damaged {
        tracing::error!(%row, "damaged: it is left out; restore the store from a backup");
    }
    Ok(without(column, "disclosures", &damaged.into_iter().collect()))
}

/// Requests without an answer after `after`, oldest first, as the committee reads them. Before the first verdict of a subject is
/// released, being asked about would tell it. A damaged one waits.
pub(crate) async fn asked_after(
    store: &Store,
    after: u64,
    limit: u32,
) -> Result<Vec<screening::DisclosureRequest>, StoreError> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let statement = format!(
        "SELECT d.id, d.subject_id, d.legal_basis, d.asked_by, d.asked_millis FROM disclosures d \
         JOIN subjects s ON s.subject_id = d.subject_id \
         WHERE d.state = $1 AND d.id > $2{} AND s.released <> 0 ORDER BY d.id LIMIT $3",
        without_damaged(store, "d.id", after).await?,
    );
    let rows: Vec<(i64, Vec<u8>, String, String, i64)> =
        sqlx::query_as(sqlx::AssertSqlSafe(statement))
            .bind(State::Asked.number())
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(store.pool())
            .await?;
    let request = |(id, subject_id, legal_basis, asked_by, asked)| screening::DisclosureRequest {
        request_id: id as u64,
        subject_id,
        legal_basis,
        asked_by,
        asked_millis: asked as u64,
    };
    Ok(rows.into_iter().map(request).collect())
}

/// The subject of a request that has no answer yet.
pub(crate) async fn waiting(store: &Store, request: i64) -> Result<Option<SubjectId>, StoreError> {
    refuse_damaged(store, request).await?;
    let row: Option<(Vec<u8>,)> =
        sqlx::query_as("SELECT subject_id FROM disclosures WHERE id = $1 AND state = $2")
            .bind(request)
            .bind(State::Asked.number())
            .fetch_optional(store.pool())
            .await?;
    row.map(|(id,)| SubjectId::from_column("disclosures", &id)).transpose()
}

/// Nothing is settled on a damaged row.
async fn refuse_damaged(store: &Store, request: i64) -> Result<(), StoreError> {
    let id = [SealValue::Number(request)];
    store.refuse_damaged("disclosures", "id = $1", &id).await?;
    let of_request = "subject_id IN (SELECT subject_id FROM disclosures WHERE id = $1)";
    store.refuse_damaged("subjects", of_request, &id).await
}

/// What the committee answered.
pub(crate) enum Answer {
    /// It refused, and why.
    Refused(String),
    /// It disclosed this; with the local hashes of its identity keys' pseudonyms, sorted and each once.
    Disclosed(DisclosedIdentity, Vec<LocalHash>),
}

/// Takes an answer, checks it, and returns where the request stands; `None` if it needed no answer any more. Of a sample
/// that holds nothing is kept; what does not hold is evidence, and keeps its subject from being cleared.
pub(crate) async fn settle(
    store: &Store,
    (store_key, event, env): (&StoreKey, &EventId, &Env),
    request: i64,
    answered_by: &str,
    answer: &Answer,
    act: Act<'_>,
) -> Result<Option<State>, StoreError> {
    refuse_damaged(store, request).await?;
    let mut transaction = store.begin().await?;
    let row: Option<(Vec<u8>, i64, i64)> =
        sqlx::query_as("SELECT subject_id, sample, state FROM disclosures WHERE id = $1")
            .bind(request)
            .fetch_optional(&mut *transaction)
            .await?;
    let Some((subject, sample, state)) = row else { return Ok(None) };
    if State::from_number(state)? != State::Asked {
        return Ok(None);
    }
    let subject_id = SubjectId::from_column("disclosures", &subject)?;
    let seal = |identity: &DisclosedIdentity| {
        store_key.seal(cell(request), &identity.to_bytes(), &mut env.rng())
    };
    let (state, action, refusal, kept) = match answer {
        Answer::Refused(why) => (State::Refused, "disclosure-refused", why.as_str(), Vec::new()),
        Answer::Disclosed(identity, hashes) => {
            if holds(&mut transaction, store_key, &subject_id, identity, hashes, event).await? {
                let kept = if sample == 0 { seal(identity) } else { Vec::new() };
                (State::Holds, "disclosed", "", kept)
            } else {
                (State::Mismatch, "disclosure-mismatch", "", seal(identity))
            }
        }
    };
    sqlx::query(
        "UPDATE disclosures SET state = $1, answered_by = $2, answered_millis = $3, refusal = $4, identity = $5 \
         WHERE id = $6",
    )
    .bind(state.number())
    .bind(answered_by)
    .bind(act.now.millis() as i64)
    .bind(refusal)
    .bind(kept)
    .bind(request)
    .execute(&mut *transaction)
    .await?;
    if state == State::Mismatch {
        distrust(&mut transaction, &subject_id, act).await?;
    }
    let reason = format!("request {request}, decided by {answered_by}");
    audit(&mut transaction, action, &[(subject_id.to_string(), &*reason)], act).await?;
    transaction.commit().await?;
    Ok(Some(state))
}

/// Whether this is who was submitted: the binding, and that all keys were compared with the lists, beside others that may
/// be padding.
async fn holds(
    transaction: &mut Transaction,
    store_key: &StoreKey,
    subject_id: &SubjectId,
    identity: &DisclosedIdentity,
    hashes: &[LocalHash],
    event: &EventId,
) -> Result<bool, StoreError> {
    let (binding,): (Vec<u8>,) =
        sqlx::query_as("SELECT binding FROM subjects WHERE subject_id = $1")
            .bind(subject_id.as_slice())
            .fetch_one(&mut **transaction)
            .await?;
    let binding = <[u8; Binding::SIZE]>::try_from(binding.as_slice())
        .map_err(|_| StoreError::Corrupt { table: "subjects", column: "binding" })?;
    let held = keys::of_subject(transaction, store_key, subject_id).await?;
    held.refuse_damaged(subject_id)?;
    let compared = |hash: &LocalHash| held.hashes.binary_search(hash).is_ok();
    let holds = identity.binding(event).agrees_with(&Binding::new(binding));
    Ok(holds && !hashes.is_empty() && hashes.iter().all(compared))
}

/// A subject whose preimage is another person's cannot stay cleared.
async fn distrust(
    transaction: &mut Transaction,
    subject_id: &SubjectId,
    act: Act<'_>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE subjects SET mismatch = 1 WHERE subject_id = $1")
        .bind(subject_id.as_slice())
        .execute(&mut **transaction)
        .await?;
    let standing = Standing::load(transaction, subject_id.as_slice()).await?;
    if let Some(standing) = standing.filter(|one| one.verdict == Verdict::Cleared) {
        let (verdict, by) = (Verdict::Pending, DecidedBy::Review);
        let ruling = Ruling { verdict, by, reason: MISMATCH };
        let id = subject_id.as_slice();
        decide(transaction, id, &standing, &ruling, act.now, act.delay_millis).await?;
    }
    Ok(())
}

/// The case has its verdict: what is asked is asked no longer, and the identity goes. Evidence of a mismatch stays.
pub(crate) async fn end_case(
    transaction: &mut Transaction,
    subject_id: &[u8],
) -> Result<(), StoreError> {
    end(transaction, subject_id, "AND sample = 0").await
}

/// As [`end_case`] for a subject that is withdrawn or submitted anew, samples included.
pub(crate) async fn end_subject(
    transaction: &mut Transaction,
    subject_id: &[u8],
) -> Result<(), StoreError> {
    cases::forget_proposal(transaction, subject_id).await?;
    end(transaction, subject_id, "").await
}

async fn end(
    transaction: &mut Transaction,
    subject_id: &[u8],
    which: &str,
) -> Result<(), StoreError> {
    let over =
        format!("UPDATE disclosures SET state = $1 WHERE subject_id = $2 AND state = $3 {which}");
    sqlx::query(sqlx::AssertSqlSafe(over))
        .bind(State::Over.number())
        .bind(subject_id)
        .bind(State::Asked.number())
        .execute(&mut **transaction)
        .await?;
    sqlx::query("UPDATE disclosures SET identity = $1 WHERE subject_id = $2 AND state = $3")
        .bind(Vec::new())
        .bind(subject_id)
        .bind(State::Holds.number())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// The identity that is kept of a subject, and whether it holds. Whoever looks stands in the audit trail before they see it.
pub(crate) async fn open(
    store: &Store,
    store_key: &StoreKey,
    subject_id: &SubjectId,
    act: Act<'_>,
) -> Result<Option<(DisclosedIdentity, bool)>, OpenError> {
    let of_subject = [SealValue::Bytes(subject_id.as_slice())];
    store.refuse_damaged("disclosures", "subject_id = $1", &of_subject).await?;
    let mut transaction = store.begin().await?;
    let row: Option<(i64, i64, Vec<u8>)> = sqlx::query_as(
        "SELECT id, state, identity FROM disclosures WHERE subject_id = $1 AND identity <> $2 ORDER BY id DESC",
    )
    .bind(subject_id.as_slice())
    .bind(Vec::new())
    .fetch_optional(&mut *transaction)
    .await?;
    let Some((id, state, sealed)) = row else { return Ok(None) };
    let opened = store_key.open(cell(id), &sealed)?;
    let corrupt = StoreError::Corrupt { table: "disclosures", column: "identity" };
    let identity = DisclosedIdentity::from_bytes(&opened).map_err(|_| corrupt)?;
    let reason = format!("request {id}");
    audit(&mut transaction, "open-identity", &[(subject_id.to_string(), &*reason)], act).await?;
    transaction.commit().await?;
    Ok(Some((identity, State::from_number(state)? == State::Holds)))
}

const COLUMNS: &str = "SELECT id, subject_id, legal_basis, asked_by, asked_millis, state, answered_by, \
    answered_millis, refusal, CASE WHEN identity <> $1 THEN 1 ELSE 0 END FROM disclosures";

type Columns = (i64, Vec<u8>, String, String, i64, i64, String, i64, String, i64);

fn read(row: Columns) -> Result<wire::Disclosure, StoreError> {
    let (id, subject_id, legal_basis, asked_by, asked, state, answered_by, answered, refusal, kept) =
        row;
    Ok(wire::Disclosure {
        request_id: id as u64,
        subject_id,
        legal_basis,
        asked_by,
        asked_millis: asked as u64,
        state: wire::DisclosureState::from(State::from_number(state)?).into(),
        answered_by,
        answered_millis: answered as u64,
        refusal,
        identity_kept: kept != 0,
    })
}

/// The newest request about a subject that belongs to its case: samples do when they did not hold.
pub(crate) async fn of_case(
    connection: &mut AnyConnection,
    subject_id: &[u8],
) -> Result<Option<wire::Disclosure>, StoreError> {
    let sql = format!(
        "{COLUMNS} WHERE subject_id = $2 AND (sample = 0 OR state = $3) ORDER BY id DESC LIMIT 1"
    );
    let row: Option<Columns> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(Vec::new())
        .bind(subject_id)
        .bind(State::Mismatch.number())
        .fetch_optional(&mut *connection)
        .await?;
    row.map(read).transpose()
}

/// Samples after `after`, oldest first, but for damaged ones.
pub(crate) async fn samples_after(
    store: &Store,
    after: u64,
    limit: u32,
) -> Result<Vec<wire::Disclosure>, StoreError> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let left_out = without_damaged(store, "id", after).await?;
    let sql = format!("{COLUMNS} WHERE sample = 1 AND id > $2{left_out} ORDER BY id LIMIT $3");
    let rows: Vec<Columns> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(Vec::new())
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(store.pool())
        .await?;
    rows.into_iter().map(read).collect()
}
