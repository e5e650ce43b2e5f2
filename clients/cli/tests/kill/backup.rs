//! `lanyard backup` of parties that run, and each party restored from its own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lanyard::cluster::Cluster;
use serde_json::Value;

use crate::event::{Event, eventually};

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

/// Backs a folder up that is sound; what was said.
pub(crate) fn of_one(folder: &Path, to: &Path) -> String {
    let (code, said) = back_up(folder, to);
    assert_eq!(code, Some(0), "{}: {said}", folder.display());
    said
}

/// Backs every party up, and none over what is there.
pub(crate) fn of_all(cluster: &Cluster, dir: &Path) {
    for member in cluster.members() {
        let (folder, to) = (cluster.folder(&member), dir.join(member.name()));
        let said = of_one(&folder, &to);
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

/// Puts the backups in the place of the folders, one after the other, while the others run: the next once both authorities
/// publish again.
pub(crate) async fn restore_all(event: &mut Event, dir: &Path, ready: Duration) {
    for member in event.cluster.members() {
        event.cluster.stop(&member).await.expect("it stops when asked to");
        let folder = event.cluster.folder(&member);
        let lost = dir.join(format!("{}.lost", member.name()));
        std::fs::rename(&folder, lost).expect("the folder is lost");
        std::fs::rename(dir.join(member.name()), &folder).expect("the backup is put in its place");
        event.cluster.start(&member).expect("it starts from its backup");
        event.cluster.wait_ready(ready).await.expect("it listens");
        publishes(event, member.name()).await;
    }
}

/// Waits until both authorities publish, with a quorum.
async fn publishes(event: &Event, restored: &str) {
    let mut first = None;
    let what = format!("both authorities publish after the {restored} was restored");
    eventually(&what, async || {
        let [Some((_, committee)), Some((_, police))] = event.clients.published().await else {
            return false;
        };
        let first = *first.get_or_insert((committee, police));
        committee > first.0 + 1 && police > first.1 + 1
    })
    .await;
}
