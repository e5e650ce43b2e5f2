//! That a seed is one course of events, and that what the simulation is for is found. Each run is a process of its own.
#![allow(clippy::disallowed_methods)] // tests are the world around the services

use std::path::Path;
use std::process::{Command, Output};

fn simulation(arguments: &[&str], event: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lanyard-simulation"))
        .args(arguments)
        .arg("--event")
        .arg(event)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Time that is not simulated differs, and stands in the last lines.
fn traced(output: &Output) -> Vec<String> {
    text(output).lines().filter(|line| !line.starts_with("seed ")).map(str::to_owned).collect()
}

#[test]
fn the_same_seed_is_the_same_course_to_the_last_line() {
    let event = tempfile::tempdir().unwrap();
    let [first, second] = [(); 2].map(|()| simulation(&["--seed", "3", "--trace"], event.path()));
    let (first, second) = (traced(&first), traced(&second));
    assert!(first.len() > 500, "{first:?}");
    for (number, (one, other)) in first.iter().zip(&second).enumerate() {
        assert_eq!(one, other, "line {number}");
    }
    assert_eq!(first.len(), second.len());
    let other = traced(&simulation(&["--seed", "4", "--trace"], event.path()));
    assert_ne!(first, other);
}
