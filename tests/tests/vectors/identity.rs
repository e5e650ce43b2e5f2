use lanyard_core::identity::{
    BirthDate, BirthDates, Document, DocumentKind, Facts, IdentityKey, Mrz, Name, is_standard, transliterate,
};
use lanyard_core::ids::Timestamp;
use serde_json::{Value, json};

use crate::format::{Cases, FileOf, Input, Outcome, hexed, run};

pub(crate) const FILE: FileOf = FileOf {
    description: "Identity keys: transliteration (ICAO Doc 9303-3; other scripts by the tables of any_ascii 0.3.3), names, \
        birth dates, documents, machine-readable zones, and the bytes that the pseudonym function is evaluated on: version 2, \
        event, kind and fields, each length-prefixed (u32, big-endian). Keys of a person in the order in which they are given; \
        those of a list's entry in hexadecimal order, variants only as many as there are.",
    shared: || json!({ "event": "games-2028" }),
    cases,
    run: operate,
};

fn operate(operation: &str, input: &Input<'_>) -> Outcome {
    match operation {
        "transliterate" => run(transliterate(input.text("text"))).map(|latin| json!(latin)),
        "name" => run(Name::parse(input.text("text"))).map(|name| json!(name.as_str())),
        "birth-date" => run(BirthDate::parse(input.text("text"))).map(|date| {
            json!({ "year": date.year(), "month": date.month(), "day": date.day() })
        }),
        "is-standard" => Ok(json!(is_standard(input.text("text")))),
        "birth-dates" => run(BirthDates::parse(input.text("text"))).map(|dates| json!(dates.to_string())),
        "mrz" => run(Mrz::parse(input.text("text"), NOW)).map(|zone| {
            let document = zone.document();
            json!({
                "kind": document.kind().name(), "issuer": document.issuer(), "number": document.number(),
                "surname": zone.surname(), "given_names": zone.given_names(), "nationality": zone.nationality(),
                "birth_date": zone.birth_date().map(|date| date.to_string()),
            })
        }),
        "person-keys" => facts(input).map(|facts| hexes(&facts.person_keys(&input.event()))),
        "entry-keys" => facts(input).map(|facts| {
            let mut keys = facts.entry_keys(&input.event());
            keys.sort_by(|one, two| one.as_bytes().cmp(two.as_bytes()));
            hexes(&keys)
        }),
        "document" => document(input).map(|document| {
            json!({ "kind": document.kind().name(), "issuer": document.issuer(), "number": document.number() })
        }),
        "document-key" => {
            let key = IdentityKey::document(&input.event(), &document(input)?);
            Ok(hexed(key.as_bytes()))
        }
        "name-birth-date-key" => {
            let name = run(Name::parse(input.text("name")))?;
            let date = run(BirthDate::parse(input.text("birth_date")))?;
            Ok(hexed(IdentityKey::name_and_birth_date(&input.event(), &name, date).as_bytes()))
        }
        other => panic!("no operation {other}"),
    }
}

/// 2026-07-02: birth dates lie before it.
const NOW: Timestamp = Timestamp::from_seconds(1_782_950_400);

fn facts(input: &Input<'_>) -> Result<Facts, String> {
    Ok(Facts {
        names: vec![run(Name::parse(input.text("name")))?],
        birth_dates: run(BirthDates::parse(input.text("birth_dates")))?,
        documents: Vec::new(),
    })
}

fn hexes(keys: &[IdentityKey]) -> Value {
    keys.iter().map(|key| hexed(key.as_bytes())).collect()
}

fn document(input: &Input<'_>) -> Result<Document, String> {
    let kind = run(DocumentKind::parse(input.text("kind")))?;
    run(Document::new(kind, input.text("issuer"), input.text("number")))
}

