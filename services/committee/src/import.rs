//! Import of people: all that is valid, or nothing, in one transaction; the same rows again change nothing.

use std::collections::{HashMap, HashSet};

use lanyard_core::binding::BindingSalt;
use lanyard_core::ids::{BadgeNumber, EventId};
use lanyard_env::Env;
use lanyard_store::{AuditTrail, NewAuditEntry, Store, StoreError, next_numbers};
use lanyard_wire::committee::v1 as wire;
use rand::Rng as _;
use sqlx::{Any, Row as _, Transaction};

use crate::person::{self, Accreditation, Applicant, Identity, Rules};
use crate::profiles::ProfileIndex;
use crate::states::Screening;

/// Errors that a response carries; all are counted.
const MAX_ERRORS: usize = 1_000;

/// Rows being collected; nothing is stored before [`Import::finish`].
pub(crate) struct Import {
    event: EventId,
    categories: Vec<String>,
    profiles: ProfileIndex,
    applicants: Vec<Applicant>,
    seen: HashSet<String>,
    refused: u64,
    errors: Vec<wire::RowError>,
}

impl Import {
    pub(crate) fn new(event: EventId, categories: Vec<String>, profiles: ProfileIndex) -> Self {
        Self {
            event,
            categories,
            profiles,
            applicants: Vec::new(),
            seen: HashSet::new(),
            refused: 0,
            errors: Vec::new(),
        }
    }

    /// Checks a row and keeps it if it is good.
    pub(crate) fn row(&mut self, line: u64, row: wire::Person) {
        let profile = |code: &str| self.profiles.id(code);
        let rules = Rules { categories: &self.categories, profile: &profile };
        let checked = person::check(row, &rules).and_then(|applicant| {
            if self.seen.insert(applicant.reference.clone()) {
                Ok(applicant)
            } else {
                Err(("reference", "stands in an earlier row of this file too".to_owned()))
            }
        });
        match checked {
            Ok(applicant) => self.applicants.push(applicant),
            Err((column, problem)) => {
                self.refused += 1;
                if self.errors.len() < MAX_ERRORS {
                    self.errors.push(wire::RowError { line, column: column.to_owned(), problem });
                }
            }
        }
    }

    /// Stores what was collected, as asked.
    pub(crate) async fn finish(
        self,
        store: &Store,
        env: &Env,
        operator: &str,
        mode: wire::ImportMode,
        dry_run: bool,
    ) -> Result<wire::ImportPeopleResponse, StoreError> {
        let mut response = wire::ImportPeopleResponse {
            refused: self.refused,
            errors: self.errors,
            ..Default::default()
        };
        if self.refused > 0 && mode == wire::ImportMode::AllOrNothing {
            return Ok(response);
        }
        let mut transaction = store.begin().await?;
        let mut writer = Writer { env, event: self.event, transaction: &mut transaction };
        for applicants in self.applicants.chunks(500) {
            let known = writer.known(applicants).await?;
            for applicant in applicants {
                match known.get(&applicant.reference) {
                    None => {
                        writer.create(applicant).await?;
                        response.created += 1;
                    }
                    Some(found) if found.is(applicant) => response.unchanged += 1,
                    Some(found) => {
                        writer.update(found, applicant).await?;
                        response.updated += 1;
                    }
                }
            }
        }
        if dry_run {
            return Ok(response);
        }
        let change = AuditTrail::new_change(&mut transaction).await?;
        let reason = format!("{} new, {} changed", response.created, response.updated);
        let entry =
            NewAuditEntry { operator, action: "import", subject: "people", reason: &reason };
        AuditTrail::append(&mut transaction, env.now(), change, &[entry]).await?;
        transaction.commit().await?;
        Ok(response)
    }
}

struct Writer<'a> {
    env: &'a Env,
    event: EventId,
    transaction: &'a mut Transaction<'static, Any>,
}

/// A person who is enrolled already.
struct Known {
    badge_number: i64,
    identity: Identity,
    accreditation: Accreditation,
}

impl Known {
    fn is(&self, applicant: &Applicant) -> bool {
        self.identity == applicant.identity && self.accreditation == applicant.accreditation
    }
}

