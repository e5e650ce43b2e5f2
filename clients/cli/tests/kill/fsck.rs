//! `lanyard fsck` over the folders of an event that went through all of this.

use std::path::{Path, PathBuf};
use std::process::Command;

use lanyard::cluster::Cluster;
use serde_json::Value;

use crate::backup;

/// Looks a folder over; whether it is sound, and what was found.
pub(crate) fn look(folder: &Path) -> (bool, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_lanyard"))
        .args(["fsck", "--json", "--folder"])
        .arg(folder)
        .output()
        .expect("fsck runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let found = serde_json::from_str(&text);
    let found = found.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.success(), found)
}

/// Everybody's folder is sound.
pub(crate) fn all_sound(cluster: &Cluster) {
    for member in cluster.members() {
        let (is_sound, found) = look(&cluster.folder(&member));
        assert!(is_sound, "{member}: {found:#}");
    }
}

/// One byte changed in one file of each kind, of parties that are stopped: that file is found, and how to recover is said.
pub(crate) fn finds_what_is_damaged(cluster: &Cluster) {
    let mut kinds = 0;
    for (member, kind) in [
        ("committee", "data/feeds/committee/ticks"),
        ("committee", "data/feeds/committee/snapshots"),
        ("committee", "data/feeds/committee/base"),
        ("committee", "data/feeds/committee/leaves"),
        ("committee", "data/feeds/committee/quorum"),
        ("committee", "data/feeds/police/keys"),
        ("committee", "data/witness"),
        ("committee", "data/evaluations/evaluations.note"),
        ("committee", "data/signed"),
        ("committee", "data/audience-keys"),
        ("committee", "keys/log.key"),
        ("committee", "keys/store.key"),
        ("committee", "manifests"),
        ("police", "keys/share.key"),
        ("sponsor", "data/mirror/police/ticks"),
        ("gate-1", "data/mirror/committee/snapshots"),
        ("gate-1", "data/receipts/chain"),
        ("gate-1", "data/receipts/bodies"),
        ("gate-1", "data/receipts/recent"),
        ("gate-1", "keys/hpke.key"),
        ("trustee", "data/witness"),
    ] {
        let folder = cluster.dir().join(member);
        let Some(path) = newest(&folder.join(kind)) else { continue };
        let bytes = std::fs::read(&path).expect("a file");
        let mut damaged = bytes.clone();
        // In the middle of a line of base64, of rows, of a signature.
        let place = if kind.starts_with("keys/") { bytes.len() - 20 } else { bytes.len() / 3 };
        damaged[place] ^= 1;
        std::fs::write(&path, damaged).expect("a damaged file");
        let (is_sound, found) = look(&folder);
        if kind == "data/receipts/chain" {
            let dir = tempfile::tempdir().expect("a temporary directory");
            backup::of_what_is_damaged(&folder, dir.path());
        }
        std::fs::write(&path, bytes).expect("the file as it was");
        assert!(!is_sound, "{member}/{kind} is damaged and nothing was found");
        let findings = found["findings"].as_array().expect("findings");
        let folder = path.parent().expect("a folder").to_string_lossy().into_owned();
        let named = findings.iter().any(|one| one.to_string().contains(&folder));
        assert!(named, "{}: {findings:?}", path.display());
        assert!(
            findings.iter().all(|one| one["recover"].as_str().is_some_and(|how| how.len() > 10))
        );
        kinds += 1;
    }
    assert!(kinds > 14, "only {kinds} kinds of files were there");
}

/// The file, or the last in the folder.
pub(crate) fn newest(path: &Path) -> Option<PathBuf> {
    if !path.is_dir() {
        return path.exists().then(|| path.to_owned());
    }
    let files = std::fs::read_dir(path).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    files.filter(|path| path.is_file()).max()
}
