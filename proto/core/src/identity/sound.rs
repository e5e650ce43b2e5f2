//! How the parts of a name sound, so that romanisations of one name agree: `Yusuf` and `Youssef`, `Qasim` and `Kassem`.
//!
//! Two codes a part. Both merge letters that romanisations swap (B P, D T, G K Q, S SH CH Z, J DJ ZH) and doubled ones. The
//! *loose* code leaves out vowels, H, V and W; the *tight* code keeps V and a sign for each run of vowels.

use super::translit::Word;

/// Articles, prepositions and words for son and daughter: romanisations write, join and omit them at will.
const PARTICLES: &[&str] = &[
    "AL", "EL", "UL", "IL", "AS", "ES", "US", "AR", "ER", "UR", "AD", "ED", "UD", "AN", "EN", "UN",
    "AT", "AZ", "EZ", "ASH", "ESH", "BIN", "BEN", "IBN", "BINT", "OULD", "WULD", "WALAD", "DE",
    "LA", "LAS", "LOS", "DEL", "DELA", "DER", "DEN", "VAN", "VON", "DU", "DES", "DA", "DO", "DOS",
    "DAS", "DI", "AND",
];

/// Titles, and words that are a name only with the next: left out where two other parts remain.
const TITLES: &[&str] = &[
    "ABU", "ABOU", "BU", "UMM", "UM", "AUM", "ABD", "DR", "MR", "MRS", "MS", "SR", "JR", "II",
    "III", "SHEIKH", "SHAYKH", "SHEIK", "SHAIKH", "HAJI", "HAJJI", "HADJI", "HAJ", "HAJJ",
    "MULLAH", "MULLA", "MAULAVI", "MAWLAWI", "MAULAWI", "AKA", "NEE",
];

/// Spellings of `Abd`, servant, with the article of the next part.
const SERVANT: &[&str] = &[
    "ABD", "ABDU", "ABDUL", "ABDEL", "ABDAL", "ABDOL", "ABDOUL", "ABDUR", "ABDAR", "ABDER",
    "ABDUS", "ABDAS",
];

/// A part of a name, as it sounds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Part {
    pub(super) loose: String,
    pub(super) tight: String,
    /// How much it tells: letters of the tight code.
    pub(super) weight: usize,
}

/// The parts of a name in their order, without particles and titles where others remain.
pub(super) fn parts(words: &[Word]) -> Vec<Part> {
    let spoken: Vec<(&str, &Word)> = words.iter().map(|word| (stem(word), word)).collect();
    let telling = |(stem, _): &&(&str, &Word)| stem.len() > 1 && !PARTICLES.contains(stem);
    let mut kept: Vec<_> = spoken.iter().filter(telling).collect();
    if kept.is_empty() {
        kept = spoken.iter().collect();
    }
    let untitled = |(stem, _): &&&(&str, &Word)| !TITLES.contains(stem);
    if kept.iter().filter(untitled).count() >= 2 {
        kept.retain(|part| !TITLES.contains(&part.0));
    }
    kept.into_iter().map(|(stem, word)| Part::new(stem, word.is_abjad)).collect()
}

/// A word without what is joined to it at will: `Abdulrahman` is `Rahman`, `Alqahtani` is `Qahtani`.
fn stem(word: &Word) -> &str {
    let (word, is_abjad) = (word.sound.as_str(), word.is_abjad);
    if SERVANT.contains(&word) {
        return "ABD";
    }
    let is_vowel = |letter: char| "AEIOU".contains(letter);
    if let Some(rest) = word.strip_prefix("ABD").filter(|rest| rest.len() >= 4) {
        let rest = rest.trim_start_matches(is_vowel);
        if matches!(rest, "LA" | "LAH" | "LLA" | "LLAH") {
            return "ALLAH";
        }
        let rest = rest.strip_prefix(['L', 'H']).unwrap_or(rest);
        if rest.len() >= 3 {
            return rest;
        }
    }
    match word.strip_prefix("AL").or_else(|| word.strip_prefix("EL")) {
        // Joined in writing always; but for the name of God.
        Some(rest) if is_abjad && rest.len() >= 3 && rest != "LLH" && rest != "LH" => rest,
        // `Albert` loses its head too, and everywhere alike; `Ali` and `Ella` do not.
        Some(rest)
            if rest.len() >= 4
                && !rest.starts_with(|next| is_vowel(next) || "YL".contains(next)) =>
        {
            rest
        }
        _ => word,
    }
}

