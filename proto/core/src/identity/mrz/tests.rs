use proptest::prelude::*;

use super::*;

/// 2026-07-02.
const NOW: Timestamp = Timestamp::from_seconds(1_782_950_400);
/// Specimens printed in the standard's parts.
const PASSPORT: &str =
    "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10";
const TD2_CARD: &str = "I<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<\nD231458907UTO7408122F1204159<<<<<<<6";
const TD1_CARD: &str = "I<UTOD231458907<<<<<<<<<<<<<<<\n7408122F1204159UTO<<<<<<<<<<<6\nERIKSSON<<ANNA<MARIA<<<<<<<<<<";

fn read(text: &str) -> Result<Mrz, MrzError> {
    Mrz::parse(text, NOW)
}

/// The zone with the check digits of its fields and of the whole put right.
fn mended(lines: &[&str]) -> String {
    let mut text: Vec<u8> = lines.concat().into_bytes();
    let layout = match text.len() {
        90 => &TD1,
        72 => &TD2,
        _ => &TD3,
    };
    let at = |line: usize, place: usize| line * layout.width + place;
    let field = |text: &[u8], (line, first, length): Field| {
        String::from_utf8(text[at(line, first)..at(line, first) + length].to_vec()).unwrap()
    };
    for one in [layout.number, layout.birth_date, layout.expiry] {
        let digit = check_digit(&field(&text, one));
        text[at(one.0, one.1 + one.2)] = digit;
    }
    let covered: String = layout.composite.0.iter().map(|one| field(&text, *one)).collect();
    text[at(layout.composite.1.0, layout.composite.1.1)] = check_digit(&covered);
    String::from_utf8(text).unwrap()
}

#[test]
fn specimens_of_all_formats() {
    for (text, format, kind, number) in [
        (PASSPORT, MrzFormat::Td3, DocumentKind::Passport, "L898902C3"),
        (TD2_CARD, MrzFormat::Td2, DocumentKind::NationalId, "D23145890"),
        (TD1_CARD, MrzFormat::Td1, DocumentKind::NationalId, "D23145890"),
    ] {
        let mrz = read(text).unwrap();
        assert_eq!(mrz.format(), format);
        let document = mrz.document();
        assert_eq!((document.kind(), document.issuer(), document.number()), (kind, "UTO", number));
        assert_eq!((mrz.surname(), mrz.given_names()), ("ERIKSSON", "ANNA MARIA"));
        assert_eq!((mrz.full_name().as_str(), mrz.nationality()), ("ERIKSSON, ANNA MARIA", "UTO"));
        assert_eq!(mrz.birth_date().unwrap().to_string(), "1974-08-12");
        let scanned = text.to_lowercase().replace('\n', "\r\n ");
        assert_eq!(read(&scanned).unwrap(), mrz, "small letters and other line ends");
        assert_eq!(read(&text.replace('\n', "")).unwrap(), mrz, "one line");
    }
}

#[test]
fn a_wrong_check_digit_is_named_with_its_place() {
    let wrong = |text: &str, line: usize, character: usize, with: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines[line - 1].replace_range(character - 1..character, with);
        read(&lines.concat()).unwrap_err()
    };
    for (line, character, digit, field) in [
        (2, 1, 10, "document number"),
        (2, 15, 20, "birth date"),
        (2, 23, 28, "expiry date"),
        (2, 30, 43, "personal number"),
        (2, 44, 44, "whole zone"),
    ] {
        let expected = MrzError::CheckDigit { field, line, character: digit };
        assert_eq!(wrong(PASSPORT, line, character, "7"), expected);
    }
    let digit = |line, character, field| MrzError::CheckDigit { field, line, character };
    assert_eq!(wrong(TD1_CARD, 1, 7, "9"), digit(1, 15, "document number"));
    assert_eq!(wrong(TD1_CARD, 2, 20, "9"), digit(2, 30, "whole zone"));
    assert_eq!(wrong(TD2_CARD, 2, 30, "9"), digit(2, 36, "whole zone"));
}

#[test]
fn long_numbers_of_cards_go_on_in_the_optional_data() {
    // Of 9303-5: D23145890734, its check digit 9.
    let card = "I<UTOD23145890<7349<<<<<<<<<<<\n3407127M9507122UTO<<<<<<<<<<<2\nSTEVENSON<<PETER<JOHN<<<<<<<<<";
    let mrz = read(card).unwrap();
    assert_eq!(mrz.document().number(), "D23145890734");
    assert_eq!(mrz.birth_date().unwrap().to_string(), "1934-07-12");
    let broken = card.replace("7349<", "7348<");
    assert!(matches!(read(&broken), Err(MrzError::CheckDigit { line: 1, character: 19, .. })));
    let cut = card.replace("7349<", "<<<<<");
    assert!(matches!(read(&cut), Err(MrzError::CheckDigit { line: 1, character: 15, .. })));
}

