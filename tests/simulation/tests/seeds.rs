//! That a seed is one course of events. Each run is a process of its own.
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

/// Everything that happened; the last line says how long it took, which differs.
fn trace(course: &Path, event: &Path) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_lanyard-simulation"))
        .arg("--trace")
        .arg("--course")
        .arg(course)
        .arg("--event")
        .arg(event)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    text.lines().filter(|line| !line.starts_with("seed ")).map(str::to_owned).collect()
}

#[test]
fn a_course_is_the_same_each_time_to_the_last_line() {
    let event = tempfile::tempdir().unwrap();
    let course = event.path().join("course.txt");
    std::fs::write(&course, COURSE).unwrap();
    let [first, second] = [(); 2].map(|()| trace(&course, event.path()));
    assert!(first.len() > 200, "{first:?}");
    for (number, (one, other)) in first.iter().zip(&second).enumerate() {
        assert_eq!(one, other, "line {number}");
    }
    assert_eq!(first.len(), second.len());
}
