//! People who do not exist, a watchlist of others who do not exist either, and who plays which part.

use std::collections::{HashMap, HashSet};

use lanyard_core::identity::{BirthDate, Name};
use lanyard_core::ids::Timestamp;
use lanyard_wire::committee::v1::{Document, Person};
use lanyard_wire::police::v1::{ListDocument, ListEntry};
use rand::rngs::StdRng;
use rand::seq::index;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

use super::error::DemoError;
use super::plan::{CATEGORY, CATEGORY_ALL, CREW, EVERYWHERE, NIGHT, TOMORROW};

const SYLLABLES: [&str; 32] = [
    "ba", "bre", "cu", "da", "dro", "fe", "fi", "gla", "go", "hu", "jo", "ka", "kle", "lu", "ma",
    "mi", "na", "no", "pe", "pla", "qui", "ra", "ri", "so", "sta", "te", "tu", "va", "vo", "xe",
    "yo", "zu",
];

/// The issuer of their documents: ICAO 9303's state of Utopia.
const ISSUER: &str = "UTO";

/// Entries of the invented watchlist that are nobody on the roster.
const OTHERS: usize = 300;
/// Planted hits of each kind on the invented watchlist.
const HITS: usize = 5;
/// The invented watchlist's name.
pub(super) const SYNTHETIC_LIST: &str = "demo-list";

const MINUTES_PER_DAY: u32 = 24 * 60;

/// Invents people; the same seed invents the same people.
pub(super) struct Inventor {
    rng: StdRng,
    names: HashSet<String>,
    documents: HashSet<u32>,
}

impl Inventor {
    pub(super) fn new(seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { rng, names: HashSet::new(), documents: HashSet::new() }
    }

    fn word(&mut self, syllables: usize) -> String {
        let mut word: String =
            (0..syllables).map(|_| SYLLABLES[self.rng.random_range(0..SYLLABLES.len())]).collect();
        word[..1].make_ascii_uppercase();
        word
    }

    /// Given name and surname, which nobody else has.
    fn name(&mut self) -> (String, String) {
        loop {
            let (given, surname) = (self.word(2), self.word(4));
            if self.names.insert(format!("{given} {surname}")) {
                return (given, surname);
            }
        }
    }

    fn birth_date(&mut self) -> String {
        let (year, month, day) = (
            self.rng.random_range(1950..2006),
            self.rng.random_range(1..=12),
            self.rng.random_range(1..=28),
        );
        format!("{year}-{month:02}-{day:02}")
    }

    fn document_number(&mut self) -> String {
        loop {
            let number = self.rng.random_range(10_000_000..100_000_000);
            if self.documents.insert(number) {
                return format!("X{number}");
            }
        }
    }

    pub(super) fn person(&mut self, reference: String) -> Person {
        let (given, surname) = self.name();
        let mut portrait_hash = vec![0; 32];
        self.rng.fill_bytes(&mut portrait_hash);
        Person {
            reference,
            full_name: format!("{given} {surname}"),
            birth_date: self.birth_date(),
            documents: vec![Document {
                kind: "passport".to_owned(),
                issuer: ISSUER.to_owned(),
                number: self.document_number(),
            }],
            category: CATEGORY.to_owned(),
            function: "Steward".to_owned(),
            organisation: "Demo Organisation".to_owned(),
            profile: CREW.to_owned(),
            portrait_hash,
            ..Person::default()
        }
    }

    pub(super) fn people(&mut self, count: usize) -> Vec<Person> {
        (1..=count).map(|number| self.person(reference(number))).collect()
    }

