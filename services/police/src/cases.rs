//! Cases: subjects that an officer has to look at or has, where they stand, and what officers decide.

use lanyard_store::{AuditTrail, NewAuditEntry, SealValue, Store, StoreError, Transaction};
use lanyard_wire::police::v1 as wire;
use lanyard_wire::screening::v1::Verdict as WireVerdict;
use sqlx::{AnyConnection, Row as _};

use crate::act::Act;
use crate::ids::SubjectId;
use crate::lists::{Guard, Lists};
use crate::matching::{Ruling, Standing, decide};
use crate::rescreen::{all_matches, remember_seen};
use crate::states::{DecidedBy, Verdict, wire_kind};
use crate::{case, disclosures};

/// Of the subjects `s`, those that are cases.
const IS_CASE: &str = "s.withdrawn = 0 AND (s.verdict = $2 OR s.decided_by <> $3 OR s.mismatch = 1 \
    OR EXISTS (SELECT 1 FROM proposals p WHERE p.subject_id = s.subject_id) \
    OR EXISTS (SELECT 1 FROM disclosures d WHERE d.subject_id = s.subject_id AND d.sample = 0))";

/// And those of them that wait for somebody.
const IS_UNDECIDED: &str = "AND (s.verdict = $2 \
    OR EXISTS (SELECT 1 FROM proposals p WHERE p.subject_id = s.subject_id))";

/// Cases after `after` by subject id. One that is damaged is there, and nothing is said of it.
pub(crate) async fn list(
    store: &Store,
    lists: &Lists,
    after: &[u8],
    undecided_only: bool,
    limit: u32,
) -> Result<Vec<wire::Case>, StoreError> {
    let undecided = if undecided_only { IS_UNDECIDED } else { "" };
    let sql = format!(
        "SELECT s.subject_id FROM subjects s WHERE s.subject_id > $1 AND {IS_CASE} {undecided} \
         ORDER BY s.subject_id LIMIT $4"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(after)
        .bind(Verdict::Pending.number())
        .bind(DecidedBy::Rule.number())
        .bind(i64::from(limit))
        .fetch_all(store.pool())
        .await?;
    // An id that is none is that of a damaged row, which the registry closes.
    let ids = rows.iter().filter_map(|row| row.try_get::<Vec<u8>, _>(0).ok());
    let ids = ids.filter_map(|id| SubjectId::from_column("subjects", &id).ok());
    let ids: Vec<SubjectId> = ids.collect();
    let damaged = case::damaged(store, &ids).await?;
    let mut snapshot = store.snapshot().await?;
    let guard = lists.guard(&mut snapshot).await?;
    let mut cases = Vec::with_capacity(ids.len());
    for id in &ids {
        let case = match damaged.contains(id) {
            true => None,
            false => match load(&mut snapshot, &guard, id).await {
                Err(error) if error.is_damaged() => None,
                other => Some(other?),
            },
        };
        match case {
            Some(case) => cases.extend(case),
            None => cases.push(wire::Case {
                subject: Some(case::unsaid(id)),
                state: wire::CaseState::Open.into(),
                ..wire::Case::default()
            }),
        }
    }
    Ok(cases)
}

/// One case; any subject can be looked at as one.
pub(crate) async fn by_id(
    store: &Store,
    lists: &Lists,
    subject_id: &SubjectId,
) -> Result<Option<wire::Case>, StoreError> {
    case::refuse_damaged(store, subject_id).await?;
    let mut snapshot = store.snapshot().await?;
    let guard = lists.guard(&mut snapshot).await?;
    load(&mut snapshot, &guard, subject_id).await
}

/// One case whose rows are known to be sound.
async fn load(
    connection: &mut AnyConnection,
    guard: &Guard,
    subject_id: &SubjectId,
) -> Result<Option<wire::Case>, StoreError> {
    let id = subject_id.as_slice();
    let Some(subject) = case::load(connection, guard, subject_id).await? else { return Ok(None) };
    let (mismatch,): (i64,) = sqlx::query_as("SELECT mismatch FROM subjects WHERE subject_id = $1")
        .bind(id)
        .fetch_one(&mut *connection)
        .await?;
    let proposal: Option<(i64, String, String, i64)> = sqlx::query_as(
        "SELECT verdict, reason, proposed_by, proposed_millis FROM proposals WHERE subject_id = $1",
    )
    .bind(id)
    .fetch_optional(&mut *connection)
    .await?;
    let proposal = proposal
        .map(|(verdict, reason, proposed_by, proposed)| {
            let verdict = Verdict::from_number("verdict", verdict)?;
            let verdict = WireVerdict::from(verdict).into();
            let proposed_millis = proposed as u64;
            Ok::<_, StoreError>(wire::Proposal { verdict, reason, proposed_by, proposed_millis })
        })
        .transpose()?;
    let disclosure = disclosures::of_case(connection, id).await?;
    let state = match &disclosure {
        _ if proposal.is_some() => wire::CaseState::SecondOfficer,
        _ if subject.verdict() != WireVerdict::Pending => wire::CaseState::Decided,
        _ if mismatch != 0 => wire::CaseState::Mismatch,
        Some(disclosure) => match disclosure.state() {
            wire::DisclosureState::Asked => wire::CaseState::Asked,
            wire::DisclosureState::Refused => wire::CaseState::RefusedByCommittee,
            wire::DisclosureState::Holds if disclosure.identity_kept => wire::CaseState::Disclosed,
            _ => wire::CaseState::Open,
        },
        None => wire::CaseState::Open,
    };
    Ok(Some(wire::Case {
        subject: Some(subject),
        state: state.into(),
        seen: seen(connection, id).await?,
        disclosure,
        proposal,
        mismatch: mismatch != 0,
    }))
}

/// What officers saw when they decided last.
async fn seen(
    connection: &mut AnyConnection,
    subject_id: &[u8],
) -> Result<Vec<wire::Match>, StoreError> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT DISTINCT w.name, n.label, n.kind FROM seen_matches n JOIN watchlists w ON w.id = n.list_id \
         WHERE n.subject_id = $1 ORDER BY n.kind, w.name, n.label",
    )
    .bind(subject_id)
    .fetch_all(&mut *connection)
    .await?;
    rows.into_iter()
        .map(|(list, label, kind)| Ok(wire::Match { list, label, kind: wire_kind(kind)?.into() }))
        .collect()
}