impl Writer<'_> {
    async fn known(
        &mut self,
        applicants: &[Applicant],
    ) -> Result<HashMap<String, Known>, StoreError> {
        let mut known = HashMap::new();
        for applicant in applicants {
            let row = sqlx::query(
                "SELECT badge_number, full_name, latin_name, birth_date, documents, portrait_hash, category, function, \
                 organisation, profile_id, not_before, not_after FROM people WHERE reference = $1",
            )
            .bind(&applicant.reference)
            .fetch_optional(&mut **self.transaction)
            .await?;
            let Some(row) = row else { continue };
            let documents = serde_json::from_str(row.try_get("documents")?)
                .map_err(|_| StoreError::Corrupt { table: "people", column: "documents" })?;
            let found = Known {
                badge_number: row.try_get("badge_number")?,
                identity: Identity {
                    full_name: row.try_get("full_name")?,
                    latin_name: row.try_get("latin_name")?,
                    birth_date: row.try_get("birth_date")?,
                    documents,
                    portrait_hash: row.try_get("portrait_hash")?,
                },
                accreditation: Accreditation {
                    category: row.try_get("category")?,
                    function: row.try_get("function")?,
                    organisation: row.try_get("organisation")?,
                    profile_id: row.try_get("profile_id")?,
                    not_before: row.try_get("not_before")?,
                    not_after: row.try_get("not_after")?,
                },
            };
            known.insert(applicant.reference.clone(), found);
        }
        Ok(known)
    }

    async fn create(&mut self, applicant: &Applicant) -> Result<(), StoreError> {
        let badge_number = next_numbers(self.transaction, "badge", 1).await?;
        let print_id = next_numbers(self.transaction, "print", 1).await?;
        let mut subject_id = [0; 16];
        self.env.rng().fill_bytes(&mut subject_id);
        let (salt, binding) = self.bind(&applicant.identity, badge_number);
        let Applicant { reference, identity, accreditation } = applicant;
        sqlx::query(
            "INSERT INTO people (badge_number, reference, subject_id, salt, binding, full_name, latin_name, birth_date, \
             documents, category, function, organisation, profile_id, not_before, not_after, portrait_hash, status, \
             screening, current_print, last_change) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 1, 1, 1, 0)",
        )
        .bind(badge_number)
        .bind(reference)
        .bind(subject_id.to_vec())
        .bind(salt)
        .bind(binding)
        .bind(&identity.full_name)
        .bind(&identity.latin_name)
        .bind(&identity.birth_date)
        .bind(documents_json(identity))
        .bind(&accreditation.category)
        .bind(&accreditation.function)
        .bind(&accreditation.organisation)
        .bind(accreditation.profile_id)
        .bind(accreditation.not_before)
        .bind(accreditation.not_after)
        .bind(&identity.portrait_hash)
        .execute(&mut **self.transaction)
        .await?;
        sqlx::query(
            "INSERT INTO prints (id, badge_number, print_number, state, seeds, gate_tag, handed_over, changed) \
             VALUES ($1, $2, 1, 1, $3, $3, 0, 0)",
        )
        .bind(print_id)
        .bind(badge_number)
        .bind(Vec::<u8>::new())
        .execute(&mut **self.transaction)
        .await?;
        Ok(())
    }

    async fn update(&mut self, known: &Known, applicant: &Applicant) -> Result<(), StoreError> {
        let Applicant { identity, accreditation, .. } = applicant;
        sqlx::query(
            "UPDATE people SET category = $1, function = $2, organisation = $3, profile_id = $4, not_before = $5, \
             not_after = $6 WHERE badge_number = $7",
        )
        .bind(&accreditation.category)
        .bind(&accreditation.function)
        .bind(&accreditation.organisation)
        .bind(accreditation.profile_id)
        .bind(accreditation.not_before)
        .bind(accreditation.not_after)
        .bind(known.badge_number)
        .execute(&mut **self.transaction)
        .await?;
        if known.identity != *identity {
            // Another person, or the same described anew: what was cleared before does not hold for this.
            let (salt, binding) = self.bind(identity, known.badge_number);
            sqlx::query(
                "UPDATE people SET full_name = $1, latin_name = $2, birth_date = $3, documents = $4, portrait_hash = $5, \
                 salt = $6, binding = $7, screening = $8 WHERE badge_number = $9",
            )
            .bind(&identity.full_name)
            .bind(&identity.latin_name)
            .bind(&identity.birth_date)
            .bind(documents_json(identity))
            .bind(&identity.portrait_hash)
            .bind(salt)
            .bind(binding)
            .bind(Screening::New.number())
            .bind(known.badge_number)
            .execute(&mut **self.transaction)
            .await?;
        }
        mark_changed(self.transaction, known.badge_number).await
    }

    /// A fresh salt, and the binding under it.
    fn bind(&self, identity: &Identity, badge_number: i64) -> (Vec<u8>, Vec<u8>) {
        let salt = BindingSalt::generate(&mut self.env.rng());
        let number = BadgeNumber::new(u32::try_from(badge_number).unwrap_or(u32::MAX));
        let binding = identity.binding(&self.event, &salt, number);
        (salt.expose_bytes().to_vec(), binding.as_bytes().to_vec())
    }
}

fn documents_json(identity: &Identity) -> String {
    serde_json::to_string(&identity.documents).expect("strings always serialise")
}

/// Puts all prints of a badge before the publisher again, each under a number of its own.
pub(crate) async fn mark_changed(
    transaction: &mut Transaction<'static, Any>,
    badge_number: i64,
) -> Result<(), StoreError> {
    let (prints,): (i64,) =
        sqlx::query_as("SELECT current_print FROM people WHERE badge_number = $1")
            .bind(badge_number)
            .fetch_one(&mut **transaction)
            .await?;
    let first = next_numbers(transaction, "changed", prints).await?;
    sqlx::query("UPDATE prints SET changed = $1 + print_number WHERE badge_number = $2")
        .bind(first - 1)
        .bind(badge_number)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
