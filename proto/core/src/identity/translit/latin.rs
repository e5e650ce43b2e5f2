//! Latin letters (ICAO Doc 9303-3, section 6, table A).

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::{compose, is_combining_mark};

use super::{Problem, library, punctuation};

/// Whether a character is of the script, in any of its forms.
pub(super) fn is_latin(character: char) -> bool {
    // Letters between the ranges are spacing modifiers, which punctuation takes, or of other scripts.
    matches!(character,
        'A'..='Z' | 'a'..='z' | '\u{aa}' | '\u{ba}' | '\u{c0}'..='\u{24f}' | '\u{250}'..='\u{2b8}' | '\u{1d00}'..='\u{1dbf}'
        | '\u{1e00}'..='\u{1eff}' | '\u{212a}' | '\u{212b}' | '\u{2c60}'..='\u{2c7f}' | '\u{a722}'..='\u{a7ff}'
        | '\u{ab30}'..='\u{ab6f}' | '\u{fb00}'..='\u{fb06}' | '\u{ff21}'..='\u{ff5a}')
}

/// Writes one letter with its marks; capitalising and decomposing may make several of it.
pub(super) fn letters(cluster: &str, output: &mut String) -> Result<(), Problem> {
    let decomposed: Vec<char> = cluster.nfc().flat_map(char::to_uppercase).nfd().collect();
    let mut rest = decomposed.as_slice();
    while let Some((&base, tail)) = rest.split_first() {
        let marks = tail.iter().take_while(|next| is_combining_mark(**next)).count();
        let (marks, next) = tail.split_at(marks);
        letter(base, marks, output)?;
        rest = next;
    }
    Ok(())
}

/// Writes one capital letter: with the mark under which the table lists it, else without marks, else in parts.
fn letter(base: char, marks: &[char], output: &mut String) -> Result<(), Problem> {
    let listed = marks.iter().find_map(|mark| compose(base, *mark).and_then(table));
    if let Some(latin) = listed.or_else(|| table(base)) {
        output.push_str(latin);
        return Ok(());
    }
    if base.is_ascii_uppercase() {
        output.push(base);
        return Ok(());
    }
    // ŉ capitalises to an apostrophe and N.
    if punctuation(base).is_some() {
        return Ok(());
    }
    if !base.is_alphabetic() {
        return Err(Problem::Character);
    }
    // Ligatures, full-width and other compatibility forms.
    for part in std::iter::once(base).nfkd().filter(|part| !is_combining_mark(*part)) {
        match part {
            'A'..='Z' | 'a'..='z' => {
                output.push(part.to_ascii_uppercase());
            }
            part if punctuation(part).is_some() => {}
            _ => library(part, output)?,
        }
    }
    Ok(())
}

/// Capitals that do not simply lose their marks. All other letters of table A do.
const fn table(capital: char) -> Option<&'static str> {
    Some(match capital {
        'Ä' | 'Æ' => "AE",
        'Å' => "AA",
        'Ð' | 'Đ' => "D",
        'Ħ' => "H",
        'Ĳ' => "IJ",
        'Ŀ' | 'Ł' => "L",
        'Ŋ' => "N",
        'Ö' | 'Ø' | 'Œ' => "OE",
        'ẞ' => "SS",
        'Þ' => "TH",
        'Ŧ' => "T",
        'Ü' => "UE",
        // Not in table A and without a decomposition: as passports of Azerbaijan write it, then the letter underneath.
        'Ə' => "A",
        'Ɓ' => "B",
        'Ɖ' | 'Ɗ' => "D",
        'Ɛ' => "E",
        'Ǥ' | 'Ɣ' => "G",
        'Ɨ' => "I",
        'Ƙ' => "K",
        'Ɔ' => "O",
        'ĸ' => "Q",
        'Ʉ' => "U",
        'Ʋ' => "V",
        'Ƴ' => "Y",
        'Ƶ' => "Z",
        _ => return None,
    })
}