fn cases(cases: &mut Cases) {
    let text = |text: &str| json!({ "text": text });
    for (name, description, given) in [
        ("umlauts", "Two letters each", "Jörg Müller-Bär"),
        ("sharp-s", "SS, also as a capital", "Weiß STRAẞE"),
        ("nordic", "Å is AA, Æ is AE, Ø is OE", "Åse Ærø Ødegård"),
        ("icelandic", "Þ is TH, Ð is D", "Þórður Guðrún"),
        ("spanish", "Ñ is N in its first listed form", "Íñigo Núñez"),
        ("polish", "Strokes and tails are dropped", "Łukasz Żółć"),
        ("turkish", "The dotless i is I", "Işıl Çağrı Şükrü"),
        ("vietnamese", "Two marks on one letter", "Nguyễn Thị Hồng"),
        ("decomposed", "Letters followed by combining marks read as composed ones", "Mu\u{308}ller A\u{30a}se"),
        ("apostrophes", "Omitted, whichever is used", "O’Brien D'Arcy Qur`an"),
        ("hyphens-and-spaces", "Become one space", "  Jean--Luc \t de\u{a0}la  Cruz "),
        ("comma", "Becomes a space", "Smith, John"),
        ("ligature", "Taken apart", "ﬁona Ĳsbrand Œuvre"),
        ("full-width", "Read as the letters they are", "Ｙａｍａｄａ"),
        ("cyrillic", "Table B of the standard", "Владимир Щёлоков"),
        ("arabic", "Table C of the standard; vowel signs are left out", "مُحَمَّد فاطمة"),
        ("lookalike", "One Cyrillic letter among Latin ones reads as what it looks like", "J\u{430}ne"),
        ("greek", "By the library, but for the one sequence ου", "Νίκος Παπαδόπουλος"),
        ("georgian", "By the library", "გიორგი"),
        ("devanagari", "By the library", "ललिता शर्मा"),
        ("thai", "By the library", "พชรภรณ์"),
        ("hangul", "By the library; the surname is the first syllable", "김민준"),
        ("han", "By the library; the surname is the first character", "王小明"),
        ("invisible", "Joiners and directions are omitted", "Ali\u{200d}\u{202b}ce"),
    ] {
        cases.good(&format!("transliterate-{name}"), description, "transliterate", text(given));
    }
    for (name, description, given, kind) in [
        ("cuneiform", "A script that no table has", "\u{12000}", "unsupported-script"),
        ("digit", "No digit is part of a name", "R2 D2", "unsupported-character"),
        ("symbol", "Nor is a symbol", "A@B", "unsupported-character"),
        ("empty", "Nothing", "", "empty"),
        ("only-punctuation", "Nothing but punctuation", " -' ", "empty"),
    ] {
        let name = format!("transliterate-refuses-{name}");
        cases.bad(&name, description, "transliterate", text(given), kind);
    }
    let long = "a".repeat(257);
    let description = "257 characters";
    cases.bad("transliterate-refuses-too-long", description, "transliterate", text(&long), "too-long");

    for (name, given) in [("latin", "Müller"), ("cyrillic", "Иван"), ("arabic", "حسین"), ("han", "王伟")] {
        let description = "Whether ICAO Doc 9303-3 has the script";
        cases.good(&format!("is-standard-{name}"), description, "is-standard", text(given));
    }
    names_and_dates(cases);
    zones(cases);
    documents(cases);
    keys(cases);
}

fn names_and_dates(cases: &mut Cases) {
    let text = |text: &str| json!({ "text": text });
    cases.good("name-given-first", "Parts in alphabetical order", "name", text("Zoë van der Berg"));
    cases.good("name-surname-first", "The same name", "name", text("VAN DER BERG, Zoë"));
    cases.good("birth-date-leap-day", "2000 is a leap year", "birth-date", text("2000-02-29"));
    let notation = "1964-08-12; 1964-08;1964 ; circa 1962; 1960/1965; 1964";
    cases.good("birth-dates-all-forms", "Each once, in their order", "birth-dates", text(notation));
    for (name, given, kind) in [
        ("words", "about 1962", "birth-date-form"),
        ("backwards", "1965/1960", "birth-date-range"),
        ("long-range", "1960/1981", "birth-date-range"),
        ("calendar", "1964; 1964-02-30", "birth-date-calendar"),
    ] {
        let name = format!("birth-dates-refuse-{name}");
        cases.bad(&name, "Not in the notation", "birth-dates", text(given), kind);
    }
    for (name, given, kind) in [
        ("no-leap-day", "1900-02-29", "birth-date-calendar"),
        ("thirteenth-month", "1990-13-01", "birth-date-calendar"),
        ("day-zero", "1990-01-00", "birth-date-calendar"),
        ("before-1850", "1849-12-31", "birth-date-calendar"),
        ("day-first", "14-07-1990", "birth-date-form"),
        ("partial", "1990-07", "birth-date-form"),
        ("spaces", " 1990-07-14", "birth-date-form"),
        ("signed", "+990-07-14", "birth-date-form"),
    ] {
        let name = format!("birth-date-refuses-{name}");
        cases.bad(&name, "Not a full date of the calendar as YYYY-MM-DD", "birth-date", text(given), kind);
    }
}