impl Part {
    fn new(stem: &str, is_abjad: bool) -> Self {
        if is_mohammed(stem) {
            // The most frequent of all names, in dozens of spellings, tells little.
            return Self { loose: "MMT".to_owned(), tight: "MMT".to_owned(), weight: 3 };
        }
        let sounds = sounds(stem.as_bytes());
        let (loose, tight) = (loose(&sounds), tight(&sounds));
        let weight = if is_abjad { 2 * loose.len() } else { tight.len() };
        Self { loose, tight, weight }
    }
}

fn is_mohammed(word: &str) -> bool {
    if matches!(word, "MD" | "MHD" | "MOH" | "MOHD" | "MUHD") {
        return true;
    }
    let consonants: String = word.chars().filter(|letter| !"AEIOU".contains(*letter)).collect();
    let rest = consonants.strip_prefix('M').map(|rest| rest.trim_start_matches(['C', 'K']));
    let rest = rest
        .and_then(|rest| rest.strip_prefix('H'))
        .map(|rest| (rest, rest.trim_start_matches('M')));
    rest.is_some_and(|(all, rest)| {
        rest.len() < all.len() && matches!(rest, "D" | "T" | "DD" | "TT" | "DT")
    })
}

/// Sounds of letters and of sequences of letters, longest first.
const SEQUENCES: &[(&str, &str)] = &[
    ("SCHTSCH", "S"),
    ("SHTSH", "S"),
    ("SHTCH", "S"),
    ("SHCH", "S"),
    ("TSCH", "S"),
    ("TCH", "S"),
    ("TSH", "S"),
    ("SCH", "S"),
    ("DZH", "J"),
    ("SH", "S"),
    ("SZ", "S"),
    ("CZ", "S"),
    ("CH", "S"),
    ("TS", "S"),
    ("TZ", "S"),
    ("DJ", "J"),
    ("DZ", "J"),
    ("ZH", "J"),
    ("KH", "K"),
    ("GH", "K"),
    ("CK", "K"),
    ("PH", "F"),
    ("DH", "T"),
    ("TH", "T"),
    ("CE", "SA"),
    ("CI", "SA"),
    ("CY", "SA"),
];

/// One byte a sound: A for vowels, W for V and W, H, and classes of consonants.
fn sounds(mut word: &[u8]) -> Vec<u8> {
    let mut sounds = Vec::with_capacity(word.len());
    while let Some((&first, rest)) = word.split_first() {
        if let Some((letters, sound)) =
            SEQUENCES.iter().find(|(letters, _)| word.starts_with(letters.as_bytes()))
        {
            sounds.extend_from_slice(sound.as_bytes());
            word = &word[letters.len()..];
            continue;
        }
        match first {
            b'A' | b'E' | b'I' | b'O' | b'U' | b'Y' => sounds.push(b'A'),
            b'V' | b'W' => sounds.push(b'W'),
            b'C' | b'G' | b'K' | b'Q' => sounds.push(b'K'),
            b'X' => sounds.extend_from_slice(b"KS"),
            b'D' | b'T' => sounds.push(b'T'),
            b'S' | b'Z' => sounds.push(b'S'),
            b'B' | b'P' => sounds.push(b'P'),
            other => sounds.push(other),
        }
        word = rest;
    }
    sounds
}