    /// A watchlist of people who are not on the roster, and of some who are.
    pub(super) fn watchlist(&mut self, people: &[Person], planted: &Planted) -> Vec<ListEntry> {
        let mut entries = Vec::with_capacity(OTHERS + 2 * HITS);
        for _ in 0..OTHERS {
            let person = self.person(String::new());
            entries.push(entry(&person, true, true));
        }
        let documents = planted.by_document.iter().map(|index| entry(&people[*index], false, true));
        let names = planted.by_name.iter().map(|index| entry(&people[*index], true, false));
        entries.extend(documents.chain(names));
        for (line, entry) in (1..).zip(&mut entries) {
            entry.line = line;
            entry.label = format!("DEMO-{line} {}", entry.label);
        }
        entries
    }
}

/// The reference of the person of this number.
pub(super) fn reference(number: usize) -> String {
    format!("D-{number:06}")
}

/// A person as a list writes them: by name and birth date, by document, or both.
fn entry(person: &Person, name: bool, document: bool) -> ListEntry {
    let listed = listed_name(&person.full_name);
    let documents = person.documents.iter().filter(|_| document).map(|document| ListDocument {
        kind: document.kind.clone(),
        issuer: document.issuer.clone(),
        number: document.number.clone(),
    });
    ListEntry {
        line: 0,
        label: if name { listed.clone() } else { "(known by document)".to_owned() },
        names: name.then_some(listed).into_iter().collect(),
        birth_dates: name.then(|| person.birth_date.clone()).into_iter().collect(),
        documents: documents.collect(),
    }
}

/// `SURNAME, Given`.
pub(super) fn listed_name(full_name: &str) -> String {
    match full_name.rsplit_once(' ') {
        Some((given, surname)) => format!("{}, {given}", surname.to_uppercase()),
        None => full_name.to_uppercase(),
    }
}

/// Whom the watchlist is made to match: places on the roster.
#[derive(Default)]
pub(super) struct Planted {
    pub(super) by_document: Vec<usize>,
    pub(super) by_name: Vec<usize>,
}

impl Planted {
    /// For the invented watchlist.
    pub(super) fn invented(cast: &Cast, free: &[usize]) -> Self {
        let (documents, names) = free.split_at(HITS - 1);
        Self {
            by_document: [&[cast.refused][..], documents].concat(),
            by_name: [&[cast.pending][..], &names[..HITS - 1]].concat(),
        }
    }

    /// People on the roster that are needed beside the cast.
    pub(super) const INVENTED: usize = 2 * (HITS - 1);

    pub(super) fn len(&self) -> usize {
        self.by_document.len() + self.by_name.len()
    }
}

/// Who plays which part: places on the roster.
pub(super) struct Cast {
    /// May go everywhere; screened and cleared.
    pub(super) everywhere: usize,
    /// May enter the public areas of one venue.
    pub(super) crew: usize,
    /// Comes tomorrow.
    pub(super) tomorrow: usize,
    /// Has the session that began yesterday evening.
    pub(super) night: usize,
    /// Was good until yesterday.
    pub(super) expired: usize,
    /// Is good from tomorrow on.
    pub(super) early: usize,
    /// Is suspended by the police.
    pub(super) suspended: usize,
    /// Is suspended by the committee, and comes back.
    pub(super) stopped: usize,
    /// Loses the badge.
    pub(super) lost: usize,
    /// Is exchanged for somebody else after clearance.
    pub(super) swapped: usize,
    /// Is on the watchlist and refused.
    pub(super) refused: usize,
    /// Is on the watchlist by name and birth date, and not the same person.
    pub(super) pending: usize,
    /// Whose suspension a lying sponsor hides.
    pub(super) hidden: usize,
}

impl Cast {
    const PARTS: usize = 13;

