//! docs/OPERATIONS.md says what the code says: metrics, reasons of errors, fields of configurations.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lanyard_authority::StationConfig;
use lanyard_gate::GateSection;
use lanyard_party::{NoSection, PartyConfig};
use lanyard_police::PoliceConfig;
use lanyard_sponsor::SponsorSection;
use lanyard_telemetry::metrics;
use regex::Regex;
use serde::de::DeserializeOwned;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The first column of the table under a heading, without code marks.
fn column(heading: &str) -> BTreeSet<String> {
    rows(heading).into_iter().map(|row| row[0].clone()).collect()
}

fn rows(heading: &str) -> Vec<Vec<String>> {
    let manual = fs::read_to_string(root().join("docs/OPERATIONS.md")).unwrap();
    let (_, section) = manual.split_once(&format!("\n{heading}\n")).expect(heading);
    let table = section.lines().skip_while(|line| !line.starts_with('|'));
    let table = table.take_while(|line| line.starts_with('|')).skip(2);
    table
        .map(|line| {
            line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()
        })
        .collect()
}

#[test]
fn every_metric_is_documented_as_it_is_and_none_that_is_not() {
    let documented: Vec<_> = rows("## Metrics");
    let declared: Vec<Vec<String>> = metrics::ALL
        .iter()
        .map(|one| {
            let labels = one.labels.join(", ");
            vec![one.name.to_owned(), one.kind.name().to_owned(), labels, one.help.to_owned()]
        })
        .collect();
    assert_eq!(documented, declared);
}

#[test]
fn alerts_and_the_dashboard_ask_for_metrics_that_there_are() {
    let read =
        |name: &str| fs::read_to_string(root().join("deploy/prometheus").join(name)).unwrap();
    let alerts = read("alerts.yml") + &read("dashboard.json");
    let known: BTreeSet<_> = metrics::ALL.iter().map(|one| one.name).collect();
    let used = Regex::new("lanyard_[a-z_]+").unwrap();
    let mut count = 0;
    for name in used.find_iter(&alerts).map(|found| found.as_str()) {
        let family = name.strip_suffix("_bucket").unwrap_or(name);
        assert!(known.contains(family), "{name}");
        count += 1;
    }
    assert!(count > 30);
}

#[test]
fn every_reason_of_an_error_is_in_the_catalogue_and_none_that_is_not() {
    let constant = Regex::new(r#"const [A-Z_]+: &str = "([A-Z][A-Z_]+)";"#).unwrap();
    let literal = Regex::new(r#"status::error\(\s*Code::\w+,\s*"([A-Z][A-Z_]+)""#).unwrap();
    let mut reasons = BTreeSet::new();
    for path in sources(&root().join("services")) {
        let source = fs::read_to_string(&path).unwrap();
        let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for pattern in [&constant, &literal] {
            reasons.extend(pattern.captures_iter(source).map(|found| found[1].to_owned()));
        }
    }
    assert!(reasons.len() > 20);
    assert_eq!(column("## Errors and exit codes"), reasons);
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name != "tests" {
            found.extend(sources(&path));
        } else if name.ends_with(".rs") && name != "tests.rs" {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_field_of_a_configuration_is_documented_and_none_that_is_not() {
    assert_eq!(column("### Committee"), fields::<StationConfig>());
    assert_eq!(column("### Police"), fields::<PoliceConfig>());
    assert_eq!(column("### Sponsor"), fields::<SponsorSection>());
    assert_eq!(column("### Gate"), fields::<GateSection>());
    assert_eq!(fields::<NoSection>(), BTreeSet::new());
    let common = PartyConfig::<NoSection>::common_fields();
    assert_eq!(column("### Every party"), common.iter().map(|name| (*name).to_owned()).collect());
}

#[test]
fn every_sample_configuration_is_read() {
    sample::<StationConfig>("committee");
    sample::<PoliceConfig>("police");
    sample::<SponsorSection>("sponsor");
    sample::<NoSection>("trustee");
    sample::<GateSection>("gate-1");
    assert_eq!(fs::read_dir(root().join("deploy/config")).unwrap().count(), 5);
}

fn sample<S: DeserializeOwned>(name: &str) {
    let path = root().join(format!("deploy/config/{name}.toml"));
    let text = fs::read_to_string(&path).unwrap();
    let config = PartyConfig::<S>::parse(&path, &text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.common.name, name);
    assert!(config.common.telemetry.is_some() && config.common.audit_stream.is_some());
}

/// The fields that a section expects, as its own refusal of an unknown one lists them.
fn fields<S: DeserializeOwned>() -> BTreeSet<String> {
    let text = "name = \"x\"\nlisten = \"127.0.0.1:1\"\nno_such_field = 1\n";
    let refused =
        PartyConfig::<S>::parse(Path::new("config.toml"), text).err().unwrap().to_string();
    assert!(refused.contains("unknown field `no_such_field`"), "{refused}");
    let (_, expected) = refused.split_once("no_such_field`").unwrap();
    let expected = expected.split(';').next().unwrap();
    let name = Regex::new("`([a-z_]+)`").unwrap();
    name.captures_iter(expected).map(|found| found[1].to_owned()).collect()
}
