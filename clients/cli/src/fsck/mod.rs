//! `lanyard fsck`: looks a party's folder over, running or stopped, and changes nothing.

mod areas;
mod unchanging;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use lanyard_env::Env;
use lanyard_party::{Folder, PartyConfig};
use serde_json::json;

use self::unchanging::Unchanging;
use crate::context::{Context, table};
use crate::error::CliError;
use crate::progress::Progress;

/// `lanyard fsck`.
#[derive(Args)]
pub(crate) struct FsckArgs {
    /// The party's folder.
    #[arg(long, env = "LANYARD_FOLDER", value_name = "DIR")]
    folder: PathBuf,
}

/// Something that does not hold.
struct Finding {
    area: &'static str,
    /// The file, or the row and its table.
    place: String,
    problem: String,
    recover: &'static str,
}

/// What is being looked over.
struct Look {
    env: Env,
    folder: Folder,
    /// The party's, or the gate's, name.
    name: String,
    config: PartyConfig<toml::Table>,
    findings: Vec<Finding>,
    /// What was looked at, and how much of it.
    sound: Vec<(&'static str, String)>,
}

impl Look {
    fn found(
        &mut self,
        area: &'static str,
        place: impl ToString,
        problem: impl ToString,
        recover: &'static str,
    ) {
        let (place, problem) = (place.to_string(), problem.to_string());
        self.findings.push(Finding { area, place, problem, recover });
    }
}

impl FsckArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), CliError> {
        let env = Env { files: Arc::new(Unchanging::default()), ..context.env.clone() };
        let folder = Folder::open(&self.folder, &env);
        let config = PartyConfig::<toml::Table>::read(&*env.files, &folder.config_path())?;
        let name = config.common.name.clone();
        let running = is_running(&folder);
        if running {
            context.note(
                "the service is running: what changes while it is looked at is looked at again",
            );
        }
        let (findings, sound) = (Vec::new(), Vec::new());
        let mut look = Look { env, folder, name, config, findings, sound };
        let mut progress = Progress::new(context, "looking over", areas::COUNT);
        areas::all(&mut look, running, &mut progress).await;
        progress.finish();

        let Look { findings, sound, name, .. } = look;
        let json = json!({
            "folder": self.folder, "party": name, "running": running, "sound": findings.is_empty(),
            "looked_at": sound.iter().map(|(area, what)| json!({ "area": area, "what": what })).collect::<Vec<_>>(),
            "findings": findings.iter().map(|one| json!({
                "area": one.area, "place": one.place, "problem": one.problem, "recover": one.recover,
            })).collect::<Vec<_>>(),
        });
        context.show(&json, || report(&findings, &sound))?;
        if findings.is_empty() { Ok(()) } else { Err(CliError::Negative) }
    }
}

fn report(findings: &[Finding], sound: &[(&'static str, String)]) -> String {
    let rows = sound.iter().map(|(area, what)| [(*area).to_owned(), what.clone()]);
    let looked_at = table(["looked at", "holds"], rows);
    if findings.is_empty() {
        return format!("{looked_at}\nall of it holds");
    }
    let rows = findings.iter().map(|one| {
        [one.area.to_owned(), one.place.clone(), one.problem.clone(), one.recover.to_owned()]
    });
    let found = table(["area", "where", "what is wrong", "how to recover"], rows);
    format!("{looked_at}\n{found}\n{} findings", findings.len())
}

/// Whether a process holds the party's data folder.
fn is_running(folder: &Folder) -> bool {
    let lock = std::fs::File::open(folder.data_dir().join(".lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}
