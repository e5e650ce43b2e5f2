//! `lanyard up`, when one of its services is killed.

use std::io::BufReader;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

fn pid(value: &Value) -> Pid {
    let id = value["process"].as_i64().and_then(|id| i32::try_from(id).ok());
    Pid::from_raw(id.expect("a process id")).expect("not 0")
}

/// A zombie is no process: whoever started it has waited for it.
fn runs(process: Pid) -> bool {
    test_kill_process(process).is_ok()
}

#[test]
fn whoever_is_killed_leaves_the_others_running() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Command::new(env!("CARGO_BIN_EXE_lanyard"))
        .args(["--json", "up", "--dir"])
        .arg(dir.path().join("event"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(up.stdout.take().unwrap());
    let said: Value =
        serde_json::Deserializer::from_reader(said).into_iter().next().unwrap().unwrap();
    let services = said["services"].as_object().unwrap();
    let processes: Vec<Pid> = services.values().map(pid).collect();
    let sponsor = pid(&services["sponsor"]);
    kill_process(sponsor, Signal::KILL).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    for process in processes.iter().filter(|one| **one != sponsor) {
        assert!(runs(*process), "{process:?} of {services:?}");
    }
    assert!(up.try_wait().unwrap().is_none());

    kill_process(Pid::from_child(&up), Signal::INT).unwrap();
    assert!(up.wait().unwrap().success());
    assert!(!processes.into_iter().any(runs));
}
