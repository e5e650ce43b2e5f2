//! Who bears a document: pseudonym, own keyed hash, own seeds, own mirror. One padded batch goes to another share holder,
//! the same for whoever is known and whoever is not; after it, nothing leaves this machine.

use lanyard_core::identity::{IdentityKey, KeyKind};
use lanyard_core::oprf::Pseudonym;
use lanyard_shareholder::Purpose;
use lanyard_store::{AuditTrail, NewAuditEntry};
use zeroize::Zeroizing;

use super::{Desk, DeskError, Side, live_epoch};
use crate::act::Act;
use crate::ids::{LocalHash, SubjectId};
use crate::prints::{self, PrintSeeds};
use crate::staff;
use crate::subjects::key_index;

/// People that one check shows at most: names are shared by many.
const MAX_PEOPLE: usize = 100;

/// Whoever is known under a document.
pub(crate) struct Found {
    pub(crate) person: Person,
    /// The strongest key that led here.
    pub(crate) found_by: KeyKind,
    pub(crate) prints: Vec<FoundPrint>,
}

/// A subject of screening, or a member of the own staff by badge number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Person {
    Subject(SubjectId),
    Staff(i64),
}

/// One print of the badge, as both directories have it here.
pub(crate) struct FoundPrint {
    pub(crate) number: u32,
    pub(crate) committee: Side,
    pub(crate) police: Side,
}

impl Desk {
    /// Everyone known under one of the keys of a document. That somebody asked, when and why is kept before anything is
    /// looked up; about whom is not.
    pub(crate) async fn check_document(
        &self,
        keys: &[IdentityKey],
        reason: &str,
        act: Act<'_>,
    ) -> Result<Vec<Found>, DeskError> {
        self.keep_audit(reason, act).await?;
        // The batch is filled up to one size, and asked for before anything here can tell a hit from a miss.
        let pseudonyms = self.pseudonymiser.pseudonyms(Purpose::Check, keys).await?;
        let mut people: Vec<(Person, KeyKind)> = Vec::new();
        for (key, pseudonym) in keys.iter().zip(&pseudonyms) {
            for person in self.known(key, pseudonym, act).await? {
                match people.iter_mut().find(|(known, _)| *known == person) {
                    Some((_, kind)) => *kind = (*kind).min(key.kind()),
                    None => people.push((person, key.kind())),
                }
            }
        }
        if people.is_empty() {
            // A damaged key leads to nobody.
            self.store.refuse_damaged("staff_keys", "1 = 1", &[]).await?;
        }
        people.truncate(MAX_PEOPLE);
        let mut found = Vec::with_capacity(people.len());
        for (person, found_by) in people {
            found.push(Found { person, found_by, prints: self.prints_of(person).await? });
        }
        Ok(found)
    }

    async fn keep_audit(&self, reason: &str, act: Act<'_>) -> Result<(), DeskError> {
        let mut transaction = self.store.begin().await?;
        let change = AuditTrail::new_change(&mut transaction).await?;
        let entry = NewAuditEntry {
            operator: act.operator,
            action: "check-document",
            subject: "a document",
            reason,
        };
        AuditTrail::append(&mut transaction, act.now, change, &[entry]).await?;
        Ok(transaction.commit().await?)
    }

    async fn known(
        &self,
        key: &IdentityKey,
        pseudonym: &Pseudonym,
        act: Act<'_>,
    ) -> Result<Vec<Person>, DeskError> {
        let failed = |error: sqlx::Error| DeskError::Store(error.into());
        let bytes: Zeroizing<[u8; Pseudonym::SIZE]> = pseudonym.to_bytes();
        let hash = LocalHash::of(&self.store_key, &bytes);
        let subjects =
            key_index::subjects_with(&self.store, &self.lists, &hash, MAX_PEOPLE, act).await?;
        let staff: Vec<(i64,)> = sqlx::query_as(
            "SELECT badge_number FROM staff_keys WHERE hash = $1 ORDER BY badge_number LIMIT $2",
        )
        .bind(staff::key_hash(&self.store_key, key).to_vec())
        .bind(MAX_PEOPLE as i64)
        .fetch_all(self.store.pool())
        .await
        .map_err(failed)?;
        let mut people: Vec<Person> = subjects.into_iter().map(Person::Subject).collect();
        people.extend(staff.into_iter().map(|(number,)| Person::Staff(number)));
        Ok(people)
    }

    async fn prints_of(&self, person: Person) -> Result<Vec<FoundPrint>, DeskError> {
        self.refuse_damaged(&person).await?;
        let (store, store_key) = (&self.store, &*self.store_key);
        let seeds: Vec<_> = match person {
            Person::Subject(id) => {
                let held = prints::of_subject(store, store_key, &id).await?;
                let seeds = |seeds: &PrintSeeds| (seeds.committee_police(), seeds.police_gate());
                held.iter().map(|(number, held)| (*number, seeds(held))).collect()
            }
            Person::Staff(number) => {
                let held = staff::of_badge(store, store_key, number).await?;
                let seeds =
                    |held: &staff::Held| (held.seeds.committee_police(), held.seeds.police_gate());
                held.iter().map(|held| (held.print_number, seeds(held))).collect()
            }
        };
        let event = &self.manifests.current().event;
        let mut found = Vec::with_capacity(seeds.len());
        for (number, (committee, police)) in seeds {
            let (committee_epoch, police_epoch) =
                (live_epoch(&self.committee)?, live_epoch(&self.own)?);
            found.push(FoundPrint {
                number,
                committee: self
                    .committee_side(committee_epoch, committee.epoch_key(event, committee_epoch))?,
                police: self.police_side(police_epoch, police.epoch_key(event, police_epoch))?,
            });
        }
        Ok(found)
    }

    /// Ages of both directories here, the committee's first, in seconds.
    pub(crate) fn ages(&self) -> (u64, u64) {
        (super::age_seconds(&self.committee), super::age_seconds(&self.own))
    }
}
