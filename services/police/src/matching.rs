//! What matches, and what follows from it.
//!
//! The kind of a match is that of the list's key. The committee's word on a pseudonym cannot weaken a match: an equal
//! pseudonym is the same document, the same name and birth date, or alike enough to be looked at.
//!
//! Rules, and how they meet an officer's decision:
//! - a document matches (a strong key): refused; only a name (a medium or weak key): pending, for an officer; nothing: cleared; no key at
//!   all, so that nothing could match: pending.
//! - What a rule decided is decided anew whenever lists or keys change.
//! - What an officer decided stands, until more documents match than when it was decided. New keys are a new case.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use lanyard_core::identity::KeyKind;
use lanyard_core::ids::Timestamp;
use lanyard_store::StoreError;
use sqlx::{Any, Transaction};

use crate::states::{DecidedBy, Verdict, kind_number};

/// What stands on lists against one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Matches {
    /// Keys of list entries that match by a document.
    pub(crate) documents: i64,
    /// Keys of list entries that match by name, in full or as a variant.
    pub(crate) names: i64,
    /// Keys that could match.
    pub(crate) keys: i64,
}

/// A verdict, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ruling<'a> {
    pub(crate) verdict: Verdict,
    pub(crate) by: DecidedBy,
    pub(crate) reason: &'a str,
    /// Document matches at the time.
    pub(crate) documents: i64,
}

impl Matches {
    /// What the rules say.
    pub(crate) const fn ruling(self) -> Ruling<'static> {
        let (verdict, reason) = match self {
            Self { documents: 1.., .. } => (Verdict::Refused, "rule: document match"),
            Self { names: 1.., .. } => (Verdict::Pending, "rule: a name matches"),
            Self { keys: 1.., .. } => (Verdict::Cleared, "rule: no match"),
            _ => (Verdict::Pending, "rule: nothing to match"),
        };
        Ruling { verdict, by: DecidedBy::Rule, reason, documents: self.documents }
    }
}

/// A subject as decisions see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) verdict: Verdict,
    pub(crate) by: DecidedBy,
    /// Document matches when it was decided.
    pub(crate) documents: i64,
    pub(crate) released: Option<Verdict>,
    /// When the verdict is to be released; `None` if nothing waits.
    pub(crate) due: Option<Timestamp>,
    pub(crate) withdrawn: bool,
}

type StandingColumns = (i64, i64, i64, i64, i64, i64);

impl Standing {
    /// Reads a subject; `None` if it is not known.
    pub(crate) async fn load(
        transaction: &mut Transaction<'static, Any>,
        subject_id: &[u8],
    ) -> Result<Option<Self>, StoreError> {
        let row: Option<StandingColumns> = sqlx::query_as(
            "SELECT verdict, decided_by, document_matches, released, due_millis, withdrawn \
             FROM subjects WHERE subject_id = $1",
        )
        .bind(subject_id)
        .fetch_optional(&mut **transaction)
        .await?;
        row.map(|(verdict, by, documents, released, due, withdrawn)| {
            Ok(Self {
                verdict: Verdict::from_number("verdict", verdict)?,
                by: DecidedBy::from_number(by)?,
                documents,
                released: Verdict::from_released("released", released)?,
                due: (due > 0).then_some(Timestamp::from_millis(due as u64)),
                withdrawn: withdrawn != 0,
            })
        })
        .transpose()
    }

    /// What the rules change about it; `None` if it stays.
    fn reconsidered(&self, matches: Matches) -> Option<Ruling<'static>> {
        let ruling = matches.ruling();
        let stays = match self.by {
            _ if self.withdrawn => true,
            DecidedBy::Officer => {
                self.verdict == Verdict::Refused || matches.documents <= self.documents
            }
            DecidedBy::Rule => (ruling.verdict, ruling.documents) == (self.verdict, self.documents),
        };
        (!stays).then_some(ruling)
    }

    /// When a verdict decided now is to be released; `None` if the committee has it already.
    ///
    /// What waits keeps its time, so that a later decision does not show. Whoever was cleared and is no longer does not
    /// pass a gate until the delay is over: that is released at once.
    fn release_time(
        &self,
        verdict: Verdict,
        now: Timestamp,
        delay_millis: u64,
    ) -> Option<Timestamp> {
        if self.released == Some(verdict) {
            return None;
        }
        if self.released == Some(Verdict::Cleared) {
            return Some(now);
        }
        Some(self.due.unwrap_or(now.plus_millis(delay_millis)))
    }
}

