//! Where a task's hand-over file is. Files of other users are not used.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sha1::{Digest as _, Sha1};

use super::directory::{Directory, SUFFIX, UNFINISHED_SUFFIX, our_user};
use crate::task_id::TaskId;

/// Longer names are cut, and get a hash that keeps them distinct.
const NAME_MAX: usize = 140;
const NAME_KEPT: usize = 90;

/// The hand-over file of one task.
#[derive(Debug, Clone)]
pub(super) struct Place {
    directory: Directory,
    file: PathBuf,
    /// The name of the file while it is being written.
    unfinished: PathBuf,
}

impl Place {
    pub(super) fn new(directory: &Path, task: &TaskId) -> Place {
        let (directory, stem) = (Directory::new(directory), file_stem(task));
        Place {
            file: directory.file(&format!("{stem}{SUFFIX}")),
            unfinished: directory.file(&format!("{stem}{UNFINISHED_SUFFIX}")),
            directory,
        }
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Opens the file, if there is one.
    pub(super) fn open(&self) -> Result<Option<File>, String> {
        let absent = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
        if fs::symlink_metadata(&self.file).is_err_and(|error| absent.contains(&error.kind())) {
            return Ok(None);
        }
        self.directory.check()?;
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(&self.file);
        let file = opened.map_err(|error| format!("it cannot be opened: {error}"))?;
        let metadata = file.metadata().map_err(|error| format!("it cannot be read: {error}"))?;
        if !metadata.is_file() || metadata.uid() != our_user() {
            return Err("it is not a hand-over file".into());
        }
        Ok(Some(file))
    }

    /// Creates a new file beside the present one, and the directory if it does not exist.
    pub(super) fn create(&self) -> Result<File, String> {
        self.directory.make()?;
        // An earlier process can have ended while it was writing.
        let _ = fs::remove_file(&self.unfinished);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.unfinished)
            .map_err(|error| format!("no file can be made in the directory {}: {error}", self.directory.show()))
    }

    /// Renames the new file over the present one. This survives a loss of power.
    pub(super) fn put_in_force(&self, file: &File) -> io::Result<()> {
        file.sync_all()?;
        fs::rename(&self.unfinished, &self.file)?;
        self.directory.sync()
    }

    /// Removes the new file.
    pub(super) fn discard(&self) {
        let _ = fs::remove_file(&self.unfinished);
    }

    /// Whether this is still the present file, and not a later one of the same name.
    pub(super) fn is_in_force(&self, file: &File) -> bool {
        let (Ok(named), Ok(open)) = (fs::symlink_metadata(&self.file), file.metadata()) else { return false };
        (named.dev(), named.ino()) == (open.dev(), open.ino())
    }

    /// Removes the present file, if the directory may be used.
    pub(super) fn remove(&self) -> Result<(), String> {
        self.directory.check()?;
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!("it cannot be removed: {error}")),
            _ => Ok(()),
        }
    }
}

/// Returns a file name for a connector and task. It is distinct also on file systems that ignore case, and contains no
/// character with a meaning for a file system.
fn file_stem(task: &TaskId) -> String {
    let TaskId { connector, number } = task;
    let mut name = String::new();
    for byte in connector.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(byte.into()),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    if name.len() > NAME_MAX {
        name.truncate(NAME_KEPT);
        name.push('~');
        Sha1::digest(connector).iter().for_each(|byte| name.push_str(&format!("{byte:02x}")));
    }
    format!("{name}-{number}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn write(place: &Place, text: &str) -> Result<(), String> {
        let mut file = place.create()?;
        file.write_all(text.as_bytes()).unwrap();
        place.put_in_force(&file).unwrap();
        Ok(())
    }

    fn read(place: &Place) -> Result<Option<String>, String> {
        let mut text = String::new();
        Ok(place.open()?.map(|mut file| file.read_to_string(&mut text).map(|_| text).unwrap()))
    }

    #[test]
    fn every_connector_has_a_safe_name_of_its_own() {
        let stem = |connector: &str, number| file_stem(&TaskId { connector: connector.to_owned(), number });
        let long = "x".repeat(5000);
        let (long_a, long_b) = (format!("{long}a"), format!("{long}b"));
        let names =
            ["", ".", "..", "../../etc/passwd", "a", "A", "%41", "a-0", "ä", "\u{1f600}", "a/b", "a%2fb", "a\0b"];
        let names = names.into_iter().chain([long_a.as_str(), long_b.as_str()]);
        let files: Vec<String> = names.flat_map(|name| [stem(name, 0), stem(name, 10)]).collect();
        for file in &files {
            assert!(file.len() <= 200 && !file.starts_with('.'), "{file}");
            assert!(file.bytes().all(|b| b.is_ascii_graphic() && !b"/\\:".contains(&b) && !b.is_ascii_uppercase()));
        }
        assert_eq!(files.iter().collect::<HashSet<_>>().len(), files.len());
        assert_eq!(stem("trades-eu_1", 0), "trades-eu_1-0");
    }

    #[test]
    fn directory_and_file_are_ours_alone_and_nothing_unfinished_stays() {
        let temp = tempfile::tempdir().unwrap();
        let place = Place::new(&temp.path().join("a/b"), &TaskId::only("trades"));
        assert_eq!(read(&place), Ok(None));
        write(&place, "one").unwrap();
        write(&place, "two").unwrap();
        assert_eq!(read(&place), Ok(Some("two".into())));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&temp.path().join("a/b")), mode(&place.file)), (0o700, 0o600));
        assert_eq!(fs::read_dir(temp.path().join("a/b")).unwrap().count(), 1);
        let two = place.open().unwrap().unwrap();
        assert!(place.is_in_force(&two));
        write(&place, "three").unwrap();
        assert!(!place.is_in_force(&two));
        place.remove().unwrap();
        place.remove().unwrap();
        assert_eq!(read(&place), Ok(None));
    }

    #[test]
    fn a_directory_that_others_can_write_or_a_link_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let (open, link) = (temp.path().join("open"), temp.path().join("link"));
        fs::create_dir(&open).unwrap();
        write(&Place::new(&open, &TaskId::only("trades")), "planted").unwrap();
        symlink(&open, &link).unwrap();
        let linked = Place::new(&link, &TaskId::only("trades"));
        assert!(linked.create().unwrap_err().contains("links are not followed"));
        assert!(read(&linked).unwrap_err().contains("links are not followed"));
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let place = Place::new(&open, &TaskId::only("trades"));
        for refused in [place.create().map(drop), place.open().map(drop), place.remove()] {
            let why = refused.unwrap_err();
            assert!(why.contains("can be written by other users") && why.contains("websocket.handover.dir"), "{why}");
        }
        assert!(place.file.exists(), "what may be another's is left alone");
    }

    #[test]
    fn a_planted_link_or_pipe_is_neither_read_nor_written_through() {
        let temp = tempfile::tempdir().unwrap();
        let directory = temp.path().join("d");
        let place = Place::new(&directory, &TaskId::only("trades"));
        write(&place, "ours").unwrap();
        let target = temp.path().join("target");
        fs::write(&target, "precious").unwrap();
        place.remove().unwrap();
        symlink(&target, &place.file).unwrap();
        symlink(&target, &place.unfinished).unwrap();
        assert!(read(&place).unwrap_err().contains("cannot be opened"));
        write(&place, "new").unwrap();
        assert_eq!(read(&place), Ok(Some("new".into())));
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
        fs::remove_file(&place.file).unwrap();
        fs::create_dir(&place.file).unwrap();
        assert!(read(&place).unwrap_err().contains("not a hand-over file"));
    }
}
