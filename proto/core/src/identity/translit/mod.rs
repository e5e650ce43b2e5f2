//! Names in Latin letters: as machine-readable travel documents write them (ICAO Doc 9303-3, section 6) where the standard
//! has the script, which is Latin, Cyrillic and Arabic, and by the tables of the `any_ascii` crate elsewhere.

mod arabic;
mod cyrillic;
mod latin;
#[cfg(test)]
mod tests;

use any_ascii::any_ascii_char;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use super::IdentityError;

/// The longest name in characters.
const LIMIT: usize = 256;

/// Transliterates a name to `A` to `Z` and single spaces.
///
/// Latin, Cyrillic and Arabic letters become what ICAO Doc 9303-3 prescribes, in their first listed form (Ä is AE, Ø is OE,
/// Г is G, ظ is XZZ); Latin letters that it does not list lose their diacritics. Letters of other scripts become what the
/// tables of `any_ascii` give, letter by letter; [`is_standard`] tells them apart. Apostrophes are omitted; hyphens, commas
/// and other punctuation of names become spaces. Composed and decomposed input give the same.
///
/// # Errors
/// [`IdentityError::UnsupportedScript`] for a letter that no table has, [`IdentityError::UnsupportedCharacter`] for digits
/// and symbols, [`IdentityError::Empty`] or [`IdentityError::TooLong`]. The error never repeats the name.
pub fn transliterate(text: &str) -> Result<String, IdentityError> {
    let words = words(text)?;
    Ok(words.iter().map(|word| word.latin.as_str()).collect::<Vec<_>>().join(" "))
}

/// Whether ICAO Doc 9303-3 has all scripts of a name. If not, its Latin letters are a library's, and the Latin name of a
/// travel document is worth more.
#[must_use]
pub fn is_standard(text: &str) -> bool {
    let is_other = |one: char| one.is_alphabetic() && Script::of(one) == Script::Other;
    !text.chars().any(|one| punctuation(one).is_none() && is_other(one))
}

/// The place of the first letter that is not Latin.
pub(super) fn first_foreign(text: &str) -> Option<usize> {
    let is_foreign =
        |one: char| one.is_alphabetic() && punctuation(one).is_none() && !latin::is_latin(one);
    text.chars().position(is_foreign)
}

/// A word of a name.
pub(super) struct Word {
    /// As a travel document writes it.
    pub(super) latin: String,
    /// As romanised names sound; the same but for Arabic letters.
    pub(super) sound: String,
    /// Whether the script leaves short vowels unwritten.
    pub(super) is_abjad: bool,
}

/// The words of a name in their order, none empty.
pub(super) fn words(text: &str) -> Result<Vec<Word>, IdentityError> {
    if text.chars().nth(LIMIT).is_some() {
        return Err(IdentityError::TooLong { field: "name", limit: LIMIT });
    }
    let mut read = split_lone(clusters(text));
    read.retain(|word| !word.is_empty());
    let mut words = Vec::with_capacity(read.len());
    for clusters in &read {
        let word = word(clusters)?;
        if !word.latin.is_empty() {
            words.push(word);
        }
    }
    if words.is_empty() { Err(IdentityError::Empty { field: "name" }) } else { Ok(words) }
}

/// One letter with its marks, and its place in the text as given, so that an error can say where.
struct Cluster {
    index: usize,
    base: char,
    text: String,
}

/// The letters of each word; punctuation is gone.
fn clusters(text: &str) -> Vec<Vec<Cluster>> {
    let mut words = vec![Vec::new()];
    let mut characters = text.chars().enumerate().peekable();
    while let Some((index, first)) = characters.next() {
        let mut text = String::from(first);
        while let Some((_, mark)) = characters.next_if(|(_, next)| is_combining_mark(*next)) {
            text.push(mark);
        }
        let word = words.last_mut().expect("there is always one");
        match punctuation(first) {
            // Between other letters than Latin ones it separates names, as in Chinese.
            Some(Punctuation::MiddleDot)
                if word.last().is_none_or(|last: &Cluster| latin::is_latin(last.base)) => {}
            Some(Punctuation::Omitted) => {}
            Some(Punctuation::Space | Punctuation::MiddleDot) => words.push(Vec::new()),
            None => word.push(Cluster { index, base: first, text }),
        }
    }
    words
}

