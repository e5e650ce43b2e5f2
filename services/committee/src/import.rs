//! Import of people: all that is valid, or nothing, in one transaction; the same rows again change nothing. Rows are
//! written as they arrive: in memory are a few hundred of them, and 16 bytes for each reference seen.

use std::collections::{HashMap, HashSet};

use lanyard_core::binding::BindingSalt;
use lanyard_core::ids::{BadgeNumber, EventId};
use lanyard_env::Env;
use lanyard_store::{
    AuditTrail, NewAuditEntry, Store, StoreError, Transaction, next_numbers, placeholders,
};
use lanyard_wire::committee::v1 as wire;
use rand::Rng as _;
use sqlx::{AssertSqlSafe, Row as _};

use crate::person::{self, Accreditation, Applicant, Identity, Rules};
use crate::profiles::ProfileIndex;
use crate::states::{PrintState, Screening};

/// Errors that a response carries; all are counted.
const MAX_ERRORS: usize = 1_000;
/// Rows that one statement names or inserts: a few hundred parameters, as binding them takes time in their square.
const ROWS: usize = 24;

/// An import under way; nothing of it counts before [`Import::finish`].
pub(crate) struct Import {
    event: EventId,
    categories: Vec<String>,
    profiles: ProfileIndex,
    /// Good, and not written yet.
    applicants: Vec<Applicant>,
    /// Hashes of the references so far.
    seen: HashSet<[u8; 16]>,
    transaction: Option<Transaction>,
    response: wire::ImportPeopleResponse,
}

impl Import {
    pub(crate) fn new(event: EventId, categories: Vec<String>, profiles: ProfileIndex) -> Self {
        Self {
            event,
            categories,
            profiles,
            applicants: Vec::new(),
            seen: HashSet::new(),
            transaction: None,
            response: wire::ImportPeopleResponse::default(),
        }
    }

    /// Checks a row and keeps it if it is good.
    pub(crate) fn row(&mut self, line: u64, row: wire::Person) {
        let profile = |code: &str| self.profiles.id(code);
        let rules = Rules { categories: &self.categories, profile: &profile };
        let checked = person::check(row, &rules).and_then(|applicant| {
            if self.seen.insert(short_hash(&applicant.reference)) {
                Ok(applicant)
            } else {
                Err(("reference", "stands in an earlier row of this file too".to_owned()))
            }
        });
        match checked {
            Ok(applicant) => self.applicants.push(applicant),
            Err((column, problem)) => {
                self.response.refused += 1;
                if self.response.errors.len() < MAX_ERRORS {
                    let column = column.to_owned();
                    self.response.errors.push(wire::RowError { line, column, problem });
                }
            }
        }
    }

    /// Whether rows are being written, so that others who write have to wait.
    pub(crate) const fn is_writing(&self) -> bool {
        self.transaction.is_some()
    }

    /// Writes the good rows so far, unless nothing will be imported any more.
    pub(crate) async fn flush(
        &mut self,
        store: &Store,
        env: &Env,
        mode: wire::ImportMode,
    ) -> Result<(), StoreError> {
        let applicants = std::mem::take(&mut self.applicants);
        if self.response.refused > 0 && mode == wire::ImportMode::AllOrNothing {
            self.transaction = None;
            return Ok(());
        }
        let transaction = match self.transaction.take() {
            Some(transaction) => transaction,
            None => store.begin().await?,
        };
        let mut writer = Writer { env, event: &self.event, transaction };
        for applicants in applicants.chunks(ROWS) {
            let known = writer.known(applicants).await?;
            let (old, new): (Vec<_>, Vec<_>) =
                applicants.iter().partition(|one| known.contains_key(&one.reference));
            writer.create(&new).await?;
            self.response.created += new.len() as u64;
            for applicant in old {
                let Some(found) = known.get(&applicant.reference) else { continue };
                if found.is(applicant) {
                    self.response.unchanged += 1;
                } else {
                    writer.update(found, applicant).await?;
                    self.response.updated += 1;
                }
            }
        }
        writer.transaction.seal().await?;
        self.transaction = Some(writer.transaction);
        Ok(())
    }

