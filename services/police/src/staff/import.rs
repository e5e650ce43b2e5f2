//! Import of staff: all that is valid, or nothing, in one transaction; the same rows again change nothing.

use std::collections::HashSet;

use lanyard_core::binding::BindingSalt;
use lanyard_core::ids::{BadgeNumber, EventId};
use lanyard_env::Env;
use lanyard_party::StoreKey;
use lanyard_store::{AuditTrail, NewAuditEntry, Store, StoreError, Transaction, next_number};
use lanyard_wire::staff::v1 as wire;
use sqlx::Row as _;

use super::member::{self, Duty, Identity, Member, key_hash};
use super::{Concerns, OfferedProfile, PrintState, mark_changed};
use crate::act::Act;
use crate::states::kind_number;

/// Errors that a response carries; all are counted.
const MAX_ERRORS: usize = 1_000;

/// Rows being collected; nothing is stored before [`Import::finish`].
pub(crate) struct Import {
    profiles: HashSet<String>,
    members: Vec<Member>,
    seen: HashSet<String>,
    refused: u64,
    errors: Vec<wire::RowError>,
}

impl Import {
    /// Begins, with the profiles that the committee offers.
    pub(crate) fn new(profiles: Vec<OfferedProfile>) -> Self {
        Self {
            profiles: profiles.into_iter().map(|profile| profile.code).collect(),
            members: Vec::new(),
            seen: HashSet::new(),
            refused: 0,
            errors: Vec::new(),
        }
    }

    /// Checks a row and keeps it if it is good.
    pub(crate) fn row(&mut self, line: u64, row: wire::Member) {
        let checked = member::check(row, |code| self.profiles.contains(code)).and_then(|member| {
            if self.seen.insert(member.reference.clone()) {
                Ok(member)
            } else {
                Err(("reference", "stands in an earlier row of this file too".to_owned()))
            }
        });
        match checked {
            Ok(member) => self.members.push(member),
            Err((column, problem)) => {
                self.refused += 1;
                if self.errors.len() < MAX_ERRORS {
                    self.errors.push(wire::RowError { line, column: column.to_owned(), problem });
                }
            }
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.members.len()
    }

    /// Stores what was collected, as asked.
    pub(crate) async fn finish(
        self,
        writer: &Writer<'_>,
        mode: wire::ImportMode,
        dry_run: bool,
        act: Act<'_>,
    ) -> Result<wire::ImportStaffResponse, StoreError> {
        let mut response = wire::ImportStaffResponse {
            refused: self.refused,
            errors: self.errors,
            ..Default::default()
        };
        if self.refused > 0 && mode == wire::ImportMode::AllOrNothing {
            return Ok(response);
        }
        let mut transaction = writer.store.begin().await?;
        for member in &self.members {
            match known(&mut transaction, &member.reference).await? {
                None => {
                    writer.create(&mut transaction, member).await?;
                    response.created += 1;
                }
                Some(known) if known.identity == member.identity && known.duty == member.duty => {
                    response.unchanged += 1;
                }
                Some(known) => {
                    writer.update(&mut transaction, &known, member).await?;
                    response.updated += 1;
                }
            }
        }
        if dry_run {
            return Ok(response);
        }
        let change = AuditTrail::new_change(&mut transaction).await?;
        let reason = format!("{} new, {} changed", response.created, response.updated);
        let entry = NewAuditEntry {
            operator: act.operator,
            action: "import-staff",
            subject: "staff",
            reason: &reason,
        };
        AuditTrail::append(&mut transaction, act.now, change, &[entry]).await?;
        transaction.commit().await?;
        Ok(response)
    }
}

/// A member who is enrolled already.
struct Known {
    badge_number: i64,
    identity: Identity,
    duty: Duty,
}

async fn known(
    transaction: &mut Transaction,
    reference: &str,
) -> Result<Option<Known>, StoreError> {
    let row = sqlx::query(
        "SELECT badge_number, full_name, birth_date, documents, portrait_hash, function, profile, not_before, not_after \
         FROM staff WHERE reference = $1",
    )
    .bind(reference)
    .fetch_optional(&mut **transaction)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Known {
        badge_number: row.try_get("badge_number")?,
        identity: Identity {
            full_name: row.try_get("full_name")?,
            birth_date: row.try_get("birth_date")?,
            documents: row.try_get("documents")?,
            portrait_hash: row.try_get("portrait_hash")?,
        },
        duty: Duty {
            function: row.try_get("function")?,
            profile: row.try_get("profile")?,
            not_before: row.try_get("not_before")?,
            not_after: row.try_get("not_after")?,
        },
    }))
}