/// Clears or refuses a subject, or leaves it pending. An earlier decision, a rule's too, gives way: people and lists err.
///
/// With `four_eyes`, the first officer's word is kept until another officer gives the same; leaving pending needs one. A
/// damaged word is none. Nothing is decided while a match may be hidden: a stop is possible all the same.
pub(crate) async fn decide_case(
    store: &Store,
    lists: &Lists,
    subject_id: &SubjectId,
    verdict: Verdict,
    reason: &str,
    four_eyes: bool,
    act: Act<'_>,
) -> Result<wire::Outcome, StoreError> {
    let id = subject_id.as_slice();
    let of_subject = [SealValue::Bytes(id)];
    store.refuse_damaged("subjects", "subject_id = $1", &of_subject).await?;
    let unheard = store.damaged("proposals", "subject_id = $1", &of_subject).await?;
    let mut transaction = store.begin().await?;
    let Some(standing) = Standing::load(&mut transaction, id).await? else {
        return Ok(wire::Outcome::NotFound);
    };
    let guard = lists.guard(&mut transaction).await?;
    let matches = all_matches(&mut transaction, &guard, subject_id).await?;
    if let Some(row) = unheard.first() {
        tracing::error!(%row, "damaged: a first officer's word is lost");
        forget_proposal(&mut transaction, id).await?;
    }
    if standing.withdrawn {
        return Ok(wire::Outcome::NotPossible);
    }
    if standing.mismatch && verdict == Verdict::Cleared {
        return Ok(wire::Outcome::Mismatch);
    }
    if (standing.verdict, standing.by) == (verdict, DecidedBy::Officer)
        && verdict != Verdict::Pending
    {
        return Ok(wire::Outcome::Unchanged);
    }
    let mut why = reason.to_owned();
    if four_eyes && verdict != Verdict::Pending {
        match first_officer(&mut transaction, id, verdict).await? {
            Some(first) if first != act.operator => why = format!("{reason} (first: {first})"),
            _ => {
                propose(&mut transaction, id, verdict, reason, act).await?;
                let action =
                    if verdict == Verdict::Cleared { "propose-clear" } else { "propose-refuse" };
                append(&mut transaction, action, subject_id, reason, act).await?;
                transaction.commit().await?;
                return Ok(wire::Outcome::SecondOfficer);
            }
        }
    }
    let ruling = Ruling { verdict, by: DecidedBy::Officer, reason };
    decide(&mut transaction, id, &standing, &ruling, act.now, act.delay_millis).await?;
    remember_seen(&mut transaction, subject_id, &matches).await?;
    let action = match verdict {
        Verdict::Cleared => "clear",
        Verdict::Refused => "refuse",
        Verdict::Pending => "leave-pending",
    };
    append(&mut transaction, action, subject_id, &why, act).await?;
    transaction.commit().await?;
    Ok(wire::Outcome::Done)
}

/// Who proposed this verdict.
async fn first_officer(
    transaction: &mut Transaction,
    subject_id: &[u8],
    verdict: Verdict,
) -> Result<Option<String>, StoreError> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT proposed_by FROM proposals WHERE subject_id = $1 AND verdict = $2")
            .bind(subject_id)
            .bind(verdict.number())
            .fetch_optional(&mut **transaction)
            .await?;
    Ok(row.map(|(officer,)| officer))
}

pub(crate) async fn forget_proposal(
    transaction: &mut Transaction,
    subject_id: &[u8],
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM proposals WHERE subject_id = $1")
        .bind(subject_id)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Keeps an officer's word; it takes the place of another one.
async fn propose(
    transaction: &mut Transaction,
    subject_id: &[u8],
    verdict: Verdict,
    reason: &str,
    act: Act<'_>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO proposals (subject_id, verdict, reason, proposed_by, proposed_millis) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (subject_id) DO UPDATE SET verdict = $2, reason = $3, proposed_by = $4, proposed_millis = $5",
    )
    .bind(subject_id)
    .bind(verdict.number())
    .bind(reason)
    .bind(act.operator)
    .bind(act.now.millis() as i64)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn append(
    transaction: &mut Transaction,
    action: &str,
    subject_id: &SubjectId,
    reason: &str,
    act: Act<'_>,
) -> Result<(), StoreError> {
    let subject = subject_id.to_string();
    let entry = NewAuditEntry { operator: act.operator, action, subject: &subject, reason };
    let change = AuditTrail::new_change(transaction).await?;
    AuditTrail::append(transaction, act.now, change, &[entry]).await
}
