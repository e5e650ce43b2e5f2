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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{BirthDate, DocumentKind, Strength};
    use super::*;

    fn event() -> EventId {
        EventId::parse("games").unwrap()
    }

    fn facts(names: &[&str], dates: &str) -> Facts {
        Facts {
            names: names.iter().map(|name| Name::parse(name).unwrap()).collect(),
            birth_dates: BirthDates::parse(dates).unwrap(),
            documents: Vec::new(),
        }
    }

    /// The strongest key that both share.
    fn matched(person: &Facts, entry: &Facts) -> Option<Strength> {
        let entry = entry.entry_keys(&event());
        let person = person.person_keys(&event());
        let shared =
            person.iter().filter(|key| entry.iter().any(|one| one.as_bytes() == key.as_bytes()));
        shared.map(|key| key.kind().strength()).max()
    }

    #[test]
    fn what_matches_and_how_strongly() {
        use Strength::{Medium, Weak};
        for (name, date, listed, listed_date, expected) in [
            ("Viktor Primerov", "1970-12-03", "PRIMEROV, Viktor", "1970-12-03", Some(Medium)),
            ("Viktor Primerov", "1970-12-03", "PRIMEROW, Wiktor", "1970-12-03", Some(Weak)),
            ("Виктор Примеров", "1970-12-03", "PRIMEROV, Viktor", "1970-12-03", Some(Medium)),
            ("يوسف المثالي", "1970-12-03", "AL-MITHALI, Yousef", "1970-12-03", Some(Weak)),
            ("Viktor Primerov", "1970-03-12", "PRIMEROV, Viktor", "1970-12-03", Some(Weak)),
            ("Viktor Primerov", "1970-12-08", "PRIMEROV, Viktor", "1970-12-03", Some(Weak)),
            ("Viktor Primerov", "1970-12-03", "PRIMEROV, Viktor", "1970", Some(Weak)),
            ("Viktor Primerov", "1970-12-03", "PRIMEROV, Viktor", "1970-12", Some(Weak)),
            ("Viktor Primerov", "1970-12-03", "PRIMEROV, Viktor", "circa 1971", Some(Weak)),
            ("Viktor Primerov", "1970-12-03", "PRIMEROV, Viktor", "1968/1972", Some(Weak)),
            ("Viktor Primerov", "1970", "PRIMEROV, Viktor", "1970-12-03", Some(Weak)),
            (
                "Viktor Primerov",
                "1970-12-03",
                "PRIMEROV, Viktor Ivanovich",
                "1950; 1970-12-03",
                Some(Weak),
            ),
            (
                "Viktor Ivanovich Primerov",
                "1970-12-03",
                "PRIMEROV, Viktor",
                "1970-12-03",
                Some(Weak),
            ),
            ("Pyong Chol Yemun", "1970-12-03", "YEMUN, Pyongchol", "1970-12-03", Some(Weak)),
            ("Suharto", "1970-12-03", "SUHARTO", "1970-12-03", Some(Medium)),
            ("Soeharto", "1970-12-03", "SUHARTO", "1970-12-03", Some(Weak)),
            (
                "Juan Carlos Ejemplo Modelo",
                "1970-12-03",
                "EJEMPLO MODELO, Juan Carlos",
                "",
                Some(Weak),
            ),
            (
                "Juan Carlos Ejemplo Modelo",
                "",
                "EJEMPLO MODELO, Juan Carlos",
                "1970-12-03",
                Some(Weak),
            ),
            // Namesakes, relatives, and names too short to tell anything without a date.
            ("Viktor Primerov", "1970-12-03", "PRIMEROV, Viktor", "1971-11-04", None),
            ("Viktor Primerov", "1970-12-03", "PRIMEROV, Anna", "1970-12-03", None),
            ("Viktor Primerov", "1970-12-03", "PRIMEROV, Viktor", "", None),
            ("Viktor Primerov", "", "PRIMEROV, Viktor", "1970-12-03", None),
            ("Li Na", "1970-12-03", "LI, Na", "1970", None),
        ] {
            let found = matched(&facts(&[name], date), &facts(&[listed], listed_date));
            assert_eq!(found, expected, "{name} {date} / {listed} {listed_date}");
        }
    }

    #[test]
    fn a_document_is_the_strongest_and_stands_first() {
        let document = Document::new(DocumentKind::Passport, "UTO", "X1").unwrap();
        let person =
            Facts { documents: vec![document], ..facts(&["Viktor Primerov"], "1970-12-03") };
        assert_eq!(matched(&person, &person), Some(Strength::Strong));
        let strengths: Vec<_> =
            person.person_keys(&event()).iter().map(|key| key.kind().strength()).collect();
        assert!(strengths.is_sorted_by(|one, two| one >= two));
    }

    #[test]
    fn a_second_name_shares_the_room() {
        let person = facts(&["Wiktor Primerow", "Виктор Примеров"], "1970-12-03");
        assert!(person.person_keys(&event()).len() <= Facts::PERSON_KEYS);
        for listed in ["PRIMEROV, Viktor", "PRIMEROW, Wiktor"] {
            assert_eq!(matched(&person, &facts(&[listed], "1970-12-03")), Some(Strength::Medium));
        }
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(
            name in "\\PC{0,64}|([A-Z]{1,4} ){1,40}",
            dates in "\\PC{0,24}|(19[0-9]{2}(/19[0-9]{2}|-[01][0-9](-[0-3][0-9])?)?; ?){0,6}|circa .{0,4}",
        ) {
            let facts = Facts {
                names: Name::parse(&name).into_iter().collect(),
                birth_dates: BirthDates::parse(&dates).unwrap_or_default(),
                documents: Vec::new(),
            };
            let _ = (facts.person_keys(&event()), facts.entry_keys(&event()));
        }

        #[test]
        fn a_person_has_few_keys_each_once(
            parts in proptest::collection::vec("[A-Z]{1,12}", 1..12),
            dates in proptest::collection::vec(("19[0-9]{2}", "0[1-9]", "[12][0-8]"), 0..4),
        ) {
            let dates: Vec<_> = dates.into_iter().map(|(year, month, day)| format!("{year}-{month}-{day}")).collect();
            let person = facts(&[&parts.join(" ")], &dates.join(";"));
            let keys = person.person_keys(&event());
            prop_assert!(keys.len() <= Facts::PERSON_KEYS);
            let mut bytes: Vec<_> = keys.iter().map(|key| key.as_bytes()).collect();
            bytes.sort_unstable();
            bytes.dedup();
            prop_assert_eq!(bytes.len(), keys.len());
        }

        #[test]
        fn order_of_parts_never_matters_for_a_match(
            mut parts in proptest::collection::vec("[BDFGKLMNPRST][AEIOU][BDFGKLMNPRST][AEIOU][BDFGKLMNPRST]", 2..6),
            year in 1900_u16..2020, month in 1_u8..=12, day in 1_u8..=28,
        ) {
            let date = BirthDate::new(year, month, day).unwrap().to_string();
            let person = facts(&[&parts.join(" ")], &date);
            parts.reverse();
            let entry = facts(&[&parts.join(" ")], &date);
            prop_assert_eq!(matched(&person, &entry), Some(Strength::Medium));
            // Without the medium key, by variants; day and month swapped, or a part of the name missing.
            let swapped = BirthDate::new(year, month, day).unwrap().swapped();
            if let Some(swapped) = swapped {
                let entry = facts(&[&parts.join(" ")], &swapped.to_string());
                prop_assert_eq!(matched(&person, &entry), Some(Strength::Weak));
            }
            parts.push("Zusatz".to_owned());
            let entry = facts(&[&parts.join(" ")], &date);
            prop_assert_eq!(matched(&person, &entry), Some(Strength::Weak));
        }
    }
}
