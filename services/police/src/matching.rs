//! What follows from matches.
//!
//! The kind of a match is that of the list's key. The committee's word on a pseudonym cannot weaken a match: an equal
//! pseudonym is the same document, the same name and birth date, or alike enough to be looked at.
//!
//! Rules, and how they meet an officer's decision:
//! - a strong match: refused; any other: pending, a case for an officer; nothing: cleared; no key at all, so that nothing
//!   could match: pending.
//! - What a rule decided is decided anew whenever lists or keys change.
//! - What an officer cleared stands until an entry matches that the officer did not see: a strong match refuses, any other
//!   opens the case again.
//! - What an officer refused stands until an entry that the officer saw is gone from the lists, which opens the case again.
//! - While keys of a subject or of a list are damaged, a match may be hidden: nobody is cleared, and who was is not.
//! - A case that was opened again is never cleared by a rule, nor is a subject whose disclosed identity is not the one that
//!   was submitted. New keys are a new case.

use lanyard_core::ids::Timestamp;
use lanyard_store::{StoreError, Transaction};
use sqlx::{AnyConnection, Row as _};

use crate::states::{DecidedBy, Verdict};
use crate::{cases, disclosures};

/// What stands on lists against one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Found {
    /// Strong matches with list entries.
    pub(crate) strong: i64,
    /// All other matches.
    pub(crate) weak: i64,
    /// Strong matches that the officer who decided last did not see.
    pub(crate) new_strong: i64,
    /// Other matches that the officer who decided last did not see.
    pub(crate) new_weak: i64,
    /// Whether an entry that the officer saw matches no longer.
    pub(crate) gone: bool,
    /// Keys that could match.
    pub(crate) keys: i64,
    /// Whether its keys or those of a list are damaged, so that a match may be hidden.
    pub(crate) damaged: bool,
}

/// A verdict, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ruling<'a> {
    pub(crate) verdict: Verdict,
    pub(crate) by: DecidedBy,
    pub(crate) reason: &'a str,
}

/// Why somebody whose disclosed identity is another is not cleared.
pub(crate) const MISMATCH: &str = "rule: the disclosed identity is not the one that was submitted";

/// Why somebody whose match may be hidden is not cleared.
pub(crate) const DAMAGED: &str = "rule: its keys, or those of a list, are damaged in the store";

impl Found {
    /// What the rules say.
    pub(crate) const fn ruling(self) -> Ruling<'static> {
        let (verdict, reason) = match self {
            Self { strong: 1.., .. } => (Verdict::Refused, "rule: document match"),
            Self { weak: 1.., .. } => (Verdict::Pending, "rule: a name matches"),
            Self { damaged: true, .. } => (Verdict::Pending, DAMAGED),
            Self { keys: 1.., .. } => (Verdict::Cleared, "rule: no match"),
            _ => (Verdict::Pending, "rule: nothing to match"),
        };
        Ruling { verdict, by: DecidedBy::Rule, reason }
    }
}

/// A subject as decisions see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) verdict: Verdict,
    pub(crate) by: DecidedBy,
    pub(crate) released: Option<Verdict>,
    /// When the verdict is to be released; `None` if nothing waits.
    pub(crate) due: Option<Timestamp>,
    pub(crate) withdrawn: bool,
    /// Whether the committee disclosed another identity than it submitted.
    pub(crate) mismatch: bool,
}

impl Standing {
    /// Reads a subject; `None` if it is not known.
    pub(crate) async fn load(
        connection: &mut AnyConnection,
        subject_id: &[u8],
    ) -> Result<Option<Self>, StoreError> {
        let row = sqlx::query(
            "SELECT verdict, decided_by, released, due_millis, withdrawn, mismatch FROM subjects WHERE subject_id = $1",
        )
        .bind(subject_id)
        .fetch_optional(&mut *connection)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let number = |column| {
            let corrupt = |_| StoreError::Corrupt { table: "subjects", column };
            row.try_get::<i64, _>(column).map_err(corrupt)
        };
        let due = number("due_millis")?;
        Ok(Some(Self {
            verdict: Verdict::from_number("verdict", number("verdict")?)?,
            by: DecidedBy::from_number(number("decided_by")?)?,
            released: Verdict::from_released("released", number("released")?)?,
            due: (due > 0).then_some(Timestamp::from_millis(due as u64)),
            withdrawn: number("withdrawn")? != 0,
            mismatch: number("mismatch")? != 0,
        }))
    }

