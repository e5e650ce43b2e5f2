//! What a disk does that it should not.

use std::path::Path;

use super::SimDisk;

/// The folder of a witness's memory.
const MEMORY: &str = "witness";

/// What is broken; of files, those under folders of a name.
#[derive(Default)]
pub(super) struct Broken {
    lies_about: Option<&'static str>,
    drops: Option<&'static str>,
    full: Option<&'static str>,
    /// A witness on this machine remembers nothing, from one request to the next.
    pub(super) heeds_nothing: bool,
}

impl Broken {
    /// Whether a file is said to be on the disk before it is.
    pub(super) fn lies(&self, path: &Path) -> bool {
        is_in(path, self.lies_about)
    }

    /// Whether a file is said to be written and is not.
    pub(super) fn drops(&self, path: &Path) -> bool {
        is_in(path, self.drops) || self.forgets(path)
    }

    /// Whether a file is not there any more when it is asked for.
    pub(super) fn forgets(&self, path: &Path) -> bool {
        self.heeds_nothing && is_in(path, Some(MEMORY))
    }

    /// Whether a file cannot grow.
    pub(super) fn is_full(&self, path: &Path) -> bool {
        is_in(path, self.full)
    }
}

fn is_in(path: &Path, folder: Option<&str>) -> bool {
    folder.is_some_and(|folder| path.iter().any(|part| part == folder))
}

impl SimDisk {
    /// From now on the disk says of files under folders of this name that they are on it before they are.
    pub(crate) fn lie_about(&self, folder: &'static str) {
        self.state().broken.lies_about = Some(folder);
    }

    /// From now on files under folders of this name are said to be written and are not.
    pub(crate) fn drop_writes(&self, folder: &'static str) {
        self.state().broken.drops = Some(folder);
    }

    /// From now on files under folders of this name cannot grow.
    pub(crate) fn fill_up(&self, folder: &'static str) {
        self.state().broken.full = Some(folder);
    }

    /// Whether a witness on this machine has no memory at any request, and so cosigns whatever its log signed.
    pub(crate) fn heed_nothing(&self, heeds_nothing: bool) {
        self.state().broken.heeds_nothing = heeds_nothing;
    }

    /// Whether it does so now.
    #[must_use]
    pub(crate) fn heeds_nothing(&self) -> bool {
        self.state().broken.heeds_nothing
    }

    /// Changes one byte of every file under `dir`, while the machine is off.
    pub(crate) fn damage(&self, dir: &Path) {
        let mut state = self.state();
        for (_, file) in state.files.iter_mut().filter(|(path, _)| path.starts_with(dir)) {
            if let Some(byte) = file.bytes.last_mut() {
                *byte ^= 1;
            }
        }
    }
}
