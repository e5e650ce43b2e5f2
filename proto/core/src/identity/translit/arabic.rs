//! Arabic letters (ICAO Doc 9303-3, section 6, table C), and how they sound.
//!
//! The standard's transliteration keeps every letter apart by sequences with X. No romanised name looks like it: passports
//! carry a transcription instead. So letters also have a sound, which variants of names are made of.

/// A letter as the standard writes it, and its sound as romanised names write it.
pub(super) struct Letter {
    pub(super) standard: &'static str,
    pub(super) sound: &'static str,
}

/// Doubles the letter before it.
pub(super) const SHADDA: char = '\u{651}';
const WAW: char = 'و';
const TEH_MARBUTA: char = 'ة';

/// Whether a character is of the script's blocks.
pub(super) const fn is_arabic(character: char) -> bool {
    matches!(character, '\u{600}'..='\u{6ff}' | '\u{750}'..='\u{77f}' | '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}')
}

/// Vowel signs and other marks, the letter-stretching tatweel and the superscript alef: not written in passports.
pub(super) const fn is_omitted(character: char) -> bool {
    matches!(character, '\u{610}'..='\u{61a}' | '\u{640}' | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6ed}')
}

/// A letter between its neighbours in the word.
pub(super) fn letter(before: Option<char>, letter: char, after: Option<char>) -> Option<Letter> {
    let found = |standard, sound| Some(Letter { standard, sound });
    match letter {
        // At the end of a part it is XAH (note to the table), and sounds as a vowel.
        TEH_MARBUTA if after.is_none() => found("XAH", "A"),
        TEH_MARBUTA => found("XTA", "T"),
        // A consonant at the start and before a vowel, as in Walid and Musavi, else a long vowel, as in Nuri.
        WAW if before.is_none() || after.is_some_and(is_vowel) => found("W", "W"),
        WAW => found("W", "U"),
        _ => table(letter).and_then(|(standard, sound)| found(standard, sound)),
    }
}

const fn is_vowel(letter: char) -> bool {
    matches!(letter, 'ا' | 'آ' | 'أ' | 'إ' | 'ي' | 'ی' | 'ى')
}

const fn table(letter: char) -> Option<(&'static str, &'static str)> {
    Some(match letter {
        'ء' => ("XE", ""),
        'آ' => ("XAA", "A"),
        'أ' => ("XAE", "A"),
        'ؤ' => ("U", "U"),
        'إ' => ("I", "I"),
        'ئ' => ("XI", "I"),
        'ا' => ("A", "A"),
        'ب' => ("B", "B"),
        'ت' => ("T", "T"),
        'ث' => ("XTH", "TH"),
        'ج' => ("J", "J"),
        'ح' => ("XH", "H"),
        'خ' => ("XKH", "KH"),
        'د' => ("D", "D"),
        'ذ' => ("XDH", "DH"),
        'ر' => ("R", "R"),
        'ز' => ("Z", "Z"),
        'س' => ("S", "S"),
        'ش' => ("XSH", "SH"),
        'ص' => ("XSS", "S"),
        'ض' => ("XDZ", "D"),
        'ط' => ("XTT", "T"),
        'ظ' => ("XZZ", "Z"),
        'ع' => ("E", "A"),
        'غ' => ("G", "GH"),
        'ف' => ("F", "F"),
        'ق' => ("Q", "Q"),
        'ك' => ("K", "K"),
        'ل' => ("L", "L"),
        'م' => ("M", "M"),
        'ن' => ("N", "N"),
        'ه' => ("H", "H"),
        'ى' => ("XAY", "A"),
        'ي' => ("Y", "I"),
        'ٱ' => ("XXA", "A"),
        'ٹ' => ("XXT", "T"),
        'ټ' => ("XRT", "T"),
        'پ' => ("P", "P"),
        'ځ' => ("XKE", "Z"),
        'څ' => ("XXH", "TS"),
        'چ' => ("XC", "CH"),
        'ڈ' => ("XXD", "D"),
        'ډ' => ("XDR", "D"),
        'ڑ' => ("XXR", "R"),
        'ړ' => ("XRR", "R"),
        'ږ' => ("XRX", "ZH"),
        'ژ' => ("XJ", "ZH"),
        'ښ' => ("XXS", "SH"),
        'ک' => ("XKK", "K"),
        'ګ' => ("XXK", "G"),
        'ڭ' => ("XNG", "NG"),
        'گ' => ("XGG", "G"),
        'ں' => ("XNN", "N"),
        'ڼ' => ("XXN", "N"),
        'ھ' => ("XDO", "H"),
        'ۀ' => ("XYH", "A"),
        'ہ' => ("XXG", "H"),
        'ۂ' => ("XGE", "H"),
        'ۃ' => ("XTG", "A"),
        'ی' => ("XYA", "I"),
        'ۍ' => ("XXY", "I"),
        'ې' => ("Y", "I"),
        'ے' => ("XYB", "I"),
        'ۓ' => ("XBE", "I"),
        _ => return None,
    })
}
