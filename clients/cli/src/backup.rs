//! `lanyard backup`: copies what a party cannot get again, while its service runs, and looks the copy over.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::HumanBytes;
use lanyard_authority::PublishError;
use lanyard_env::FileError;
use lanyard_party::{Folder, PartyConfig};
use lanyard_store::Location;
use serde_json::json;

use crate::context::Context;
use crate::error::CliError;
use crate::fsck::{Look, store_location};
use crate::progress::Progress;

/// A service that runs may replace files under the copy: then all is copied again.
const TRIES: usize = 3;

/// `lanyard backup`.
#[derive(Args)]
pub(crate) struct BackupArgs {
    /// The party's folder; its service may be running.
    #[arg(long, env = "LANYARD_FOLDER", value_name = "DIR")]
    folder: PathBuf,
    /// Where the copy goes: a folder that does not exist yet.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

/// What is copied.
struct Source {
    root: PathBuf,
    name: String,
    store: Option<Location>,
}

/// What was copied.
#[derive(Default)]
struct Copied {
    files: u64,
    bytes: u64,
}

/// Copies a party's folder, whose service may be running, to a place that is not there yet, as `lanyard backup --json` does.
///
/// # Errors
/// [`CliError`]; [`CliError::Negative`] if something in the copy does not hold.
pub async fn back_up(folder: &Path, to: &Path) -> Result<(), CliError> {
    let args = BackupArgs { folder: folder.to_owned(), to: to.to_owned() };
    args.run(&Context::new(true)).await
}

impl BackupArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), CliError> {
        let source = Source::open(&self.folder, context)?;
        let unfinished = self.unfinished(&source)?;
        let mut tries = 0;
        let (copied, mut look) = loop {
            tries += 1;
            clear(&unfinished)?;
            let copied = source.copy(&unfinished, context).await;
            if copied.is_err() {
                // That error is told, whatever becomes of what was copied until then.
                let _ = clear(&unfinished);
            }
            let copied = copied?;
            mark(&unfinished, context)?;
            let look = Look::over(&unfinished, context).await?;
            if look.is_sound() || tries == TRIES {
                break (copied, look);
            }
            context.note("the copy does not hold: all is copied again");
        };
        let placed = |source| FileError::new("rename", &unfinished, source);
        fs::rename(&unfinished, &self.to).map_err(placed)?;
        look.moved(&self.to);
        sync(self.to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;

        let mut json = look.json();
        json["folder"] = json!(self.folder);
        json["to"] = json!(self.to);
        json["files"] = json!(copied.files);
        json["bytes"] = json!(copied.bytes);
        json["store_is_elsewhere"] = json!(source.store_elsewhere().map(ToString::to_string));
        context.show(&json, || {
            let Copied { files, bytes } = copied;
            let to = self.to.display();
            let mut report =
                format!("{}\n{files} files, {} in {to}", look.report(), HumanBytes(bytes));
            if let Some(store) = source.store_elsewhere() {
                report +=
                    &format!("\nthe store is not among them: {store}; back it up by its own means");
            }
            report + "\nencrypt it to the party's own key before it leaves this machine"
        })?;
        if look.is_sound() { Ok(()) } else { Err(CliError::Negative) }
    }

    /// Where the copy is made, beside its place: what stands there is from a backup that was broken off.
    fn unfinished(&self, source: &Source) -> Result<PathBuf, CliError> {
        let to = std::path::absolute(&self.to)
            .map_err(|error| FileError::new("find", &self.to, error))?;
        if to.symlink_metadata().is_ok() {
            let problem = format!("{} is there already; give a place that is not", to.display());
            return Err(CliError::option("--to", problem));
        }
        let (Some(dir), Some(name)) = (to.parent(), to.file_name()) else {
            return Err(CliError::option("--to", "name a folder that does not exist yet"));
        };
        let dir = found("--to", dir)?;
        if dir.starts_with(&source.root) {
            let problem = "it lies in the folder that is backed up; give a place outside of it";
            return Err(CliError::option("--to", problem));
        }
        Ok(dir.join(format!(".{}.lanyard-backup", name.display())))
    }
}

impl Source {
    fn open(folder: &Path, context: &Context) -> Result<Self, CliError> {
        let root = found("--folder", folder)?;
        let folder = Folder::open(&root, &context.env);
        let path = folder.config_path();
        let config = PartyConfig::<toml::Table>::read(&**folder.files(), &path)?;
        let store = store_location(&folder, &config).transpose();
        let store = store.map_err(|problem| CliError::content(path, problem))?;
        Ok(Self { root, name: config.common.name, store })
    }

    /// The SQLite file in the folder, relative to it.
    fn store_file(&self) -> Option<PathBuf> {
        let file = fs::canonicalize(self.store.as_ref()?.file()?).ok()?;
        Some(file.strip_prefix(&self.root).ok()?.to_owned())
    }

    /// A store that the folder does not hold.
    fn store_elsewhere(&self) -> Option<&Location> {
        self.store.as_ref().filter(|_| self.store_file().is_none())
    }

