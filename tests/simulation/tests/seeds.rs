//! That a seed is one course of events, that what is broken on purpose is found, and that every invariant is looked at. Each run
//! is a process of its own.
#![allow(clippy::disallowed_methods)] // tests are the world around the services

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

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

/// Machines stop, a gate while it is cut off: what it has forgotten must not be there again before it is asked.
const CRASHES: &str = "seed 1
1000 crash gate-1
0 cut sponsor gate-1
0 cut committee gate-1
500 start gate-1
5000 mend sponsor gate-1
0 mend committee gate-1
1000 crash sponsor
500 start sponsor
5000 crash trustee
500 start trustee
5000 crash committee
500 start committee
";

/// A gate has power and no network for a minute, longer than the limit.
const CUT_OFF: &str = "seed 1
1000 cut sponsor gate-3
60000 mend sponsor gate-3
";

/// People are stopped and let in again, nothing else.
const CHANGES: &str = "seed 1
1000 suspend police 1
12000 reinstate police 1
8000 suspend committee 0
0 suspend police 2
0 suspend committee 3
12000 enrol 4
";

/// Runs a program with arguments; whether it succeeded, and what it printed.
fn simulation(event: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_lanyard-simulation"))
        .args(arguments)
        .arg("--event")
        .arg(event)
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a course.
fn run(course: &str, event: &Path, arguments: &[&str]) -> (bool, String) {
    let file = tempfile::NamedTempFile::new_in(event).unwrap();
    std::fs::write(file.path(), course).unwrap();
    let with_course = [arguments, &["--course", file.path().to_str().unwrap()]].concat();
    simulation(event, &with_course)
}

/// Does each job, as many at once as there are cores.
fn in_parallel<J: Send>(jobs: impl IntoIterator<Item = J>, work: impl Fn(J) + Sync) {
    let jobs = Mutex::new(jobs.into_iter().collect::<Vec<_>>());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let job = jobs.lock().unwrap().pop();
                    let Some(job) = job else { break };
                    work(job);
                }
            });
        }
    });
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

/// How often each invariant was looked at, by its name and the case.
fn judged(text: &str) -> BTreeMap<String, u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("judged: ")).unwrap();
    let counts = line.split(", ").map(|part| part.rsplit_once(' ').unwrap());
    counts.map(|(case, count)| (case.to_owned(), count.parse().unwrap())).collect()
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
fn each_defect_is_found_and_named_and_without_it_the_same_course_passes() {
    let event = tempfile::tempdir().unwrap();
    // Made once, and not by several at once.
    assert!(run(COURSE, event.path(), &["--within", "0"]).1.contains("FAILED ends"));
    let found = [
        ("forgetful-gate", CRASHES, "no-gate-goes-back"),
        ("unsynced-receipts", CRASHES, "nothing-lost"),
        ("unsynced-witness", CRASHES, "nothing-lost"),
        ("unsynced-count", CRASHES, "nothing-lost"),
        ("signs-before-sync", CRASHES, "nothing-lost"),
        ("damaged-count", CRASHES, "no-panic"),
        ("stopped-clock", CUT_OFF, "two-attestations"),
        ("jumping-clock", CUT_OFF, "gates-go-on"),
        ("full-disk", CUT_OFF, "gates-go-on"),
        ("stray-stop", CHANGES, "gates-go-on"),
        ("fast-clock", CHANGES, "all-recovers"),
        ("lost-commits", CHANGES, "stops-bind"),
        ("late-line", CHANGES, "stops-arrive"),
        ("hollow-quorum", CHANGES, "better-waits-for-a-quorum"),
        ("two-committees", CHANGES, "no-fork"),
    ];
    let whole = [CRASHES, CUT_OFF, CHANGES].map(|course| (None, course));
    let broken = found.map(|(defect, course, invariant)| (Some((defect, invariant)), course));
    in_parallel([&whole[..], &broken[..]].concat(), |(defect, course)| match defect {
        None => {
            let (succeeded, text) = run(course, event.path(), &[]);
            assert!(succeeded, "{course}{text}");
        }
        Some((defect, invariant)) => {
            let (succeeded, text) = run(course, event.path(), &["--defect", defect]);
            let named = text.contains(&format!("FAILED {invariant} "));
            assert!(!succeeded && named, "{defect}: {text}");
        }
    });
}

#[test]
fn every_invariant_is_looked_at_within_a_few_seeds() {
    let event = tempfile::tempdir().unwrap();
    assert!(run(COURSE, event.path(), &["--within", "0"]).1.contains("FAILED ends"));
    let sum = Mutex::new(BTreeMap::<String, u64>::new());
    in_parallel(["1", "2", "3", "4"], |seed| {
        let (succeeded, text) = simulation(event.path(), &["--seed", seed]);
        assert!(succeeded, "{text}");
        for (case, count) in judged(&text) {
            *sum.lock().unwrap().entry(case).or_default() += count;
        }
    });
    let never: Vec<_> =
        sum.into_inner().unwrap().into_iter().filter(|(_, count)| *count == 0).collect();
    assert!(never.is_empty(), "{never:?}");
}