/// Chinese and Korean names are written without a space: the surname is the first character, or one of the surnames of two.
fn split_lone(mut words: Vec<Vec<Cluster>>) -> Vec<Vec<Cluster>> {
    const OF_TWO: [&str; 22] = [
        "欧阳", "歐陽", "司马", "司馬", "诸葛", "諸葛", "上官", "皇甫", "司徒", "东方", "東方",
        "夏侯", "尉迟", "尉遲", "公孙", "公孫", "慕容", "令狐", "남궁", "황보", "제갈", "선우",
    ];
    words.retain(|word| !word.is_empty());
    let [word] = words.as_mut_slice() else { return words };
    let is_east_asian = word.iter().all(|one| is_han_or_hangul(one.base));
    if !is_east_asian || !matches!(word.len(), 2..=4) {
        return words;
    }
    let first_two: String = word.iter().take(2).map(|one| one.base).collect();
    let surname = if word.len() > 2 && OF_TWO.contains(&first_two.as_str()) { 2 } else { 1 };
    let given = word.split_off(surname);
    words.push(given);
    words
}

const fn is_han_or_hangul(character: char) -> bool {
    matches!(character, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3134f}' | '\u{ac00}'..='\u{d7a3}')
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Script {
    Latin,
    Cyrillic,
    Arabic,
    Other,
}

impl Script {
    fn of(character: char) -> Self {
        if latin::is_latin(character) {
            Self::Latin
        } else if matches!(character, '\u{400}'..='\u{52f}') {
            Self::Cyrillic
        } else if arabic::is_arabic(character) {
            Self::Arabic
        } else {
            Self::Other
        }
    }
}

enum Problem {
    Script,
    Character,
}

impl Problem {
    const fn at(self, index: usize) -> IdentityError {
        match self {
            Self::Script => IdentityError::UnsupportedScript { index },
            Self::Character => IdentityError::UnsupportedCharacter { index },
        }
    }
}

fn word(clusters: &[Cluster]) -> Result<Word, IdentityError> {
    let mut word = Word { latin: String::new(), sound: String::new(), is_abjad: false };
    let mut place = 0;
    while let Some(cluster) = clusters.get(place) {
        let script = Script::of(cluster.base);
        let run = clusters[place..].iter().take_while(|one| Script::of(one.base) == script).count();
        let run = &clusters[place..place + run];
        place += run.len();
        if script == Script::Arabic {
            word.is_abjad = true;
            arabic_run(run, &mut word)?;
            continue;
        }
        let mut letters = String::new();
        for cluster in run {
            let written = match script {
                Script::Latin => latin::letters(&cluster.text, &mut letters),
                Script::Cyrillic => cyrillic_letter(cluster, &mut letters),
                _ => other_letter(cluster, &mut letters),
            };
            written.map_err(|problem| problem.at(cluster.index))?;
        }
        // Hebrew and Syriac.
        word.is_abjad |=
            run.iter().any(|one| matches!(one.base, '\u{5d0}'..='\u{5ea}' | '\u{700}'..='\u{74f}'));
        word.latin.push_str(&letters);
        word.sound.push_str(&letters);
    }
    Ok(word)
}

fn cyrillic_letter(cluster: &Cluster, output: &mut String) -> Result<(), Problem> {
    for capital in cluster.text.nfc().flat_map(char::to_uppercase) {
        if is_combining_mark(capital) {
            continue;
        }
        let base = std::iter::once(capital).nfd().next().unwrap_or(capital);
        match cyrillic::table(capital).or_else(|| cyrillic::table(base)) {
            Some(latin) => output.push_str(latin),
            None => library(capital, output)?,
        }
    }
    Ok(())
}

/// Letters of one word; each is written after what stands beside it.
fn arabic_run(run: &[Cluster], word: &mut Word) -> Result<(), IdentityError> {
    // Presentation forms become the letters that they present, with the place of the first of them.
    let mut letters: Vec<(usize, char)> = Vec::with_capacity(run.len());
    for cluster in run {
        let normal =
            cluster.text.nfkc().filter(|one| *one == arabic::SHADDA || !arabic::is_omitted(*one));
        letters.extend(normal.map(|letter| (cluster.index, letter)));
    }
    let beside = |place: Option<usize>| {
        let found = place.and_then(|place| letters.get(place)).map(|(_, letter)| *letter);
        found.filter(|letter| *letter != arabic::SHADDA)
    };
    let mut last = None;
    for (place, (index, letter)) in letters.iter().enumerate() {
        let found = match *letter {
            arabic::SHADDA => last.take(),
            letter => arabic::letter(beside(place.checked_sub(1)), letter, beside(Some(place + 1))),
        };
        if let Some(found) = found {
            word.latin.push_str(found.standard);
            word.sound.push_str(found.sound);
            last = Some(found);
        } else if *letter != arabic::SHADDA {
            let problem = |problem: Problem| problem.at(*index);
            if !letter.is_alphabetic() {
                return Err(problem(Problem::Character));
            }
            let mut latin = String::new();
            library(*letter, &mut latin).map_err(problem)?;
            word.latin.push_str(&latin);
            word.sound.push_str(&latin);
        }
    }
    Ok(())
}

fn other_letter(cluster: &Cluster, output: &mut String) -> Result<(), Problem> {
    let mut characters = cluster.text.nfc();
    let base = characters.next().unwrap_or(cluster.base);
    if !base.is_alphabetic() {
        return Err(Problem::Character);
    }
    if matches!(base, 'υ' | 'ύ' | 'Υ' | 'Ύ') && output.ends_with('O') {
        // The one sequence that every romanisation of Greek names writes as one sound.
        output.push('U');
        return Ok(());
    }
    library(base, output)?;
    for mark in characters {
        // Vowel signs are letters here; marks that the library does not know are none.
        let _ = library(mark, output);
    }
    Ok(())
}

/// The letters that the library gives for a character; nothing for one that it writes with punctuation, such as ayin.
fn library(character: char, output: &mut String) -> Result<(), Problem> {
    let latin = any_ascii_char(character);
    output.extend(
        latin.chars().filter(char::is_ascii_alphabetic).map(|one| one.to_ascii_uppercase()),
    );
    if latin.is_empty() && character.is_alphabetic() { Err(Problem::Script) } else { Ok(()) }
}

enum Punctuation {
    Omitted,
    MiddleDot,
    Space,
}

fn punctuation(character: char) -> Option<Punctuation> {
    match character {
        // Apostrophes and what stands for them, the ayns and hamzas of romanised names, Hebrew geresh.
        '\''
        | '‘'
        | '’'
        | '‛'
        | '`'
        | '´'
        | '′'
        | '＇'
        | '\u{2b9}'..='\u{2c1}'
        | '\u{2c8}'
        | '\u{2ee}'
        | '\u{5f3}'
        | '\u{5f4}' => Some(Punctuation::Omitted),
        '·' | '•' | '・' | '･' => Some(Punctuation::MiddleDot),
        // Diacritics that lost their letter.
        '^' | '¨' | '¯' | '¸' | '\u{2c6}' | '\u{2c7}' | '\u{2d8}'..='\u{2dd}' => {
            Some(Punctuation::Omitted)
        }
        // Invisible: soft hyphen, joiners, directions, byte order mark.
        '\u{ad}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => Some(Punctuation::Omitted),
        '-' | '\u{5be}' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe63}' | '\u{ff0d}' => {
            Some(Punctuation::Space)
        }
        ',' | '.' | ';' | ':' | '/' | '_' | '(' | ')' | '[' | ']' | '"' | '“' | '”' | '„' | '«'
        | '»' | '<' | '،' | '、' | '，' | '。' => Some(Punctuation::Space),
        _ if character.is_whitespace() => Some(Punctuation::Space),
        _ => None,
    }
}