/// What storing needs.
pub(crate) struct Writer<'a> {
    pub(crate) store: &'a Store,
    pub(crate) store_key: &'a StoreKey,
    pub(crate) env: &'a Env,
    pub(crate) event: &'a EventId,
}

impl Writer<'_> {
    async fn create(
        &self,
        transaction: &mut Transaction,
        member: &Member,
    ) -> Result<(), StoreError> {
        let first = i64::from(BadgeNumber::FIRST_OF_POLICE.get());
        let badge_number = first - 1 + next_number(transaction, "staff").await?;
        let print_id = next_number(transaction, "print").await?;
        let (salt, binding) = self.bind(&member.identity, badge_number);
        let Member { reference, identity, duty } = member;
        sqlx::query(
            "INSERT INTO staff (badge_number, reference, full_name, birth_date, documents, portrait_hash, salt, binding, \
             function, profile, not_before, not_after, status, current_print, last_change) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1, 1, 0)",
        )
        .bind(badge_number)
        .bind(reference)
        .bind(&identity.full_name)
        .bind(&identity.birth_date)
        .bind(&identity.documents)
        .bind(&identity.portrait_hash)
        .bind(salt)
        .bind(binding)
        .bind(&duty.function)
        .bind(&duty.profile)
        .bind(duty.not_before)
        .bind(duty.not_after)
        .execute(&mut **transaction)
        .await?;
        sqlx::query(
            "INSERT INTO staff_prints (id, badge_number, print_number, state, seeds, gate_tag, changed, handover, taken) \
             VALUES ($1, $2, 1, $3, $4, $4, 0, 0, 0)",
        )
        .bind(print_id)
        .bind(badge_number)
        .bind(PrintState::Waiting.number())
        .bind(Vec::<u8>::new())
        .execute(&mut **transaction)
        .await?;
        self.put_keys(transaction, badge_number, identity).await
    }

    async fn update(
        &self,
        transaction: &mut Transaction,
        known: &Known,
        member: &Member,
    ) -> Result<(), StoreError> {
        let Member { identity, duty, .. } = member;
        sqlx::query(
            "UPDATE staff SET function = $1, profile = $2, not_before = $3, not_after = $4 WHERE badge_number = $5",
        )
        .bind(&duty.function)
        .bind(&duty.profile)
        .bind(duty.not_before)
        .bind(duty.not_after)
        .bind(known.badge_number)
        .execute(&mut **transaction)
        .await?;
        if known.identity != *identity {
            let (salt, binding) = self.bind(identity, known.badge_number);
            sqlx::query(
                "UPDATE staff SET full_name = $1, birth_date = $2, documents = $3, portrait_hash = $4, salt = $5, \
                 binding = $6 WHERE badge_number = $7",
            )
            .bind(&identity.full_name)
            .bind(&identity.birth_date)
            .bind(&identity.documents)
            .bind(&identity.portrait_hash)
            .bind(salt)
            .bind(binding)
            .bind(known.badge_number)
            .execute(&mut **transaction)
            .await?;
            self.put_keys(transaction, known.badge_number, identity).await?;
        }
        mark_changed(transaction, known.badge_number, Concerns::Both).await
    }

    async fn put_keys(
        &self,
        transaction: &mut Transaction,
        badge_number: i64,
        identity: &Identity,
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM staff_keys WHERE badge_number = $1")
            .bind(badge_number)
            .execute(&mut **transaction)
            .await?;
        for key in identity.keys(self.event) {
            sqlx::query(
                "INSERT INTO staff_keys (hash, badge_number, kind) VALUES ($1, $2, $3) \
                 ON CONFLICT (hash, badge_number) DO NOTHING",
            )
            .bind(key_hash(self.store_key, &key).to_vec())
            .bind(badge_number)
            .bind(kind_number(key.kind()))
            .execute(&mut **transaction)
            .await?;
        }
        Ok(())
    }

    /// A fresh salt, and the binding under it.
    fn bind(&self, identity: &Identity, badge_number: i64) -> (Vec<u8>, Vec<u8>) {
        let salt = BindingSalt::generate(&mut self.env.rng());
        let number = BadgeNumber::new(u32::try_from(badge_number).unwrap_or(u32::MAX));
        let binding = identity.binding(self.event, &salt, number);
        (salt.expose_bytes().to_vec(), binding.as_bytes().to_vec())
    }
}
