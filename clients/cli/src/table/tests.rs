//! Rosters and watchlists, in the own format and under mappings; the real files, if they lie beside the checkout.

use std::path::{Path, PathBuf};

use lanyard_core::ids::Timestamp;
use lanyard_core::profile::EventTimeZone;
use lanyard_env::Env;
use lanyard_wire::committee::v1::Person;
use lanyard_wire::police::v1::ListEntry;

use super::*;

/// 2026-07-02.
const NOW: Timestamp = Timestamp::from_seconds(1_782_950_400);

fn roster(text: &str, mapping: Option<&str>) -> Result<Read<Person>, MappingError> {
    let mapping =
        mapping.map(|text| Mapping::parse(Path::new("columns.toml"), text)).transpose()?;
    let (delimiter, header) =
        mapping.as_ref().map_or((',', true), |mapping| (mapping.delimiter, mapping.header));
    let sheet = Sheet::parse(Path::new("people.csv"), text.as_bytes(), delimiter, header)?;
    people(&sheet, mapping.as_ref(), &EventTimeZone::parse("Europe/Zurich").unwrap(), NOW)
}

fn list(text: &str, mapping: Option<&str>) -> Result<Read<ListEntry>, MappingError> {
    let mapping =
        mapping.map(|text| Mapping::parse(Path::new("columns.toml"), text)).transpose()?;
    let header = mapping.as_ref().is_none_or(|mapping| mapping.header);
    let sheet = Sheet::parse(Path::new("list.csv"), text.as_bytes(), ',', header)?;
    watchlist(&*Env::system().files, &sheet, mapping.as_ref(), None)
}

fn refused<T: std::fmt::Debug>(read: Result<T, MappingError>) -> String {
    read.unwrap_err().to_string()
}

const HEADER: &str = "reference,full_name,birth_date,document_kind,document_issuer,document_number,\
    document_kind_2,document_issuer_2,document_number_2,category,profile,valid_until\n";

#[test]
fn the_own_format_is_read() {
    let row = "A-1, Zoë Ångström ,1990-02-28,passport,SWE,X1,,,,Athlete,VILLAGE,2027-07-01\n";
    let read = roster(&format!("{HEADER}{row}"), None).unwrap();
    assert_eq!(read.problems, []);
    let [(line, person)] = read.rows.as_slice() else { panic!("{} rows", read.rows.len()) };
    assert_eq!(*line, 2);
    assert_eq!(person.full_name, "Zoë Ångström");
    assert_eq!((person.birth_date.as_str(), person.profile.as_str()), ("1990-02-28", "VILLAGE"));
    assert_eq!(person.documents.len(), 1);
    assert_eq!(person.documents[0].issuer, "SWE");
    assert!(person.not_before_minutes == 0 && person.not_after_minutes > 30_000_000);
}

#[test]
fn bad_rows_are_told_by_line_and_column_without_the_value() {
    let rows = [
        "A-1,Canary,1990-02-28,,,,,,,Athlete,V,",
        ",Canary,1990-02-28,,,,,,,Athlete,V,",
        "A-3,Canary,28.02.1990,,,,,,,Athlete,V,",
        "A-4,Canary,1990-02-30,,,,,,,Athlete,V,",
        "A-5,Canary,,passport,,X1,,,,Athlete,V,",
        "A-6,Canary,,,,,,,,,V,",
        "A-7,Canary,,,,,,,,Athlete,V,soon",
        "A-8,Canary",
    ];
    let read = roster(&format!("{HEADER}{}\n", rows.join("\n")), None).unwrap();
    assert_eq!(read.rows.len(), 1);
    let found: Vec<(u64, &str)> =
        read.problems.iter().map(|problem| (problem.line, problem.column.as_str())).collect();
    let expected = [
        (3, "reference"),
        (4, "birth_date"),
        (5, "birth_date"),
        (6, "document_issuer"),
        (7, "category"),
        (8, "valid_until"),
        (9, ""),
    ];
    assert_eq!(found, expected);
    assert!(read.problems.iter().all(|problem| !problem.problem.contains("Canary")));
    assert!(read.problems.iter().all(|problem| !problem.problem.contains("1990")));
}

