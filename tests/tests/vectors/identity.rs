use lanyard_core::identity::{
    BirthDate, Document, DocumentKind, IdentityKey, Name, transliterate,
};
use serde_json::{Value, json};

use crate::format::{Cases, FileOf, Input, Outcome, hexed, run};

pub(crate) const FILE: FileOf = FileOf {
    description: "Identity keys: transliteration (ICAO Doc 9303-3), names, birth dates, documents, and the bytes that the \
        pseudonym function is evaluated on: version 1, event, kind and fields, each length-prefixed (u32, big-endian).",
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
        ("invisible", "Joiners and directions are omitted", "Ali\u{200d}\u{202b}ce"),
    ] {
        cases.good(&format!("transliterate-{name}"), description, "transliterate", text(given));
    }
    for (name, description, given, kind) in [
        ("cyrillic", "Another script", "Иван", "unsupported-script"),
        ("greek", "Another script", "Νίκος", "unsupported-script"),
        ("arabic", "Another script", "محمد", "unsupported-script"),
        ("han", "Another script", "王伟", "unsupported-script"),
        ("lookalike", "One Cyrillic letter among Latin ones", "J\u{430}ne", "unsupported-script"),
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

    names_and_dates(cases);
    documents(cases);
    keys(cases);
}

fn names_and_dates(cases: &mut Cases) {
    let text = |text: &str| json!({ "text": text });
    cases.good("name-given-first", "Parts in alphabetical order", "name", text("Zoë van der Berg"));
    cases.good("name-surname-first", "The same name", "name", text("VAN DER BERG, Zoë"));
    cases.good("birth-date-leap-day", "2000 is a leap year", "birth-date", text("2000-02-29"));
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
    let person = json!({ "name": "Müller, Zoë", "birth_date": "1990-07-14" });
    cases.good("key-of-name-and-date", "Kind 2, then name, date", "name-birth-date-key", person);
}
