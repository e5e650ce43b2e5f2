//! `lanyard backup` of parties that run, and each party restored from its own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lanyard::cluster::Cluster;
use lanyard_core::ids::Authority;
use serde_json::Value;

/// Backs a folder up; the exit code, and what was said.
fn back_up(folder: &Path, to: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_lanyard"))
        .args(["backup", "--json", "--folder"])
        .arg(folder)
        .arg("--to")
        .arg(to)
        .output()
        .expect("backup runs");
    let [said, errors] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
    (output.status.code(), said + &errors)
}

/// Backs every party up, and none over what is there.
pub(crate) fn of_all(cluster: &Cluster, dir: &Path) {
    for member in cluster.members() {
        let (folder, to) = (cluster.folder(&member), dir.join(member.name()));
        let (code, said) = back_up(&folder, &to);
        assert_eq!(code, Some(0), "{member}: {said}");
        let report = said.lines().find_map(|line| serde_json::from_str::<Value>(line).ok());
        let files = report.expect("JSON")["files"].as_u64();
        assert!(files > Some(8), "{member}: {said}");
        for wrong in [&to, &folder.join("backup")] {
            let (code, said) = back_up(&folder, wrong);
            assert_eq!(code, Some(2), "{member}: {said}");
        }
    }
    let left = std::fs::read_dir(dir).expect("backups").count();
    assert_eq!(left, cluster.members().len(), "nothing unfinished is left");
}

/// Of a folder that is damaged, the copy says so, in its own place.
pub(crate) fn of_what_is_damaged(folder: &Path, dir: &Path) {
    let to = dir.join("damaged");
    let (code, said) = back_up(folder, &to);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&to.join("data").display().to_string()), "{said}");
}

/// Puts the backups of those who publish nothing in the place of their folders, one after the other, while the others run.
/// An authority may stop when witnesses have its newest tick and no mirror has, and then rightly waits for it
/// (docs/DRILLS.md); `tests/tests/restored.rs` restores one.
pub(crate) async fn restore_all(cluster: &mut Cluster, dir: &Path, ready: Duration) {
    let mut members = cluster.members();
    members.retain(|member| Authority::parse(member.name()).is_err());
    for member in members {
        cluster.stop(&member).await.expect("it stops when asked to");
        let folder = cluster.folder(&member);
        std::fs::rename(&folder, folder.with_extension("lost")).expect("the folder is lost");
        std::fs::rename(dir.join(member.name()), &folder).expect("the backup is put in its place");
        cluster.start(&member).expect("it starts from its backup");
        cluster.wait_ready(ready).await.expect("it listens");
    }
}