    /// What the rules change about it now that `found` is on lists; `None` if it stays.
    pub(crate) fn reconsidered(&self, found: Found) -> Option<Ruling<'static>> {
        if self.withdrawn {
            return None;
        }
        let rule = found.ruling();
        let again = |reason| Ruling { verdict: Verdict::Pending, by: DecidedBy::Review, reason };
        let ruling = match (self.by, self.verdict) {
            // Whoever is not cleared can wait until it is known what matches.
            (_, Verdict::Refused) if found.damaged => return None,
            (DecidedBy::Rule, _) if self.mismatch && rule.verdict == Verdict::Cleared => {
                Ruling { verdict: Verdict::Pending, reason: MISMATCH, ..rule }
            }
            (DecidedBy::Rule, _) => rule,
            (DecidedBy::Officer, Verdict::Cleared) if found.new_strong > 0 => rule,
            (DecidedBy::Officer, Verdict::Cleared) if found.new_weak > 0 => {
                again("rule: an entry matches that the officer who cleared did not see")
            }
            (DecidedBy::Officer, Verdict::Cleared) if found.damaged => again(DAMAGED),
            (DecidedBy::Officer, Verdict::Pending) if found.new_strong > 0 => {
                Ruling { by: DecidedBy::Review, ..rule }
            }
            (DecidedBy::Officer, Verdict::Refused)
                if found.gone && rule.verdict != Verdict::Refused =>
            {
                again("rule: an entry that an officer refused on is on the list no longer")
            }
            (DecidedBy::Officer, _) => return None,
            (DecidedBy::Review, _) if rule.verdict == Verdict::Cleared => {
                again("rule: nothing matches any longer; an officer must see it")
            }
            (DecidedBy::Review, _) => Ruling { by: DecidedBy::Review, ..rule },
        };
        (ruling.verdict != self.verdict).then_some(ruling)
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
        Some(self.due.unwrap_or_else(|| next_batch(now, delay_millis)))
    }
}

/// When the batch leaves that takes what is decided now: the first multiple of the delay that is a whole delay away. All
/// that was decided since the batch before leaves together, whenever in between that was.
pub(crate) fn next_batch(now: Timestamp, delay_millis: u64) -> Timestamp {
    match delay_millis {
        0 => now,
        delay => Timestamp::from_millis((now.millis() + delay).next_multiple_of(delay)),
    }
}

/// Stores a ruling on a known subject. Prints change when it is released. What another officer proposed before is void, and
/// a case that has its verdict needs no identity any more.
pub(crate) async fn decide(
    transaction: &mut Transaction,
    subject_id: &[u8],
    standing: &Standing,
    ruling: &Ruling<'_>,
    now: Timestamp,
    delay_millis: u64,
) -> Result<(), StoreError> {
    let due = standing.release_time(ruling.verdict, now, delay_millis);
    sqlx::query(
        "UPDATE subjects SET verdict = $1, decided_by = $2, reason = $3, due_millis = $4 WHERE subject_id = $5",
    )
    .bind(ruling.verdict.number())
    .bind(ruling.by.number())
    .bind(ruling.reason)
    .bind(due_column(due))
    .bind(subject_id)
    .execute(&mut **transaction)
    .await?;
    cases::forget_proposal(transaction, subject_id).await?;
    if ruling.verdict != Verdict::Pending {
        disclosures::end_case(transaction, subject_id).await?;
    }
    Ok(())
}