#[test]
fn machine_readable_zones_fill_in_and_must_not_contradict() {
    const ZONE: &str = "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10";
    let header = "reference,full_name,birth_date,mrz,category,profile\n";
    let wrong = ZONE.replace("740812", "740813");
    let rows = [
        format!("A-1,,,\"{ZONE}\",Athlete,V\n"),
        format!("A-2,อันนา,1974,\"{ZONE}\",Athlete,V\n"),
        format!("A-3,Anna,1975-08-12,\"{ZONE}\",Athlete,V\n"),
        format!("A-4,Anna,,\"{wrong}\",Athlete,V\n"),
        "A-5,,,,Athlete,V\n".to_owned(),
    ];
    let read = roster(&format!("{header}{}", rows.concat()), None).unwrap();
    let [(2, first), (4, second)] = read.rows.as_slice() else {
        panic!("{} rows", read.rows.len())
    };
    assert_eq!(first.full_name, "ERIKSSON, ANNA MARIA");
    assert_eq!(
        (first.birth_date.as_str(), first.documents[0].number.as_str()),
        ("1974-08-12", "L898902C3")
    );
    assert_eq!((second.full_name.as_str(), second.birth_date.as_str()), ("อันนา", "1974"));
    assert_eq!(second.latin_name, "ERIKSSON, ANNA MARIA");
    let problems: Vec<_> =
        read.problems.iter().map(|one| (one.line, one.column.as_str())).collect();
    assert_eq!(problems, [(6, "birth_date"), (8, "mrz"), (10, "full_name")]);
    assert!(
        read.problems[1]
            .problem
            .contains("line 2, character 20: wrong check digit of the birth date")
    );
}

#[test]
fn bad_values_of_a_list_are_told_by_line_and_column() {
    let text = "label,name,birth_date\nL-1,Viktor Primerov; Agent 47,1961\nL-2,\u{12000},sometime\nL-3,Anna,1960/1962; circa 1970\n";
    let read = list(text, None).unwrap();
    let problems: Vec<_> =
        read.problems.iter().map(|one| (one.line, one.column.as_str())).collect();
    assert_eq!(problems, [(2, "name"), (3, "name"), (3, "birth_date")]);
    assert!(
        read.problems
            .iter()
            .all(|one| !one.problem.contains("47") && !one.problem.contains("sometime"))
    );
    assert_eq!(read.rows[0].1.names, ["Viktor Primerov"]);
    assert_eq!(read.rows[2].1.birth_dates, ["1960/1962", "circa 1970"]);
}

#[test]
fn headers_that_do_not_fit_are_refused() {
    let error = refused(roster("reference,full_name,category\nA,B,C\n", None));
    assert!(error.contains("no column \"profile\"") && error.contains("FORMATS.md"), "{error}");
    let error =
        refused(roster("reference,full_name,category,profile,shoe_size\nA,B,C,D,E\n", None));
    assert!(error.contains("unknown column \"shoe_size\""), "{error}");
    let error =
        refused(roster("reference,full_name,category,profile,document_number\nA,B,C,D,E\n", None));
    assert!(error.contains("document_kind"), "{error}");
    let error = refused(roster("reference;full_name\nA;B\n", None));
    assert!(error.contains("delimiter = \";\""), "{error}");
}

#[test]
fn a_mapping_takes_columns_constants_joins_and_patterns() {
    let mapping = r#"
        delimiter = ";"
        header = false
        null = ["n/a"]
        date_formats = ["%d.%m.%Y"]
        [[skip]]
        column = 5
        is = ["staff", ""]
        [people]
        reference = { line_number = "P" }
        full_name = { columns = [1, 2] }
        birth_date = 3
        category = { constant = "Media" }
        profile = { constant = "PRESS" }
        [[people.documents]]
        kind = "passport"
        column = 4
        split = "|"
        pattern = '^(?<issuer>[A-Z]{3}) (?<number>\w+)'
    "#;
    let text = "Ada;Lovelace;10.12.1815;GBR X1|see file|FRA Y2;press\n\
                Bob;n/a;n/a;n/a;press\nCy;X;1.1.2000;;staff\nDi;X;1.1.2000;;n/a\nEd;X;12.2000;;press\n";
    let read = roster(text, Some(mapping)).unwrap();
    // 1815 is no year of a living person.
    let lines: Vec<u64> = read.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [1, 5]);
    assert!(read.problems[1].problem.contains("%d.%m.%Y"));
    assert_eq!(read.skipped["row: left out by the mapping"], 2);
    let read = roster(&text.replace("1815", "1915"), Some(mapping)).unwrap();
    let (line, ada) = &read.rows[0];
    assert_eq!((*line, ada.reference.as_str(), ada.full_name.as_str()), (1, "P1", "Ada Lovelace"));
    assert_eq!(ada.birth_date, "1915-12-10");
    let documents: Vec<_> = ada
        .documents
        .iter()
        .map(|d| (d.kind.as_str(), d.issuer.as_str(), d.number.as_str()))
        .collect();
    assert_eq!(documents, [("passport", "GBR", "X1"), ("passport", "FRA", "Y2")]);
    let (_, bob) = &read.rows[1];
    assert_eq!((bob.full_name.as_str(), bob.birth_date.as_str()), ("Bob", ""));
}