/// Stores a ruling on a known subject. Prints change when it is released.
pub(crate) async fn decide(
    transaction: &mut Transaction<'static, Any>,
    subject_id: &[u8],
    standing: &Standing,
    ruling: &Ruling<'_>,
    now: Timestamp,
    delay_millis: u64,
) -> Result<(), StoreError> {
    let due = standing.release_time(ruling.verdict, now, delay_millis);
    sqlx::query(
        "UPDATE subjects SET verdict = $1, decided_by = $2, document_matches = $3, reason = $4, due_millis = $5 \
         WHERE subject_id = $6",
    )
    .bind(ruling.verdict.number())
    .bind(ruling.by.number())
    .bind(ruling.documents)
    .bind(ruling.reason)
    .bind(due_column(due))
    .bind(subject_id)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// A time in a column where 0 means that nothing waits.
pub(crate) fn due_column(due: Option<Timestamp>) -> i64 {
    due.map_or(0, |due| due.millis().max(1) as i64)
}

/// What matches one subject.
pub(crate) async fn of_subject(
    transaction: &mut Transaction<'static, Any>,
    subject_id: &[u8],
) -> Result<Matches, StoreError> {
    let (keys,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM subject_keys WHERE subject_id = $1")
        .bind(subject_id)
        .fetch_one(&mut **transaction)
        .await?;
    let (documents, names): (i64, i64) = sqlx::query_as(
        "SELECT COUNT(CASE WHEN l.kind = $1 THEN 1 END), COUNT(CASE WHEN l.kind <> $1 THEN 1 END) \
         FROM subject_keys k JOIN list_keys l ON l.hash = k.hash WHERE k.subject_id = $2",
    )
    .bind(kind_number(KeyKind::Document))
    .bind(subject_id)
    .fetch_one(&mut **transaction)
    .await?;
    Ok(Matches { documents, names, keys })
}

/// Decides anew what the lists have changed, and returns how many subjects match now.
pub(crate) async fn rematch(
    transaction: &mut Transaction<'static, Any>,
    now: Timestamp,
    delay_millis: u64,
) -> Result<u64, StoreError> {
    // Lists are shorter than the number of subjects' keys; SQLite takes the tables of a CROSS JOIN in this order.
    let rows: Vec<(Vec<u8>, i64, i64)> = sqlx::query_as(
        "SELECT k.subject_id, COUNT(CASE WHEN l.kind = $1 THEN 1 END), COUNT(CASE WHEN l.kind <> $1 THEN 1 END) \
         FROM list_keys l CROSS JOIN subject_keys k WHERE k.hash = l.hash GROUP BY k.subject_id",
    )
    .bind(kind_number(KeyKind::Document))
    .fetch_all(&mut **transaction)
    .await?;
    let matched = rows.len() as u64;
    let mut matches: HashMap<Vec<u8>, Matches> = rows
        .into_iter()
        .map(|(id, documents, names)| (id, Matches { documents, names, keys: documents + names }))
        .collect();
    // Those that matched before, and may match no longer.
    let before: Vec<(Vec<u8>,)> = sqlx::query_as(
        "SELECT subject_id FROM subjects WHERE decided_by = $1 AND (verdict <> $2 OR document_matches > 0)",
    )
    .bind(DecidedBy::Rule.number())
    .bind(Verdict::Cleared.number())
    .fetch_all(&mut **transaction)
    .await?;
    for (id,) in before {
        if let Entry::Vacant(place) = matches.entry(id) {
            let none = of_subject(transaction, place.key()).await?;
            place.insert(none);
        }
    }
    for (id, matches) in matches {
        let Some(standing) = Standing::load(transaction, &id).await? else { continue };
        if let Some(ruling) = standing.reconsidered(matches) {
            decide(transaction, &id, &standing, &ruling, now, delay_millis).await?;
        }
    }
    Ok(matched)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn matches(documents: i64, names: i64) -> Matches {
        Matches { documents, names, keys: 2 }
    }

    fn standing(verdict: Verdict, by: DecidedBy, documents: i64) -> Standing {
        Standing { verdict, by, documents, released: None, due: None, withdrawn: false }
    }

    #[test]
    fn rules_take_the_strongest_match() {
        assert_eq!(matches(1, 1).ruling().verdict, Verdict::Refused);
        assert_eq!(matches(0, 2).ruling().verdict, Verdict::Pending);
        assert_eq!(matches(0, 0).ruling().verdict, Verdict::Cleared);
    }

    #[test]
    fn whoever_has_no_key_is_not_cleared_by_it() {
        assert_eq!(Matches::default().ruling().verdict, Verdict::Pending);
    }

    #[test]
    fn an_officers_decision_stands_until_more_documents_match() {
        let cleared = standing(Verdict::Cleared, DecidedBy::Officer, 1);
        assert_eq!(cleared.reconsidered(matches(1, 3)), None);
        assert_eq!(cleared.reconsidered(matches(0, 0)), None);
        assert!(cleared.reconsidered(matches(2, 0)).is_some_and(|r| r.verdict == Verdict::Refused));
        let refused = standing(Verdict::Refused, DecidedBy::Officer, 0);
        assert_eq!(refused.reconsidered(matches(1, 0)), None);
        assert_eq!(refused.reconsidered(matches(0, 0)), None);
    }

    #[test]
    fn what_a_rule_decided_follows_the_lists() {
        let pending = standing(Verdict::Pending, DecidedBy::Rule, 0);
        assert!(pending.reconsidered(matches(0, 0)).is_some_and(|r| r.verdict == Verdict::Cleared));
        assert!(pending.reconsidered(matches(1, 1)).is_some_and(|r| r.verdict == Verdict::Refused));
        assert_eq!(pending.reconsidered(matches(0, 5)), None);
        let withdrawn = Standing { withdrawn: true, ..pending };
        assert_eq!(withdrawn.reconsidered(matches(1, 0)), None);
    }

    #[test]
    fn a_release_waits_unless_it_stops_somebody() {
        let new = standing(Verdict::Pending, DecidedBy::Rule, 0);
        let due = |standing: &Standing, verdict| standing.release_time(verdict, NOW, 5_000);
        assert_eq!(due(&new, Verdict::Cleared), Some(NOW.plus_millis(5_000)));
        let waiting = Standing { due: Some(NOW.plus_millis(7)), ..new };
        assert_eq!(due(&waiting, Verdict::Refused), Some(NOW.plus_millis(7)));
        let cleared = Standing { released: Some(Verdict::Cleared), ..new };
        assert_eq!(due(&cleared, Verdict::Refused), Some(NOW));
        assert_eq!(due(&cleared, Verdict::Cleared), None);
    }
}
