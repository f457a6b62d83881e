//! The directory of hand-over files. It may be under the system's temporary directory, where every user can create
//! files. So a directory that belongs to another user, or that others can write to, is not used. Links are not
//! followed.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tracing::{info, warn};

/// The ends of the names of hand-over files, and of files that are being written.
pub(super) const SUFFIX: &str = ".handover";
pub(super) const UNFINISHED_SUFFIX: &str = ".handover.tmp";
/// A file that no start has used for this time belongs to a connector that no longer exists.
const SWEPT_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often a directory is checked and swept at most, and for how many directories the time is kept.
const INTERVAL: Duration = Duration::from_secs(24 * 3600);
const REMEMBERED: usize = 64;

/// When this process last checked each directory, and when it last swept it.
static CHECKED: Mutex<BTreeMap<PathBuf, Instant>> = Mutex::new(BTreeMap::new());
static SWEPT: Mutex<BTreeMap<PathBuf, Instant>> = Mutex::new(BTreeMap::new());

#[derive(Debug, Clone)]
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new(path: &Path) -> Directory {
        Directory(path.to_owned())
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn show(&self) -> std::path::Display<'_> {
        self.0.display()
    }

    /// Creates the directory if it does not exist, and checks that only this user can write to it.
    pub(super) fn make(&self) -> Result<(), String> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(|error| format!("the directory {} cannot be made: {error}", self.show()))?;
        self.check()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let directory = self.show();
        let metadata = fs::symlink_metadata(&self.0).map_err(|error| format!("the directory {directory}: {error}"))?;
        let why = if !metadata.is_dir() {
            "is not a directory (links are not followed)"
        } else if metadata.uid() != our_user() {
            "belongs to another user"
        } else if metadata.permissions().mode() & 0o022 != 0 {
            "can be written by other users"
        } else {
            return Ok(());
        };
        Err(format!("{directory} {why}; set websocket.handover.dir to a directory to which only the worker has access"))
    }

    /// Syncs the directory, so that changes in it survive a loss of power.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }

    /// Warns at a task's start if the directory cannot be used: the stop would lose records. Connectors that share a
    /// directory share the warning.
    pub(super) fn check_once(&self) {
        if is_due(&CHECKED, &self.0)
            && let Err(why) = self.make()
        {
            warn!("event=handover_unusable reason=\"{why}; records that a stop cannot give to Kafka will be lost\"");
        }
    }

    /// Removes the files of connectors that no longer exist. Call it when a task stops: by then, connectors that still
    /// exist have started and used their files.
    pub(super) fn sweep_once(&self) {
        if is_due(&SWEPT, &self.0) && self.check().is_ok() {
            self.sweep(SystemTime::now());
        }
    }

    fn sweep(&self, now: SystemTime) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // If the entry is a link, the time is that of the link.
            let Ok(metadata) = entry.metadata() else { continue };
            let age = metadata.modified().ok().and_then(|modified| now.duration_since(modified).ok());
            let is_ours = name.ends_with(SUFFIX) || name.ends_with(UNFINISHED_SUFFIX);
            if is_ours
                && metadata.is_file()
                && let Some(age) = age.filter(|age| *age > SWEPT_AFTER)
                && fs::remove_file(entry.path()).is_ok()
            {
                let (bytes, days) = (metadata.len(), age.as_secs() / (24 * 3600));
                info!("event=handover_swept file=\"{name}\" bytes={bytes} age_days={days}");
            }
        }
    }
}

fn is_due(last: &Mutex<BTreeMap<PathBuf, Instant>>, directory: &Path) -> bool {
    let mut last: MutexGuard<'_, _> = last.lock().unwrap_or_else(PoisonError::into_inner);
    if last.get(directory).is_some_and(|at| at.elapsed() < INTERVAL) {
        return false;
    }
    if last.len() >= REMEMBERED {
        last.clear();
    }
    last.insert(directory.to_owned(), Instant::now());
    true
}

pub(super) fn our_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn old_hand_over_files_are_swept_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let directory = Directory::new(temp.path());
        let old = SystemTime::now() - SWEPT_AFTER - Duration::from_secs(1);
        let make = |name: &str, modified| {
            let file = File::create(temp.path().join(name)).unwrap();
            file.set_modified(modified).unwrap();
        };
        make("gone-0.handover", old);
        make("died-0.handover.tmp", old);
        make("notes.txt", old);
        make("kept-0.handover", SystemTime::now());
        symlink(temp.path().join("notes.txt"), temp.path().join("link-0.handover")).unwrap();
        directory.sweep(SystemTime::now());
        let mut left: Vec<_> = fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["kept-0.handover", "link-0.handover", "notes.txt"]);
    }

    #[test]
    fn each_directory_has_its_turn() {
        let last = Mutex::default();
        let [a, b] = ["a", "b"].map(Path::new);
        assert_eq!([is_due(&last, a), is_due(&last, b), is_due(&last, a)], [true, true, false]);
    }
}
