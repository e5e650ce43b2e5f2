//! `lanyard fsck`: looks a party's folder over, running or stopped, and changes nothing.

mod areas;

use std::path::{Path, PathBuf};

use clap::Args;
use lanyard_env::Env;
use lanyard_party::{Folder, PartyConfig};
use lanyard_store::Location;
use serde_json::{Value, json};

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

/// What is being looked over, and what was found.
pub(crate) struct Look {
    env: Env,
    folder: Folder,
    /// The party's, or the gate's, name.
    name: String,
    config: PartyConfig<toml::Table>,
    running: bool,
    findings: Vec<Finding>,
    /// What was looked at, and how much of it.
    sound: Vec<(&'static str, String)>,
}

impl Look {
    /// Looks a party's folder over and changes nothing.
    pub(crate) async fn over(folder: &Path, context: &Context) -> Result<Self, CliError> {
        let env = context.env.unchanging();
        let folder = Folder::open(folder, &env);
        let config = PartyConfig::<toml::Table>::read(&*env.files, &folder.config_path())?;
        let (name, running) = (config.common.name.clone(), is_running(&folder));
        if running {
            context.note(
                "the service is running: what changes while it is looked at is looked at again",
            );
        }
        let (findings, sound) = (Vec::new(), Vec::new());
        let mut look = Self { env, folder, name, config, running, findings, sound };
        let mut progress = Progress::new(context, "looking over", areas::COUNT);
        areas::all(&mut look, &mut progress).await;
        progress.finish();
        Ok(look)
    }

    /// What was looked over stands elsewhere now.
    pub(crate) fn moved(&mut self, to: &Path) {
        let from = self.folder.path().display().to_string();
        for finding in &mut self.findings {
            for text in [&mut finding.place, &mut finding.problem] {
                *text = text.replace(&from, &to.display().to_string());
            }
        }
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// `party`, `running`, `sound`, `looked_at` and `findings`.
    pub(crate) fn json(&self) -> Value {
        let looked_at = self.sound.iter().map(|(area, what)| json!({ "area": area, "what": what }));
        let findings = self.findings.iter().map(|one| {
            json!({
                "area": one.area, "place": one.place, "problem": one.problem, "recover": one.recover,
            })
        });
        json!({
            "folder": self.folder.path(), "party": self.name, "running": self.running,
            "sound": self.is_sound(), "looked_at": looked_at.collect::<Vec<_>>(),
            "findings": findings.collect::<Vec<_>>(),
        })
    }

    pub(crate) fn report(&self) -> String {
        let rows = self.sound.iter().map(|(area, what)| [(*area).to_owned(), what.clone()]);
        let looked_at = table(["looked at", "holds"], rows);
        if self.is_sound() {
            return format!("{looked_at}\nall of it holds");
        }
        let rows = self.findings.iter().map(|one| {
            [one.area.to_owned(), one.place.clone(), one.problem.clone(), one.recover.to_owned()]
        });
        let found = table(["area", "where", "what is wrong", "how to recover"], rows);
        format!("{looked_at}\n{found}\n{} findings", self.findings.len())
    }

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
        let look = Look::over(&self.folder, context).await?;
        context.show(&look.json(), || look.report())?;
        if look.is_sound() { Ok(()) } else { Err(CliError::Negative) }
    }
}

/// Where an authority's store is, with its password; `None` if the configuration names none.
pub(crate) fn store_location(
    folder: &Folder,
    config: &PartyConfig<toml::Table>,
) -> Option<Result<Location, String>> {
    let text = |name| config.section.get(name).and_then(toml::Value::as_str);
    let url = text("store")?;
    let located = Location::parse(url, folder.path()).map_err(|error| error.to_string());
    let Some(file) = text("store_password_file") else { return Some(located) };
    let file = folder.path().join(file);
    Some(located.and_then(|location| {
        let password = folder.private_text(&file).map_err(|error| error.to_string())?;
        let password = password.trim_end_matches(['\r', '\n']);
        location.with_password(password).map_err(|error| error.to_string())
    }))
}

/// Whether a process holds the party's data folder.
fn is_running(folder: &Folder) -> bool {
    let lock = std::fs::File::open(folder.data_dir().join(".lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}