    /// Gives the parts to people on the roster who can be screened by name and birth date, at random; returns those who
    /// were left too.
    pub(super) fn choose(
        people: &mut [Person],
        seed: u64,
        spare: usize,
        now: Timestamp,
    ) -> Result<(Self, Vec<usize>), DemoError> {
        let able = able(people);
        let needed = Self::PARTS + spare;
        if able.len() < needed {
            return Err(DemoError::TooFew { found: able.len(), needed });
        }
        let mut rng = StdRng::seed_from_u64(seed ^ 0x00c0_ffee);
        let mut chosen = index::sample(&mut rng, able.len(), needed).into_iter().map(|i| able[i]);
        // There are as many as are needed.
        let mut next = || chosen.next().unwrap_or_default();
        let cast = Self {
            everywhere: next(),
            crew: next(),
            tomorrow: next(),
            night: next(),
            expired: next(),
            early: next(),
            suspended: next(),
            stopped: next(),
            lost: next(),
            swapped: next(),
            refused: next(),
            pending: next(),
            hidden: next(),
        };
        for index in cast.all() {
            people[index].not_before_minutes = 0;
            people[index].not_after_minutes = 0;
        }
        people[cast.everywhere].profile = EVERYWHERE.to_owned();
        people[cast.everywhere].category = CATEGORY_ALL.to_owned();
        people[cast.tomorrow].profile = TOMORROW.to_owned();
        people[cast.night].profile = NIGHT.to_owned();
        people[cast.expired].not_after_minutes = now.minutes() - MINUTES_PER_DAY;
        people[cast.early].not_before_minutes = now.minutes() + MINUTES_PER_DAY;
        Ok((cast, chosen.collect()))
    }

    fn all(&self) -> [usize; Self::PARTS] {
        [
            self.everywhere,
            self.crew,
            self.tomorrow,
            self.night,
            self.expired,
            self.early,
            self.suspended,
            self.stopped,
            self.lost,
            self.swapped,
            self.refused,
            self.pending,
            self.hidden,
        ]
    }
}

/// Those whose name has a Latin form, is more than one word, and whom nobody shares name and full birth date with.
fn able(people: &[Person]) -> Vec<usize> {
    let key = |person: &Person| {
        let name = Name::parse(&person.full_name).ok()?;
        let date = BirthDate::parse(&person.birth_date).ok()?;
        name.as_str().contains(' ').then_some((name, date))
    };
    let mut seen: HashMap<_, Option<usize>> = HashMap::new();
    for (index, person) in people.iter().enumerate() {
        if let Some(key) = key(person) {
            seen.entry(key).and_modify(|only| *only = None).or_insert(Some(index));
        }
    }
    let mut able: Vec<usize> = seen.into_values().flatten().collect();
    able.sort_unstable();
    able
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_invents_the_same_people_and_no_two_alike() {
        let people = Inventor::new(7).people(500);
        assert!(people == Inventor::new(7).people(500));
        let numbers: HashSet<_> = people.iter().map(|p| p.documents[0].number.clone()).collect();
        assert_eq!(numbers.len(), 500);
        assert_eq!(able(&people).len(), 500);
    }

    #[test]
    fn a_list_writes_the_same_name_another_way() {
        let listed = listed_name("Zubo Anne Kelmari");
        assert_eq!(listed, "KELMARI, Zubo Anne");
        let (one, other) = (Name::parse("Zubo Anne Kelmari"), Name::parse(&listed));
        assert_eq!(one.unwrap().as_str(), other.unwrap().as_str());
    }

    #[test]
    fn parts_go_to_different_people_and_planted_hits_to_others() {
        let mut inventor = Inventor::new(1);
        let mut people = inventor.people(60);
        let now = Timestamp::from_seconds(1_800_000_000);
        let (cast, free) = Cast::choose(&mut people, 1, Planted::INVENTED, now).unwrap();
        let planted = Planted::invented(&cast, &free);
        assert_eq!(planted.len(), 2 * HITS);
        let mut all: Vec<usize> = cast.all().into_iter().chain(free).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), Cast::PARTS + Planted::INVENTED);
        let list = inventor.watchlist(&people, &planted);
        assert_eq!(list.len(), OTHERS + 2 * HITS);
        let few = Cast::choose(&mut people[..5], 1, 0, now);
        assert!(matches!(few, Err(DemoError::TooFew { found: 5, .. })));
    }
}