fn zones(cases: &mut Cases) {
    const PASSPORT: &str = "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10";
    const CARD: &str = "I<UTOD23145890<7349<<<<<<<<<<<\n3407127M9507122UTO<<<<<<<<<<<2\nSTEVENSON<<PETER<JOHN<<<<<<<<<";
    const TD2: &str = "I<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<\nD231458907UTO7408122F1204159<<<<<<<6";
    let text = |text: &str| json!({ "text": text });
    for (name, description, given) in [
        ("td3", "A passport, the standard's specimen", PASSPORT.to_owned()),
        ("td2", "A card of two lines, the standard's specimen", TD2.to_owned()),
        ("td1-long-number", "A card whose number goes on in the optional data", CARD.to_owned()),
        ("one-line", "Without line ends, in small letters", PASSPORT.replace('\n', "").to_lowercase()),
    ] {
        cases.good(&format!("mrz-{name}"), description, "mrz", text(&given));
    }
    for (name, given, kind) in [
        ("number", PASSPORT.replace("L898902C3", "L898902C4"), "check-digit"),
        ("birth-date", PASSPORT.replace("740812", "740813"), "check-digit"),
        ("composite", PASSPORT.replace("<<<<<10", "<<<<<11"), "check-digit"),
        ("visa", PASSPORT.replacen("P<", "V<", 1), "visa"),
        ("length", PASSPORT.replacen("P<", "P", 1), "length"),
        ("digit-in-name", PASSPORT.replacen("ANNA", "ANN4", 1), "character"),
    ] {
        cases.bad(&format!("mrz-refuses-{name}"), "Not a zone whose check digits hold", "mrz", text(&given), kind);
    }
}

fn documents(cases: &mut Cases) {
    let document = |kind: &str, issuer: &str, number: &str| json!({ "kind": kind, "issuer": issuer, "number": number });
    for (name, description, given) in [
        ("separators", "Dropped from the number", document("passport", "CHE", " x 123-4567<")),
        ("alpha-2", "An issuer of two letters becomes three", document("passport", "ch", "X1234567")),
        ("country-name", "A state's name becomes its code", document("national-id", "Switzerland", "X1234567")),
        ("reordered-name", "In whatever order lists write it", document("passport", "Korea, Republic of", "M1")),
        ("unknown-issuer", "Kept, transliterated", document("other", "Föderation X", "A/1")),
        ("residence", "A residence permit", document("residence", "FRA", "77.1")),
    ] {
        cases.good(&format!("document-{name}"), description, "document", given);
    }
    for (name, description, given, kind) in [
        ("unknown-kind", "No such kind", document("visa", "CHE", "1"), "document-kind"),
        ("empty-issuer", "No issuer", document("passport", " ", "1"), "empty"),
        ("empty-number", "Nothing but separators", document("passport", "CHE", "--"), "empty"),
        ("lookalike-number", "A Cyrillic letter in the number", document("passport", "CHE", "\u{410}1"), "document-number"),
        ("accented-number", "A letter other than A to Z", document("passport", "CHE", "É1"), "document-number"),
        ("long-number", "65 characters", document("passport", "CHE", &"1".repeat(65)), "too-long"),
        ("long-issuer", "65 characters", document("passport", &"a".repeat(65), "1"), "too-long"),
    ] {
        cases.bad(&format!("document-refuses-{name}"), description, "document", given, kind);
    }
}

fn keys(cases: &mut Cases) {
    let passport = json!({ "kind": "passport", "issuer": "CHE", "number": "X1234567" });
    let of = |event: &str, key: &Value| crate::format::with(key, json!({ "event": event }));
    cases.good("key-of-a-passport", "Kind 1, then type, issuer, number", "document-key", passport.clone());
    let other = of("games-2032", &passport);
    cases.good("key-of-another-event", "The event is part of it", "document-key", other);
    let card = json!({ "kind": "national-id", "issuer": "CHE", "number": "X1234567" });
    cases.good("key-of-a-national-id", "Another type, another key", "document-key", card);
    for (name, given, dates) in [
        ("full-date", "Juan Carlos Ejemplo Modelo", "1970-12-03"),
        ("year-only", "Viktor Primerov", "1970"),
        ("no-date", "Juan Carlos Ejemplo Modelo", ""),
        ("one-part", "Suharto", "1970-12-03"),
        ("arabic", "محمد المثال النموذجي", "1970-12-03"),
        ("particles", "Abd al-Rahman bin Yusuf al-Mithali", "1970-12-03"),
    ] {
        let given = json!({ "name": given, "birth_dates": dates });
        let description = "Name with birth date, then variants, the most telling first";
        cases.good(&format!("person-{name}"), description, "person-keys", given);
    }
    for (name, given, dates) in [
        ("full-date", "EJEMPLO, Juan", "1970-12-03"),
        ("circa", "PRIMEROV, Viktor", "circa 1970"),
        ("no-date", "EJEMPLO MODELO, Juan Carlos", ""),
    ] {
        let given = json!({ "name": given, "birth_dates": dates });
        cases.good(&format!("entry-{name}"), "Every key of an entry", "entry-keys", given);
    }
    let person = json!({ "name": "Müller, Zoë", "birth_date": "1990-07-14" });
    cases.good("key-of-name-and-date", "Kind 2, then name, date", "name-birth-date-key", person);
}