fn loose(sounds: &[u8]) -> String {
    let voiced = sounds.iter().copied().filter(|sound| *sound != b'W');
    code(&voiced.collect::<Vec<_>>(), |sound| !matches!(sound, b'A' | b'H'))
}

fn tight(sounds: &[u8]) -> String {
    let mut voiced = Vec::with_capacity(sounds.len());
    for (place, sound) in sounds.iter().enumerate() {
        match sound {
            b'W' => voiced.push(b'F'),
            // Written or not where it is not followed by a vowel: Fatima, Fatimah.
            b'H' if sounds.get(place + 1) != Some(&b'A') => {}
            other => voiced.push(*other),
        }
    }
    code(&voiced, |_| true)
}

/// The code of sounds: A for what vowels it begins with, then those kept, runs of one as one.
fn code(sounds: &[u8], keep: impl Fn(u8) -> bool) -> String {
    let head = sounds.iter().take_while(|sound| matches!(sound, b'A' | b'H')).count();
    let mut code = String::with_capacity(sounds.len());
    if head > 0 {
        code.push('A');
    }
    for sound in sounds[head..].iter().filter(|sound| keep(**sound)) {
        let sound = char::from(*sound);
        if !code.ends_with(sound) {
            code.push(sound);
        }
    }
    // Nothing but V and W.
    if code.is_empty() { "A".to_owned() } else { code }
}

#[cfg(test)]
mod tests {
    use super::super::translit::words;
    use super::*;

    fn codes(name: &str) -> Vec<(String, String)> {
        let parts = parts(&words(name).unwrap());
        parts.into_iter().map(|part| (part.loose, part.tight)).collect()
    }

    fn loose_codes(name: &str) -> Vec<String> {
        codes(name).into_iter().map(|(loose, _)| loose).collect()
    }

    #[test]
    fn romanisations_of_one_name_agree() {
        for spellings in [
            &["Qasim", "Kassem", "Gassim", "Al-Qassem", "ALQASIM"][..],
            &["Yusuf", "Youssef", "Iousef", "Yousif"],
            &["Tchernov", "Chernov", "Tschernow", "Чернов"],
            &["Mohammed", "Muhammad", "Mochammad", "Mehmet", "Mohd", "محمد"],
            &["Abdulrahman Musa", "Abd al-Rahman Mousa", "Abderrahmane Moussa", "عبد الرحمن موسى"],
            &["Abdullah", "Abdalla", "Abdallah"],
            &["Zhukov", "Joukov", "Dzhukow", "Жуков"],
            &["Khalid", "Khaled", "Kalid", "خالد"],
            &["Fatima", "Fatimah", "Fathima", "فاطمة"],
            &["Al-Ahmad", "الأحمد"],
        ] {
            let first = loose_codes(spellings[0]);
            for other in spellings {
                assert_eq!(loose_codes(other), first, "{other}");
            }
        }
    }

    #[test]
    fn the_tight_code_keeps_vowels_apart() {
        assert_eq!(codes("Ramirez"), [("RMRS".to_owned(), "RAMARAS".to_owned())]);
        assert_eq!(codes("Vahid"), [("AT".to_owned(), "FAHAT".to_owned())]);
        assert_eq!(codes("Wu"), [("A".to_owned(), "FA".to_owned())]);
        assert_ne!(codes("Maria")[0].1, codes("Mar")[0].1);
    }

    #[test]
    fn particles_and_titles_go_where_names_remain() {
        assert_eq!(loose_codes("Abu Bakr al-Baghdadi"), ["PKR", "PKT"]);
        assert_eq!(loose_codes("Haji Ibrahim").len(), 2);
        assert_eq!(loose_codes("Abdul Jabbar").len(), 2);
        assert_eq!(loose_codes("Ludwig van Beethoven").len(), 2);
        assert_eq!(loose_codes("V. A. Boyarkin").len(), 1);
        assert_eq!(loose_codes("De La"), ["T", "L"]);
    }
}
