//! That a seed is one course of events, and that what is broken on purpose is found. Each run is a process of its own.
#![allow(clippy::disallowed_methods)] // tests are the world around the services

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

const COURSE: &str = "seed 3
1000 suspend police 1
500 crash-in-write sponsor 4 before
1500 lie police omit
200 suspend committee 2
3000 start sponsor
1000 crash gate-3
2000 cut committee sponsor
1000 start gate-3
1000 reinstate police 1
";

/// Runs a course; whether it succeeded, and what it printed.
fn run(course: &str, event: &Path, arguments: &[&str]) -> (bool, String) {
    let file = event.join("course.txt");
    std::fs::write(&file, course).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_lanyard-simulation"))
        .args(arguments)
        .arg("--course")
        .arg(&file)
        .arg("--event")
        .arg(event)
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What each gate answered, in its order, without times: TLS draws its own keys, and a record that is a byte longer can
/// shift what follows by a step of the simulation.
fn answers(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut answers = BTreeMap::<_, Vec<_>>::new();
    for line in text.lines().filter(|line| line.contains(" #")) {
        let mut words = line.split_whitespace().skip(1);
        if let Some(gate) = words.next() {
            answers.entry(gate.to_owned()).or_default().push(words.collect::<Vec<_>>().join(" "));
        }
    }
    answers
}

#[test]
fn a_course_gives_the_same_answers_each_time() {
    let event = tempfile::tempdir().unwrap();
    let [first, second] = [(); 2].map(|()| {
        let (succeeded, text) = run(COURSE, event.path(), &["--trace"]);
        assert!(succeeded, "{text}");
        answers(&text)
    });
    assert_eq!(first.len(), 3);
    for (gate, one) in &first {
        let other = &second[gate];
        assert!(one.len() > 20 && one.len().abs_diff(other.len()) < 3, "{gate}");
        let same = one.iter().zip(other).take_while(|(one, other)| one == other).count();
        assert!(same + 3 > one.len(), "{gate}: {:?} is not {:?}", one.get(same), other.get(same));
    }
}

#[test]
fn a_course_that_does_not_end_in_time_is_given_up_and_named() {
    let event = tempfile::tempdir().unwrap();
    let (succeeded, text) = run(COURSE, event.path(), &["--within", "0"]);
    assert!(!succeeded && text.contains("FAILED ends: seed 3 "), "{text}");
}

#[test]
fn each_defect_is_found_and_named() {
    let event = tempfile::tempdir().unwrap();
    let gate = "seed 1\n1000 crash gate-1\n500 start gate-1\n";
    // Cut off when it starts: what it has forgotten must not be there again before it is asked.
    let lone_gate = "seed 1
1000 crash gate-1
0 cut sponsor gate-1
0 cut committee gate-1
500 start gate-1
5000 mend sponsor gate-1
0 mend committee gate-1
";
    let witness = "seed 1\n1000 crash sponsor\n500 start sponsor\n";
    for (defect, course, invariant) in [
        ("forgetful-gate", lone_gate, "no-gate-goes-back"),
        ("unsynced-receipts", gate, "nothing-lost"),
        ("unsynced-witness", witness, "nothing-lost"),
    ] {
        let (succeeded, text) = run(course, event.path(), &["--defect", defect]);
        assert!(!succeeded && text.contains(&format!("FAILED {invariant} ")), "{defect}: {text}");
    }
}
