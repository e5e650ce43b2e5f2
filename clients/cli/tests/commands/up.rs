//! `lanyard up`, when one of its services is killed.

use std::io::BufReader;
use std::process::{Child, Command, Stdio};
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

/// Whatever fails, nothing goes on running: services stop with the process that started them.
struct Up(Child);

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

#[test]
fn whoever_is_killed_leaves_the_others_running() {
    let dir = tempfile::tempdir().unwrap();
    let up = Command::new(env!("CARGO_BIN_EXE_lanyard"))
        .args(["--json", "up", "--dir"])
        .arg(dir.path().join("event"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = Up(up);
    let said = BufReader::new(up.0.stdout.take().unwrap());
    let mut said = serde_json::Deserializer::from_reader(said).into_iter::<Value>();
    let mut next = || said.next().unwrap().unwrap();
    let said = next();
    let services = said["services"].as_object().unwrap();
    let processes: Vec<Pid> = services.values().map(pid).collect();
    let sponsor = pid(&services["sponsor"]);
    kill_process(sponsor, Signal::KILL).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    for process in processes.iter().filter(|one| **one != sponsor) {
        assert!(runs(*process), "{process:?} of {services:?}");
    }
    assert!(up.0.try_wait().unwrap().is_none());
    assert_eq!(next()["died"], "sponsor");

    kill_process(Pid::from_child(&up.0), Signal::INT).unwrap();
    assert!(up.0.wait().unwrap().success());
    assert!(!processes.into_iter().any(runs));
}
