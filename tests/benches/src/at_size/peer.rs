//! The nearest peer on the same sets: OpenMined PSI, two parties, neither threshold nor proofs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;

use serde::Deserialize;

use super::Failure;
use super::input::Input;

/// The package and its version, in an environment of its own.
const PACKAGE: &str = "openmined.psi==2.0.6";
const SCRIPT: &str = include_str!("peer.py");

/// What it used.
#[derive(Deserialize)]
pub(super) struct Peer {
    /// CPU seconds of both sides together.
    cpu_seconds: f64,
    /// Keys of both sides together.
    keys: u64,
    /// Keys that both have.
    pub(super) found: u64,
}

impl Peer {
    pub(super) const fn name(&self) -> &'static str {
        "a key with OpenMined PSI 2.0.6, both sides"
    }

    pub(super) fn each_nanos(&self) -> f64 {
        self.cpu_seconds * 1e9 / self.keys as f64
    }
}

/// The peer at work, beside the services: what slows the one slows the other.
pub(super) struct Running(JoinHandle<Result<Peer, String>>);

impl Running {
    /// Installs and starts it: people's keys as the client's set, the list's as the server's.
    pub(super) fn start(folder: &Path, input: &Input) -> Self {
        let folder = folder.to_owned();
        let keys = [input.people_keys.clone(), input.list_keys.clone()];
        Self(std::thread::spawn(move || measure(&folder, &keys).map_err(|error| error.to_string())))
    }

    pub(super) fn wait(self) -> Result<Peer, Failure> {
        let ended = self.0.join().map_err(|_| "it panicked")?;
        Ok(ended?)
    }
}

fn measure(folder: &Path, keys: &[PathBuf; 2]) -> Result<Peer, Failure> {
    let (venv, script) = (folder.join("venv"), folder.join("peer.py"));
    std::fs::write(&script, SCRIPT)?;
    let python = venv.join("bin/python");
    said(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    said(Command::new(&python).args(["-m", "pip", "install", "--quiet", PACKAGE]))?;
    let answer = said(Command::new(&python).arg(&script).args(keys))?;
    Ok(serde_json::from_str(&answer)?)
}

/// What a command wrote, or the last line of what it complained of.
fn said(command: &mut Command) -> Result<String, Failure> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let last = complaint.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    Err(last.into())
}
