//! People and a list, made up and written row by row.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

const SYLLABLES: [&str; 32] = [
    "ba", "bre", "cu", "da", "dro", "fe", "fi", "gla", "go", "hu", "jo", "ka", "kle", "lu", "ma",
    "mi", "na", "no", "pe", "pla", "qui", "ra", "ri", "so", "sta", "te", "tu", "va", "vo", "xe",
    "yo", "zu",
];

/// Files of made-up people and entries.
pub(super) struct Input {
    pub(super) people: PathBuf,
    pub(super) list: PathBuf,
    /// The same sets as one key a line, for a protocol between two parties.
    pub(super) people_keys: PathBuf,
    pub(super) list_keys: PathBuf,
    /// Every so many people, one stands on the list.
    people_step: u32,
    planted: u32,
}

/// Someone who does not exist: different numbers share neither name nor document.
struct Somebody(u32);

impl Somebody {
    fn name(&self) -> String {
        let syllable = |place: u32| SYLLABLES[(self.0 >> (5 * place) & 31) as usize];
        let mut given = [syllable(0), syllable(1)].concat();
        let mut family = [syllable(2), syllable(3), syllable(4)].concat();
        given[..1].make_ascii_uppercase();
        family[..1].make_ascii_uppercase();
        format!("{given} {family}")
    }

    fn birth_date(&self) -> String {
        let Self(number) = self;
        format!("{}-{:02}-{:02}", 1950 + number % 53, 1 + number % 12, 1 + number % 28)
    }

    fn document(&self) -> String {
        format!("SYN{:08}", self.0)
    }
}

impl Input {
    /// Writes `people` rows of a roster and `entries` of a list, a hundredth of them from the roster: by turns known by
    /// document, and by name and birth date.
    pub(super) fn write(folder: &Path, people: u32, entries: u32) -> io::Result<Self> {
        let planted = entries / 100;
        let input = Self {
            people: folder.join("people.csv"),
            list: folder.join("list.csv"),
            people_keys: folder.join("people.keys"),
            list_keys: folder.join("list.keys"),
            people_step: people / planted,
            planted,
        };
        let create = |path: &Path| File::create(path).map(BufWriter::new);
        let (mut rows, mut keys) = (create(&input.people)?, create(&input.people_keys)?);
        writeln!(
            rows,
            "reference,full_name,birth_date,document_kind,document_issuer,document_number,category,profile"
        )?;
        for number in 0..people {
            let one = Somebody(number);
            let (name, born, document) = (one.name(), one.birth_date(), one.document());
            let reference = Self::reference(number);
            writeln!(rows, "{reference},{name},{born},passport,UTO,{document},Volunteer,GENERAL")?;
            writeln!(keys, "{name} {born}\nUTO {document}")?;
        }
        rows.flush()?;
        keys.flush()?;
        let (mut rows, mut keys) = (create(&input.list)?, create(&input.list_keys)?);
        writeln!(rows, "label,name,birth_date,document_kind,document_issuer,document_number")?;
        for number in 0..entries {
            let known = number % 100 == 0 && number / 100 < planted;
            let one =
                Somebody(if known { number / 100 * input.people_step } else { people + number });
            let (mut name, mut document) = (one.name(), one.document());
            // Of somebody on the roster, only one of both is known.
            if known && number / 100 % 2 == 0 {
                name = Somebody(2 * people + entries + number).name();
            } else if known {
                document = Somebody(2 * people + entries + number).document();
            }
            let born = one.birth_date();
            writeln!(rows, "L-{number},{name},{born},passport,UTO,{document}")?;
            writeln!(keys, "{name} {born}\nUTO {document}")?;
        }
        rows.flush()?;
        keys.flush()?;
        Ok(input)
    }

    fn reference(number: u32) -> String {
        format!("P-{number:08}")
    }

    /// How many people stand on the list.
    pub(super) const fn planted(&self) -> u32 {
        self.planted
    }

    /// Their references.
    pub(super) fn planted_references(&self) -> Vec<String> {
        (0..self.planted).map(|place| Self::reference(place * self.people_step)).collect()
    }
}
