//! What the gate knows of one authority, and how old it is.

use std::path::Path;
use std::sync::Arc;

use lanyard_core::ids::Audience;
use lanyard_env::Files;
use lanyard_feed::{Evidence, Mirror, Standing, SyncState, UpstreamState};
use lanyard_wire::common::v1::Authority;
use lanyard_wire::gate::v1 as wire;

/// The state of one mirror, in the folder `dir` of the data folder. Blocks on the disk.
pub(crate) fn of(
    mirror: &Arc<Mirror>,
    sync: &SyncState,
    files: &dyn Files,
    data: &Path,
    dir: &Path,
) -> wire::AuthorityState {
    let now = mirror.now();
    let is_incomplete = mirror.is_incomplete();
    let evidence = evidence(files, data, &dir.join("evidence"));
    let view = mirror.read();
    let epoch = view.signed().map(|signed| signed.head().live_epoch);
    let directory = epoch.and_then(|epoch| view.directory(epoch, Audience::Gate));
    let records = directory.and_then(|one| Some(one.signed()?.commitment.count));
    wire::AuthorityState {
        authority: Authority::from(mirror.authority()).into(),
        signed_size: view.size(),
        quorum_size: view.quorum().map_or(0, |quorum| quorum.size()),
        age_millis: view.freshness().map(|time| now.millis_since(time)),
        epoch: epoch.map_or(0, |epoch| epoch.get()),
        records: records.map_or(0, u64::from),
        key_present: directory.is_some_and(|one| one.audience_key().is_some()),
        upstream: sync.upstream.clone().unwrap_or_default(),
        problem: problem(sync, is_incomplete),
        evidence,
        upstreams: sync.upstreams.iter().map(upstream).collect(),
    }
}

fn upstream(state: &UpstreamState) -> wire::Upstream {
    let standing = match state.standing {
        Standing::Waiting => wire::Standing::Waiting,
        Standing::Asked => wire::Standing::Asked,
        Standing::InUse => wire::Standing::InUse,
        Standing::OnTrial => wire::Standing::OnTrial,
        Standing::Left => wire::Standing::Left,
        _ => wire::Standing::Unspecified,
    };
    let problem = state.problem.as_ref();
    wire::Upstream {
        name: state.name.clone(),
        standing: standing.into(),
        problem: problem.map(|last| last.problem.clone()).unwrap_or_default(),
        left_at_millis: problem.map_or(0, |last| last.time.millis()),
        times_left: state.times_left,
    }
}

fn problem(sync: &SyncState, is_incomplete: bool) -> String {
    match (&sync.upstream, &sync.problem) {
        (None, Some(last)) => format!("{}: {}", last.upstream, last.problem),
        (None, None) => "no upstream has answered yet".to_owned(),
        (Some(_), _) if is_incomplete => {
            "a directory, its profile table or its audience key is not here yet".to_owned()
        }
        (Some(_), _) => sync.doubt.clone().unwrap_or_default(),
    }
}

/// The evidence saved so far, oldest first.
fn evidence(files: &dyn Files, data: &Path, dir: &Path) -> Vec<wire::Evidence> {
    let Ok(names) = files.list(&data.join(dir)) else { return Vec::new() };
    let read = |name: &String| {
        let file = dir.join(name);
        let json = files.read(&data.join(&file)).ok()?;
        let evidence: Evidence = serde_json::from_slice(&json).ok()?;
        Some(wire::Evidence {
            time_millis: evidence.noticed_at.millis(),
            kind: kind(&evidence),
            upstream: evidence.sender,
            detail: evidence.problem,
            file: file.display().to_string(),
        })
    };
    names.iter().filter_map(read).collect()
}

/// `FORK`, `INCONSISTENT`, `WRONG_ROWS` or `ROLLED_BACK`.
fn kind(evidence: &Evidence) -> String {
    let name = serde_json::to_value(evidence.misdeed).ok();
    let name = name.as_ref().and_then(|name| name.as_str()).unwrap_or("unknown");
    name.to_uppercase().replace('-', "_")
}
