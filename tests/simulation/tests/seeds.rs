//! That a seed is one course of events, and that what is broken on purpose is found. Each run is a process of its own.
#![allow(clippy::disallowed_methods)] // tests are the world around the services

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

#[test]
fn a_course_is_the_same_each_time_to_the_last_line() {
    let event = tempfile::tempdir().unwrap();
    let [first, second] = [(); 2].map(|()| {
        let (succeeded, text) = run(COURSE, event.path(), &["--trace"]);
        assert!(succeeded, "{text}");
        // The last line says how long it took, which differs.
        let lines = text.lines().filter(|line| !line.starts_with("seed "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    });
    assert!(first.len() > 200, "{first:?}");
    for (number, (one, other)) in first.iter().zip(&second).enumerate() {
        assert_eq!(one, other, "line {number}");
    }
    assert_eq!(first.len(), second.len());
}

#[test]
fn each_defect_is_found_and_named() {
    let event = tempfile::tempdir().unwrap();
    let gate = "seed 1\n1000 crash gate-1\n500 start gate-1\n";
    let witness = "seed 1\n1000 crash trustee\n500 start trustee\n";
    for (defect, course, invariant) in [
        ("forgetful-gate", gate, "no-gate-goes-back"),
        ("unsynced-receipts", gate, "nothing-lost"),
        ("unsynced-witness", witness, "nothing-lost"),
    ] {
        let (succeeded, text) = run(course, event.path(), &["--defect", defect]);
        assert!(!succeeded && text.contains(&format!("FAILED {invariant} ")), "{defect}: {text}");
    }
}