    /// Stores what was sent, as asked.
    pub(crate) async fn finish(
        mut self,
        store: &Store,
        env: &Env,
        operator: &str,
        mode: wire::ImportMode,
        dry_run: bool,
    ) -> Result<wire::ImportPeopleResponse, StoreError> {
        self.flush(store, env, mode).await?;
        let Self { transaction, response, .. } = self;
        let Some(mut transaction) = transaction else {
            return Ok(wire::ImportPeopleResponse {
                refused: response.refused,
                errors: response.errors,
                ..Default::default()
            });
        };
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

/// Enough of a hash that no two references share it.
fn short_hash(reference: &str) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&blake3::hash(reference.as_bytes()).as_bytes()[..16]);
    short
}

struct Writer<'a> {
    env: &'a Env,
    event: &'a EventId,
    transaction: Transaction,
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
        let statement = format!(
            "SELECT reference, badge_number, full_name, latin_name, birth_date, documents, portrait_hash, category, \
             function, organisation, profile_id, not_before, not_after FROM people WHERE reference IN {}",
            placeholders(1, 1, applicants.len())
        );
        let query = sqlx::query(AssertSqlSafe(statement));
        let rows = applicants
            .iter()
            .fold(query, |query, applicant| query.bind(&applicant.reference))
            .fetch_all(&mut *self.transaction)
            .await?;
        let mut known = HashMap::with_capacity(rows.len());
        for row in rows {
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
            known.insert(row.try_get("reference")?, found);
        }
        Ok(known)
    }

    /// Enrols at most [`ROWS`] people.
    async fn create(&mut self, applicants: &[&Applicant]) -> Result<(), StoreError> {
        if applicants.is_empty() {
            return Ok(());
        }
        let count = applicants.len() as i64;
        let first_badge = next_numbers(&mut self.transaction, "badge", count).await?;
        let first_print = next_numbers(&mut self.transaction, "print", count).await?;
        let statement = format!(
            "INSERT INTO people (badge_number, reference, subject_id, salt, binding, full_name, latin_name, birth_date, \
             documents, category, function, organisation, profile_id, not_before, not_after, portrait_hash, status, \
             screening, current_print, last_change) VALUES {}",
            placeholders(1, applicants.len(), 20)
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for (badge_number, applicant) in (first_badge..).zip(applicants) {
            let mut subject_id = [0; 16];
            self.env.rng().fill_bytes(&mut subject_id);
            let (salt, binding) = self.bind(&applicant.identity, badge_number);
            let Applicant { reference, identity, accreditation } = *applicant;
            query = query
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
                .bind(1_i64)
                .bind(Screening::New.number())
                .bind(1_i64)
                .bind(0_i64);
        }
        query.execute(&mut *self.transaction).await?;
        let statement = format!(
            "INSERT INTO prints (id, badge_number, print_number, state, seeds, gate_tag, police_tag, handed_over, changed) \
             VALUES {}",
            placeholders(1, applicants.len(), 9)
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for place in 0..count {
            query = query
                .bind(first_print + place)
                .bind(first_badge + place)
                .bind(1_i64)
                .bind(PrintState::Waiting.number())
                .bind(Vec::<u8>::new())
                .bind(Vec::<u8>::new())
                .bind(Vec::<u8>::new())
                .bind(0_i64)
                .bind(0_i64);
        }
        query.execute(&mut *self.transaction).await?;
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
        .execute(&mut *self.transaction)
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
            .execute(&mut *self.transaction)
            .await?;
        }
        mark_changed(&mut self.transaction, known.badge_number).await
    }

    /// A fresh salt, and the binding under it.
    fn bind(&self, identity: &Identity, badge_number: i64) -> (Vec<u8>, Vec<u8>) {
        let salt = BindingSalt::generate(&mut self.env.rng());
        let number = BadgeNumber::new(u32::try_from(badge_number).unwrap_or(u32::MAX));
        let binding = identity.binding(self.event, &salt, number);
        (salt.expose_bytes().to_vec(), binding.as_bytes().to_vec())
    }
}

fn documents_json(identity: &Identity) -> String {
    serde_json::to_string(&identity.documents).expect("strings always serialise")
}

/// Puts all prints of a badge before the publisher again, each under a number of its own.
pub(crate) async fn mark_changed(
    transaction: &mut Transaction,
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