#[test]
fn bad_mappings_say_what_is_wrong() {
    let people = |fields: &str| {
        format!("[people]\nreference = 1\nfull_name = 2\ncategory = 3\nprofile = 4\n{fields}\n")
    };
    let text = "a,b,c,d\n1,2,3,4\n";
    for (mapping, expected) in [
        (String::new(), "say what the columns are"),
        (people("shoe = 1"), "columns.toml:6:1: unknown field `shoe`"),
        (people("birth_date = 0"), "counted from 1"),
        (people("birth_date = 9"), "has no column 9; it has a, b, c, d"),
        (people("birth_date = \"e\""), "has no column \"e\""),
        (people("birth_date = { column = 1, constant = \"x\" }"), "exactly one of column"),
        (people("birth_date = { constant = \"x\", split = \";\" }"), "split and pattern go with"),
        (people("birth_date = { column = 1, pattern = \"(\" }"), "birth_date: regex parse error"),
        (people("birth_date = { colunm = 1 }"), "unknown field `colunm`"),
        (
            people("[[people.documents]]\nkind = \"passport\"\nnumber = 1"),
            "where the issuer stands",
        ),
        (people("[[people.documents]]\nnumber = 1\nissuer = 2"), "one of kind and kind_from"),
        (
            people(
                "[[people.documents]]\nkind = \"other\"\ncolumn = 1\npattern = \"(?<number>.)\"",
            ),
            "needs the groups",
        ),
        (format!("delimiter = \"é\"\n{}", people("")), "one ASCII character"),
        ("[watchlist]\nlabel = 1\n".to_owned(), "this mapping is for a watchlist"),
    ] {
        let error = refused(roster(text, Some(&mapping)));
        assert!(error.starts_with("columns.toml"), "{error}");
        assert!(error.contains(expected), "{mapping}\n{error}\nlacks {expected}");
    }
}

#[test]
fn a_watchlist_in_the_own_format() {
    let text = "label,name,birth_date,document_kind,document_issuer,document_number\n\
        L-1,\"EXAMPLE, Viktor; Victor Exemplar\",1961-03-05; 1961,passport,UTO,X1\n\
        ,Nobody,,,,\nL-3,Somebody,,passport,,X2\n";
    let read = list(text, None).unwrap();
    let (_, entry) = &read.rows[0];
    assert_eq!(entry.names, ["EXAMPLE, Viktor", "Victor Exemplar"]);
    assert_eq!(entry.birth_dates, ["1961-03-05", "1961"]);
    assert_eq!(entry.documents.len(), 1);
    assert_eq!(read.problems.len(), 1);
    assert_eq!((read.problems[0].line, read.problems[0].column.as_str()), (3, "label"));
    assert_eq!(read.skipped["document: no issuer or no number"], 1);
}

#[test]
fn the_lists_mapping_reads_remarks_and_joins_aliases() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("ofac_sdn.csv");
    std::fs::write(
        &list,
        "7,\"EXAMPLE, Dr. Viktor\",\"individual\",\"SDT\",-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,\"DOB 19 Jun 1951; \
         alt. DOB 1953; alt. DOB circa 1954; POB Giza, Egypt; Passport 1084010 (Egypt) expires 09 Feb 2010; alt. \
         Passport 19820215; National ID No. 55 (Iraq).\"\r\n\
         8,\"BOAT\",\"vessel\",\"SDT\",-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- \r\n\x1a",
    )
    .unwrap();
    std::fs::write(
        dir.path().join("ofac_alt.csv"),
        "7,1,\"aka\",\"EXEMPLAR, Victor\",-0- \r\n8,2,\"aka\",\"SHIP\",-0- \r\n7,3,\"aka\",-0- ,-0- \r\n\x1a",
    )
    .unwrap();
    let mapping = include_str!("../../samples/columns/ofac_sdn.toml");
    let mapping = Mapping::parse(Path::new("ofac_sdn.toml"), mapping).unwrap();
    let files = Env::system().files;
    let sheet = Sheet::read(&*files, &list, mapping.delimiter, mapping.header).unwrap();
    let read = watchlist(&*files, &sheet, Some(&mapping), None).unwrap();
    let [(1, entry)] = read.rows.as_slice() else { panic!("{} rows", read.rows.len()) };
    assert_eq!(entry.label, "7 individual");
    assert_eq!(entry.names, ["EXAMPLE, Dr. Viktor", "EXEMPLAR, Victor"]);
    assert_eq!(entry.birth_dates, ["1951-06-19", "1953", "circa 1954"]);
    let documents: Vec<_> = entry
        .documents
        .iter()
        .map(|d| (d.kind.as_str(), d.issuer.as_str(), d.number.as_str()))
        .collect();
    assert_eq!(documents, [("passport", "Egypt", "1084010"), ("national-id", "Iraq", "55")]);
    assert_eq!(read.skipped["row: left out by the mapping"], 1);
    assert_eq!(read.skipped["document: no issuer or no number"], 1);
}