/// A time in a column where 0 means that nothing waits.
pub(crate) fn due_column(due: Option<Timestamp>) -> i64 {
    due.map_or(0, |due| due.millis().max(1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    /// Strong and other matches, none of which an officer has seen.
    fn found(strong: i64, weak: i64) -> Found {
        Found {
            strong,
            weak,
            new_strong: strong,
            new_weak: weak,
            gone: false,
            keys: 2,
            damaged: false,
        }
    }

    /// As [`found`], all of it seen.
    fn seen(strong: i64, weak: i64) -> Found {
        Found { new_strong: 0, new_weak: 0, ..found(strong, weak) }
    }

    fn standing(verdict: Verdict, by: DecidedBy) -> Standing {
        let (released, due) = (None, None);
        Standing { verdict, by, released, due, withdrawn: false, mismatch: false }
    }

    fn after(standing: Standing, found: Found) -> Option<(Verdict, DecidedBy)> {
        standing.reconsidered(found).map(|ruling| (ruling.verdict, ruling.by))
    }

    #[test]
    fn rules_take_the_strongest_match() {
        assert_eq!(found(1, 1).ruling().verdict, Verdict::Refused);
        assert_eq!(found(0, 2).ruling().verdict, Verdict::Pending);
        assert_eq!(found(0, 0).ruling().verdict, Verdict::Cleared);
    }

    #[test]
    fn whoever_has_no_key_is_not_cleared_by_it() {
        assert_eq!(Found::default().ruling().verdict, Verdict::Pending);
    }

    #[test]
    fn what_an_officer_cleared_stands_until_a_match_that_is_new() {
        let cleared = standing(Verdict::Cleared, DecidedBy::Officer);
        assert_eq!(after(cleared, seen(1, 3)), None);
        assert_eq!(after(cleared, Found { gone: true, ..seen(0, 0) }), None);
        assert_eq!(after(cleared, found(1, 0)), Some((Verdict::Refused, DecidedBy::Rule)));
        assert_eq!(after(cleared, found(0, 1)), Some((Verdict::Pending, DecidedBy::Review)));
    }

    #[test]
    fn what_an_officer_refused_opens_again_when_its_entry_is_gone() {
        let refused = standing(Verdict::Refused, DecidedBy::Officer);
        assert_eq!(after(refused, found(1, 1)), None);
        assert_eq!(after(refused, seen(0, 0)), None, "refused on other grounds");
        let gone = |found| Found { gone: true, ..found };
        let again = Some((Verdict::Pending, DecidedBy::Review));
        assert_eq!(after(refused, gone(seen(0, 0))), again);
        assert_eq!(after(refused, gone(found(0, 1))), again);
        assert_eq!(after(refused, gone(found(1, 0))), None, "still refused");
    }

    #[test]
    fn a_case_that_was_opened_again_is_not_cleared_by_a_rule() {
        let review = standing(Verdict::Pending, DecidedBy::Review);
        assert_eq!(after(review, seen(0, 0)), None);
        assert_eq!(after(review, found(1, 0)), Some((Verdict::Refused, DecidedBy::Review)));
        let refused = standing(Verdict::Refused, DecidedBy::Review);
        assert_eq!(after(refused, seen(0, 0)), Some((Verdict::Pending, DecidedBy::Review)));
        let left = standing(Verdict::Pending, DecidedBy::Officer);
        assert_eq!(after(left, found(0, 0)), None);
        assert_eq!(after(left, found(1, 0)), Some((Verdict::Refused, DecidedBy::Review)));
    }

    #[test]
    fn what_a_rule_decided_follows_the_lists() {
        let pending = standing(Verdict::Pending, DecidedBy::Rule);
        assert_eq!(after(pending, found(0, 0)), Some((Verdict::Cleared, DecidedBy::Rule)));
        assert_eq!(after(pending, found(1, 1)), Some((Verdict::Refused, DecidedBy::Rule)));
        assert_eq!(after(pending, found(0, 5)), None);
        let withdrawn = Standing { withdrawn: true, ..pending };
        assert_eq!(after(withdrawn, found(1, 0)), None);
        let mismatch = Standing { mismatch: true, ..pending };
        assert_eq!(after(mismatch, found(0, 0)), None, "another person's identity clears nobody");
    }

    #[test]
    fn what_may_be_hidden_clears_nobody_and_gives_nothing_back() {
        let damaged = |found| Found { damaged: true, ..found };
        assert_eq!(damaged(found(0, 0)).ruling().verdict, Verdict::Pending);
        assert_eq!(damaged(found(1, 0)).ruling().verdict, Verdict::Refused);
        for by in [DecidedBy::Rule, DecidedBy::Officer] {
            let (cleared, pending) = (standing(Verdict::Cleared, by), Verdict::Pending);
            let verdict = after(cleared, damaged(seen(0, 0))).map(|(verdict, _)| verdict);
            assert_eq!(verdict, Some(pending));
        }
        for by in [DecidedBy::Rule, DecidedBy::Officer, DecidedBy::Review] {
            let gone = Found { gone: true, ..found(0, 0) };
            assert_eq!(after(standing(Verdict::Refused, by), damaged(gone)), None);
            assert_eq!(after(standing(Verdict::Pending, by), damaged(gone)), None);
        }
    }

    #[test]
    fn a_release_waits_for_its_batch_unless_it_stops_somebody() {
        let new = standing(Verdict::Pending, DecidedBy::Rule);
        let due = |standing: &Standing, verdict| standing.release_time(verdict, NOW, 3_000);
        assert_eq!(due(&new, Verdict::Cleared), Some(Timestamp::from_millis(1_005_000)));
        let waiting = Standing { due: Some(NOW.plus_millis(7)), ..new };
        assert_eq!(due(&waiting, Verdict::Refused), Some(NOW.plus_millis(7)));
        let cleared = Standing { released: Some(Verdict::Cleared), ..new };
        assert_eq!(due(&cleared, Verdict::Refused), Some(NOW));
        assert_eq!(due(&cleared, Verdict::Cleared), None);
    }

    #[test]
    fn all_of_one_period_share_a_batch_a_whole_delay_or_more_away() {
        let batch = |millis| next_batch(Timestamp::from_millis(millis), 10_000).millis();
        assert_eq!(batch(20_000), 30_000);
        for millis in [20_001, 25_000, 29_999, 30_000] {
            assert_eq!(batch(millis), 40_000);
        }
        assert_eq!(next_batch(NOW, 0), NOW);
    }
}
