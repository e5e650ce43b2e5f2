//! docs/OPERATIONS.md and deploy/ say what the code says: metrics, alerts, messages, reasons of errors, fields of configurations,
//! command lines.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lanyard_authority::StationConfig;
use lanyard_gate::GateSection;
use lanyard_party::{Arguments, NoSection, PartyConfig};
use lanyard_police::PoliceConfig;
use lanyard_sponsor::SponsorSection;
use lanyard_telemetry::{Incident, metrics};
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
fn every_alert_is_tried_out() {
    let read =
        |name: &str| fs::read_to_string(root().join("deploy/prometheus").join(name)).unwrap();
    let named = |text: &str, pattern: &str| -> BTreeSet<String> {
        let pattern = Regex::new(pattern).unwrap();
        pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
    };
    let alerts = named(&read("alerts.yml"), r"- alert: (\w+)");
    let tried = named(&read("alerts_test.yml"), r"alertname: (\w+)\n\s+exp_alerts:");
    // What a clock's alert is about is said in the service's own words.
    let untried: Vec<_> = alerts.difference(&tried).filter(|one| !one.contains("Clock")).collect();
    assert!(alerts.len() > 15 && untried.is_empty(), "{untried:?}");
}

#[test]
fn every_incident_is_documented_and_none_that_is_not() {
    let documented: BTreeSet<_> =
        rows("### Incidents").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let outcome = |one: Incident| if one.is_misdeed() { "failure" } else { "success" };
    let declared = Incident::ALL.map(|one| (one.name().to_owned(), outcome(one).to_owned()));
    assert_eq!(documented, BTreeSet::from(declared));
}

/// What stands between the brackets of each call of a macro.
fn calls<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
    let within = |call: &'a str| {
        let (mut depth, mut is_text, mut is_escaped) = (1, false, false);
        let end = call.char_indices().find_map(|(index, found)| {
            match found {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = is_text,
                '"' => is_text = !is_text,
                '(' if !is_text => depth += 1,
                ')' if !is_text => depth -= 1,
                _ => {}
            }
            (depth == 0).then_some(index)
        });
        &call[..end.expect("a call ends")]
    };
    source.split(&format!("{name}!(")).skip(1).map(within).collect()
}

/// The constant texts of what services log at a level, `…` for what varies in them.
fn logged(level: &str) -> BTreeSet<String> {
    let string = Regex::new(r#""((?:[^"\\]|\\.)*)""#).unwrap();
    let varies = Regex::new(r"\{[^}]*\}").unwrap();
    let mut messages = BTreeSet::new();
    for path in sources(&root().join("services")) {
        let source = fs::read_to_string(&path).unwrap();
        for call in calls(&source, &format!("tracing::{level}")) {
            // A message is the last string, unless a format's arguments come after it.
            let message = string.captures_iter(call).last();
            let message = message.unwrap_or_else(|| panic!("{}: {call}", path.display()));
            messages.insert(varies.replace_all(&message[1], "…").into_owned());
        }
    }
    messages
}

#[test]
fn every_error_in_the_log_is_explained_and_none_that_is_not() {
    let explained = column("### What the log says");
    let mut errors = logged("error");
    assert!(errors.len() > 40, "{errors:?}");
    // All of it varies: such a text says itself what to do.
    errors.remove("…");
    let missing: Vec<_> = errors.difference(&explained).collect();
    assert!(missing.is_empty(), "not explained: {missing:?}");
    let warnings = logged("warn");
    let unknown: Vec<_> = explained
        .iter()
        .filter(|text| !errors.contains(*text) && !warnings.contains(*text))
        .collect();
    assert!(unknown.is_empty(), "never logged: {unknown:?}");
}

#[test]
fn every_error_of_a_service_has_a_reason() {
    let bare = Regex::new(r"\bStatus::(?:new|cancelled|unknown|invalid_argument|deadline_exceeded|not_found|already_exists|permission_denied|resource_exhausted|failed_precondition|aborted|out_of_range|unimplemented|internal|unavailable|data_loss|unauthenticated)\(").unwrap();
    // They answer the service that asks, in the same process.
    let inner = ["services/shareholder/src/client", "services/objects/src"];
    for path in sources(&root().join("services")) {
        let source = fs::read_to_string(&path).unwrap();
        let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let is_inner = inner.iter().any(|one| path.starts_with(root().join(one)));
        let found = bare.find(source).map(|found| found.as_str());
        assert!(is_inner || found.is_none(), "{}: {found:?}", path.display());
    }
}

/// All files under a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn whatever_deploy_runs_is_a_command_of_a_service() {
    let start = Regex::new(r"\b(lanyard-[a-z]+)((?:[\s,\x22]+[^\s,\x22\]#]+)*)").unwrap();
    let binaries =
        ["committee", "police", "sponsor", "trustee", "gate"].map(|one| format!("lanyard-{one}"));
    let mut run = BTreeSet::new();
    for path in files(&root().join("deploy")) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for line in text.lines().filter(|line| {
            line.contains("--config ") || line.contains("--config\"") || line.contains("--config,")
        }) {
            let found =
                start.captures(line).unwrap_or_else(|| panic!("{}: {line}", path.display()));
            assert!(binaries.contains(&found[1].to_owned()), "{}: {line}", path.display());
            let words = found[2].split([' ', ',', '"']).filter(|word| !word.is_empty());
            let command = Arguments::command("lanyard", "");
            let words = ["lanyard"].into_iter().chain(words);
            let parsed = command.try_get_matches_from(words);
            let parsed =
                parsed.unwrap_or_else(|error| panic!("{}: {line}: {error}", path.display()));
            // The folder is the one that the party's name gives, or the unit's instance.
            let config = Arguments::from_matches(&parsed).config;
            assert!(
                config.starts_with("/var/lib/lanyard") || config == Path::new("FILE"),
                "{}: {line}",
                path.display()
            );
            let extension = path.extension().and_then(|one| one.to_str()).unwrap_or("");
            run.insert((extension.to_owned(), found[1].to_owned()));
        }
    }
    for kind in ["service", "yaml"] {
        for binary in &binaries {
            assert!(run.contains(&(kind.to_owned(), binary.clone())), "no {kind} runs {binary}");
        }
    }
}

#[test]
fn parties_reach_each_other_in_kubernetes_ready_or_not() {
    let mut services = 0;
    for path in files(&root().join("deploy/kubernetes")) {
        let text = fs::read_to_string(&path).unwrap();
        for document in text.split("\n---\n").filter(|one| one.contains("\nkind: Service\n")) {
            assert!(document.contains("\n  publishNotReadyAddresses: true"), "{}", path.display());
            services += 1;
        }
    }
    assert_eq!(services, 5);
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
