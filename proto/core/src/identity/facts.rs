//! What is known of a person or of a list's entry, and the identity keys that it yields.

use super::{BirthDates, Document, IdentityKey, Name, variants};
use crate::ids::EventId;

/// Names, birth dates and documents of one person, or of one entry of a list.
///
/// The two sides give different keys. A person gives at most [`PERSON_KEYS`](Self::PERSON_KEYS), unless documents are many; an
/// entry gives as many as it takes for one of them to be a matching person's.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Names, those of the same person in several scripts or spellings.
    pub names: Vec<Name>,
    /// Birth dates.
    pub birth_dates: BirthDates,
    /// Documents.
    pub documents: Vec<Document>,
}

impl Facts {
    /// Keys that a person has with padding; a multiple of it if documents are many.
    pub const PERSON_KEYS: usize = 16;
    /// An entry's keys are padded to a multiple of this.
    pub const ENTRY_KEYS: usize = 32;
    /// Weak keys that a person may have whatever the number of documents.
    const VARIANTS: usize = 10;

    /// The keys of a person, each once, the strongest first: one a document, one of each name and full birth date, and
    /// variants, the most telling first.
    #[must_use]
    pub fn person_keys(&self, event: &EventId) -> Vec<IdentityKey> {
        let mut keys = self.exact_keys(event);
        let room = Self::PERSON_KEYS.saturating_sub(keys.len()).max(Self::VARIANTS);
        let variants = variants::of_person(&self.names, &self.birth_dates, room);
        keys.extend(variants.iter().map(|variant| IdentityKey::variant(event, variant)));
        keys
    }

    /// The keys of a list's entry, each once, the strongest first.
    #[must_use]
    pub fn entry_keys(&self, event: &EventId) -> Vec<IdentityKey> {
        let mut keys = self.exact_keys(event);
        let names = self.names.iter();
        let mut variants: Vec<_> =
            names.flat_map(|name| variants::of_entry(name, &self.birth_dates)).collect();
        variants.sort_unstable();
        variants.dedup();
        keys.extend(variants.iter().map(|variant| IdentityKey::variant(event, variant)));
        keys
    }

    /// Documents, and names with full birth dates.
    fn exact_keys(&self, event: &EventId) -> Vec<IdentityKey> {
        let mut documents: Vec<_> = self.documents.iter().collect();
        documents.sort_unstable();
        documents.dedup();
        let mut keys: Vec<_> =
            documents.into_iter().map(|document| IdentityKey::document(event, document)).collect();
        let mut names: Vec<&Name> = self.names.iter().collect();
        names.sort_unstable();
        names.dedup_by_key(|name| name.as_str());
        for name in names {
            let days = self.birth_dates.days();
            keys.extend(
                days.into_iter().map(|day| IdentityKey::name_and_birth_date(event, name, day)),
            );
        }
        keys
    }
}