#[test]
fn names_have_two_identifiers_or_one() {
    let named = |name: &str| {
        let first = format!("P<UTO{name:<<39}");
        let mrz = read(&format!("{first}{}", &PASSPORT[45..])).unwrap();
        (mrz.surname().to_owned(), mrz.given_names().to_owned(), mrz.full_name())
    };
    let (surname, given, full) = named("VAN<DER<MUELLEN<<JEAN<PIERRE");
    assert_eq!((surname.as_str(), given.as_str()), ("VAN DER MUELLEN", "JEAN PIERRE"));
    assert_eq!(full, "VAN DER MUELLEN, JEAN PIERRE");
    assert_eq!(named("ARKFREITH").2, "ARKFREITH");
    // Cut at the end of the line.
    assert_eq!(named("NILAVADHANANANDA<<CHAYAPA<DEJTHAMRONG<K").1, "CHAYAPA DEJTHAMRONG K");
}

#[test]
fn birth_dates_may_lack_parts_and_never_lie_ahead() {
    let born = |digits: &str| {
        let second = format!("L898902C36UTO{digits}2F1204159ZE184226B<<<<<10");
        read(&mended(&[PASSPORT.lines().next().unwrap(), &second]))
    };
    for (digits, date) in [
        ("260701", "2026-07-01"),
        ("260703", "1926-07-03"),
        ("00010<", ""),
        ("640800", "1964-08"),
        ("6408<<", "1964-08"),
        ("64<<<<", "1964"),
        ("000229", "2000-02-29"),
    ] {
        match born(digits) {
            Ok(mrz) => assert_eq!(mrz.birth_date().unwrap().to_string(), date),
            Err(error) => {
                let expected = "two digits or <<";
                assert_eq!(error, MrzError::Character { line: 2, character: 18, expected });
            }
        }
    }
    assert_eq!(born("<<<<<<").unwrap().birth_date(), None);
    assert_eq!(born("641301"), Err(MrzError::BirthDate));
    assert_eq!(born("640231"), Err(MrzError::BirthDate));
}

#[test]
fn kinds_follow_the_document_code() {
    for (code, kind) in [
        ("P<", DocumentKind::Passport),
        ("PD", DocumentKind::Passport),
        ("IR", DocumentKind::Residence),
        ("AR", DocumentKind::Residence),
        ("ID", DocumentKind::NationalId),
        ("AC", DocumentKind::Other),
        ("XX", DocumentKind::Other),
    ] {
        let card = TD1_CARD.replacen("I<", code, 1);
        assert_eq!(read(&card).unwrap().document().kind(), kind, "{code}");
    }
    assert_eq!(read(&PASSPORT.replacen("P<", "V<", 1)), Err(MrzError::Visa));
}

#[test]
fn other_text_is_refused_by_place_and_never_repeated() {
    assert_eq!(read(&PASSPORT[1..]), Err(MrzError::Length { found: 87 }));
    assert_eq!(read(""), Err(MrzError::Length { found: 0 }));
    let error = read(&PASSPORT.replacen("ERIKSSON", "ERIKSSÖN", 1)).unwrap_err();
    assert!(matches!(error, MrzError::Character { line: 1, character: 12, .. }));
    assert!(!error.to_string().contains("ERIK"));
    let error = read(&PASSPORT.replacen("ANNA", "ANN4", 1)).unwrap_err();
    assert!(matches!(error, MrzError::Character { line: 1, character: 19, .. }), "{error}");
    assert_eq!(format!("{:?}", read(PASSPORT).unwrap()), "Mrz(Td3, …)");
}

proptest! {
    #[test]
    fn one_changed_character_of_a_checked_field_shows(place in 0usize..43, to in "[A-Z0-9<]") {
        let (first, second) = PASSPORT.split_once('\n').unwrap();
        // Nationality and sex are under no check digit; a personal number's digit may be left out.
        prop_assume!(!(10..13).contains(&place) && place != 20);
        let mut changed = second.to_owned();
        changed.replace_range(place..=place, &to);
        // The check digits are modulo 10: K is as 0 is.
        let value = |text: &str| check_digit(&text[place..=place]);
        prop_assume!(value(&changed) != value(second));
        prop_assert!(read(&[first, &changed].concat()).is_err());
    }

    #[test]
    fn no_input_makes_it_panic(text in "[A-Z0-9<]{90}|[A-Z0-9<]{72}|[A-Z0-9<]{88}|\\PC{0,90}") {
        let _ = read(&text);
    }
}