#[test]
fn the_samples_are_good() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let files = Env::system().files;
    let zone = EventTimeZone::parse("Europe/Zurich").unwrap();
    let sheet = Sheet::read(&*files, &samples.join("people.csv"), ',', true).unwrap();
    let read = people(&sheet, None, &zone, NOW).unwrap();
    assert_eq!((read.rows.len(), read.problems), (5, Vec::new()));
    let sheet = Sheet::read(&*files, &samples.join("staff.csv"), ',', true).unwrap();
    let read = staff(&sheet, &zone, NOW).unwrap();
    assert_eq!((read.rows.len(), read.problems), (2, Vec::new()));
    // A column of the committee's format has no place there.
    let sheet = Sheet::read(&*files, &samples.join("people.csv"), ',', true).unwrap();
    let refused = staff(&sheet, &zone, NOW).unwrap_err().to_string();
    assert!(refused.contains("unknown column \"category\""), "{refused}");
    let sheet = Sheet::read(&*files, &samples.join("watchlist.csv"), ',', true).unwrap();
    let read = watchlist(&*files, &sheet, None, None).unwrap();
    assert_eq!((read.rows.len(), read.problems), (2, Vec::new()));
}

/// A file of the outside material, if it lies there.
fn shared(name: &str) -> Option<PathBuf> {
    match std::env::var_os("LANYARD_SHARED") {
        Some(dir) => Some(PathBuf::from(dir).join("data").join(name)),
        None => {
            println!("skipped: LANYARD_SHARED not set");
            None
        }
    }
}

#[test]
fn the_real_roster_is_read_whole() {
    let Some(path) = shared("people_synthetic_50k.csv") else { return };
    let mapping = include_str!("../../samples/columns/people_synthetic_50k.toml");
    let mapping = Mapping::parse(Path::new("people_synthetic_50k.toml"), mapping).unwrap();
    let files = Env::system().files;
    let sheet = Sheet::read(&*files, &path, mapping.delimiter, mapping.header).unwrap();
    let zone = EventTimeZone::parse("Europe/Zurich").unwrap();
    let read = people(&sheet, Some(&mapping), &zone, NOW).unwrap();
    assert_eq!((read.rows.len(), read.problems.len()), (50_000, 0));
}

#[test]
fn the_real_watchlist_is_read_and_what_is_left_out_is_counted() {
    let Some(path) = shared("ofac_sdn.csv") else { return };
    let mapping = include_str!("../../samples/columns/ofac_sdn.toml");
    let mapping = Mapping::parse(Path::new("ofac_sdn.toml"), mapping).unwrap();
    let files = Env::system().files;
    let sheet = Sheet::read(&*files, &path, mapping.delimiter, mapping.header).unwrap();
    let read = watchlist(&*files, &sheet, Some(&mapping), None).unwrap();
    assert_eq!((read.rows.len(), read.problems.len()), (3_845, 0));
    assert_eq!(read.skipped["row: left out by the mapping"], 7_379 - 3_845);
    let dates: usize = read.rows.iter().map(|(_, entry)| entry.birth_dates.len()).sum();
    let documents: usize = read.rows.iter().map(|(_, entry)| entry.documents.len()).sum();
    let names: usize = read.rows.iter().map(|(_, entry)| entry.names.len()).sum();
    println!("{names} names, {dates} dates, {documents} documents, left out: {:?}", read.skipped);
    assert!(dates > 4_200 && documents > 1_000 && names > 7_000);
}