    /// What is not copied: what can be fetched again or was sent elsewhere, what is being written, and the SQLite file, which
    /// is copied by other means.
    fn leaves_out(&self, path: &Path, store: Option<&Path>) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let of_store = store.is_some_and(|store| {
            let file = store.file_name().unwrap_or_default().to_string_lossy();
            let rest = name.strip_prefix(&*file);
            path.parent() == store.parent() && matches!(rest, Some("" | "-wal" | "-shm"))
        });
        let others_feed = path.parent() == Some(Path::new("data/feeds")) && name != self.name;
        let again = ["data/mirror", "data/archive", "data/audit", "data/inspection.probe"];
        name.starts_with('.') || of_store || others_feed || again.iter().any(|one| path == *one)
    }

    async fn copy(&self, to: &Path, context: &Context) -> Result<Copied, CliError> {
        let store = self.store_file();
        let (mut dirs, mut files) = (Vec::new(), Vec::new());
        self.list(Path::new(""), store.as_deref(), &mut dirs, &mut files)?;
        files.sort_by_cached_key(|(path, _)| (turn(path), path.clone()));
        let size = |path: &Path| fs::metadata(self.root.join(path)).map_or(0, |file| file.len());
        let of_store = store.as_deref().map_or(0, size);
        let total = files.iter().map(|(_, bytes)| bytes).sum::<u64>() + of_store;
        let mut progress = Progress::new(context, "copying", total);
        for dir in &dirs {
            let mode = mode(&self.root.join(dir)).unwrap_or(0o700) | 0o700;
            let made = DirBuilder::new().mode(mode).create(to.join(dir));
            made.map_err(|error| FileError::new("make", &to.join(dir), error))?;
        }
        let mut copied = Copied::default();
        for (path, _) in &files {
            match copy_file(&self.root.join(path), &to.join(path)) {
                Ok(bytes) => copied.add(bytes, &mut progress),
                // Swept since it was listed; whether it was needed shows when the copy is looked over.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let (Some(location), Some(store)) = (&self.store, &store) {
            let file = to.join(store);
            let mode = mode(&self.root.join(store)).unwrap_or(0o600);
            let made = OpenOptions::new().write(true).create_new(true).mode(mode).open(&file);
            made.map_err(|error| FileError::new("make", &file, error))?;
            location.copy_to(&file).await?;
            sync(&file)?;
            copied.add(of_store, &mut progress);
        }
        for dir in &dirs {
            sync(&to.join(dir))?;
        }
        progress.finish();
        Ok(copied)
    }

    /// The folders and files under `dir`, relative to the root, a folder before what is in it.
    fn list(
        &self,
        dir: &Path,
        store: Option<&Path>,
        dirs: &mut Vec<PathBuf>,
        files: &mut Vec<(PathBuf, u64)>,
    ) -> Result<(), FileError> {
        let failed = |error| FileError::new("list", &self.root.join(dir), error);
        dirs.push(dir.to_owned());
        for entry in fs::read_dir(self.root.join(dir)).map_err(failed)? {
            let path = dir.join(entry.map_err(failed)?.file_name());
            if self.leaves_out(&path, store) {
                continue;
            }
            // Follows links, as the service does.
            match fs::metadata(self.root.join(&path)) {
                Ok(found) if found.is_dir() => self.list(&path, store, dirs, files)?,
                Ok(found) if found.is_file() => files.push((path, found.len())),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Copied {
    fn add(&mut self, bytes: u64, progress: &mut Progress) {
        self.files += 1;
        self.bytes += bytes;
        progress.set(self.bytes);
    }
}

/// The order of copying: what speaks of other files before them, since those only grow; and how far the machine has signed
/// after its log, so that a copy whose log is behind is taken for what it is.
fn turn(path: &Path) -> u8 {
    match path.to_str() {
        Some("data/receipts/chain") => 0,
        Some("data/signed") => 2,
        _ => 1,
    }
}

/// Marks an authority's copy: whoever starts from it must not take itself for the machine that was copied.
fn mark(copy: &Path, context: &Context) -> Result<(), CliError> {
    match lanyard_authority::mark_restored(&context.env, &copy.join("data")) {
        Err(PublishError::File(error)) => Err(error.into()),
        // Damaged: it is found when the copy is looked over.
        Err(_) | Ok(()) => Ok(()),
    }
}

/// A folder that an option names, or is to be made in.
fn found(option: &'static str, dir: &Path) -> Result<PathBuf, CliError> {
    let found = fs::canonicalize(dir);
    found.map_err(|error| CliError::option(option, FileError::new("find", dir, error)))
}

fn copy_file(from: &Path, to: &Path) -> Result<u64, FileError> {
    let bytes = fs::copy(from, to).map_err(|error| FileError::new("copy", from, error))?;
    sync(to)?;
    Ok(bytes)
}

fn sync(path: &Path) -> Result<(), FileError> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| FileError::new("sync", path, error))
}

fn mode(path: &Path) -> io::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o777)
}

/// Removes a copy that was not finished.
fn clear(unfinished: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::new("remove", unfinished, error))
        }
        _ => Ok(()),
    }
}
