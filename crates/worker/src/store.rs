//! The offset store of a standalone worker: Connect's own offset file, read and written.
//!
//! The file is a Java-serialized `HashMap<byte[], byte[]>` (Java Object Serialization Specification, chapter 6). So
//! this worker and Connect's can continue each other's offsets. A key is the JSON of `["connector", {partition}]`. A
//! value is the JSON of the offset, or null if the offset was reset.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use connect_websocket_engine::file;
use indexmap::IndexMap;
use serde_json::{Map, Value};
use thiserror::Error;
use tracing::warn;

use crate::convert::{write_json_string, write_object};

mod java_map;

/// The largest offset file, in bytes. Also the limit of all keys and values together.
pub const MAX_FILE_BYTES: usize = 256 * 1024 * 1024;

/// A source partition or a source offset: a JSON object of primitives.
pub type JsonObject = Map<String, Value>;

/// The entries in file order. The bytes of other connectors' entries stay unchanged. Java allows a null key.
pub(crate) type Entries = IndexMap<Option<Vec<u8>>, Option<Vec<u8>>>;

/// Why the offset file cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// An operation on the file has failed.
    #[error(
        "offset file {path}: {doing} failed: {source}; offset.storage.file.filename must name a file in a folder that the worker may write to"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// The operation.
        doing: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The file is not an offset file.
    #[error(
        "offset file {path} is not an offset file of a standalone Connect worker: {reason}; restore it from a copy, or move it away to start without stored offsets"
    )]
    Garbage {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
}

/// The offsets of all connectors. Tasks share it. Every method can be called in any thread.
#[derive(Debug)]
pub struct OffsetStore {
    /// The file with symbolic links resolved, so that a rename replaces the file and not a link.
    path: PathBuf,
    state: Mutex<State>,
    /// Held while the file is written, so that an older snapshot never replaces a newer one.
    writing: Mutex<()>,
}

#[derive(Debug)]
struct State {
    entries: Entries,
    changed: bool,
    written_at: Option<SystemTime>,
}

impl OffsetStore {
    /// Reads the file. A missing, empty or truncated file is an empty store, as in Connect. A truncated one is logged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        check_link(path).map_err(|source| StoreError::Io { path: path.to_owned(), doing: "opening", source })?;
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let (bytes, written_at) = match file::open(&path) {
            Ok(file) => read(&path, file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), None),
            Err(source) => {
                return Err(StoreError::Io { path, doing: "opening", source });
            }
        };
        let entries = match java_map::decode(&bytes) {
            Ok(entries) => entries,
            Err(java_map::DecodeError::Truncated) => {
                if !bytes.is_empty() {
                    warn!(
                        "offset file {} ends too early and is ignored: starting without stored offsets",
                        path.display()
                    );
                }
                Entries::new()
            }
            Err(java_map::DecodeError::Garbage(reason)) => {
                return Err(StoreError::Garbage { path, reason });
            }
        };
        let store =
            Self { path, state: Mutex::new(State { entries, changed: false, written_at }), writing: Mutex::new(()) };
        store.check_writable()?;
        Ok(store)
    }

    /// Returns when the file was last written, by this process or before. `None` if there was no file.
    pub fn written_at(&self) -> Option<SystemTime> {
        self.state().written_at
    }

    /// Makes the next flush write the file although no offset has changed, so that the file has the present time. Does
    /// nothing if it was written less than `recently` ago, for example by another task.
    pub fn mark_alive(&self, recently: Duration) {
        let mut state = self.state();
        let age = state.written_at.and_then(|at| at.elapsed().ok());
        state.changed |= age.is_none_or(|age| age >= recently);
    }

    /// Whether the next flush has something to write.
    pub fn is_changed(&self) -> bool {
        self.state().changed
    }

    /// Removes an entry with its key. (A reset with [`OffsetStore::set`] keeps the key.)
    pub fn remove(&self, connector: &str, partition: &JsonObject) {
        let mut state = self.state();
        if state.entries.shift_remove(&Some(key_bytes(connector, partition))).is_some() {
            state.changed = true;
        }
    }

    /// Returns the stored offset of a source partition, or `None` if there is none or it was reset.
    pub fn get(&self, connector: &str, partition: &JsonObject) -> Option<JsonObject> {
        let key = key_bytes(connector, partition);
        let state = self.state();
        let value = state.entries.get(&Some(key))?.as_deref()?;
        serde_json::from_slice(value).ok()
    }

    /// Stores an offset, or resets it with `None` (the key stays in the file with a null value, as in Connect).
    /// It is on disk after the next [`OffsetStore::flush`].
    pub fn set(&self, connector: &str, partition: &JsonObject, offset: Option<&JsonObject>) {
        let key = Some(key_bytes(connector, partition));
        let value = offset.map(|offset| {
            let mut out = Vec::new();
            write_object(&mut out, offset);
            out
        });
        let mut state = self.state();
        if state.entries.get(&key) != Some(&value) {
            state.entries.insert(key, value);
            state.changed = true;
        }
    }

    /// Returns all stored offsets of a connector, in file order, without the reset ones.
    pub fn connector_offsets(&self, connector: &str) -> Vec<(JsonObject, JsonObject)> {
        let state = self.state();
        let parse = |(key, value): (&Option<Vec<u8>>, &Option<Vec<u8>>)| {
            let (name, partition): (String, JsonObject) = serde_json::from_slice(key.as_deref()?).ok()?;
            if name != connector {
                return None;
            }
            Some((partition, serde_json::from_slice(value.as_deref()?).ok()?))
        };
        state.entries.iter().filter_map(parse).collect()
    }

    /// Writes the file if an offset has changed since the last successful write. A new file is written, synced, and
    /// renamed over the old one, so that after a crash there is a complete file. Blocks, but `set` and `get` do not
    /// wait for it. After an error, the next flush tries again.
    pub fn flush(&self) -> Result<(), StoreError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = {
            let mut state = self.state();
            if !state.changed {
                return Ok(());
            }
            state.changed = false;
            java_map::encode(&state.entries)
        };
        let written = self.replace_file(&bytes);
        let mut state = self.state();
        match written {
            Ok(()) => state.written_at = Some(SystemTime::now()),
            Err(_) => state.changed = true,
        }
        written
    }

    fn replace_file(&self, bytes: &[u8]) -> Result<(), StoreError> {
        let temporary = self.temporary()?;
        let written = self
            .write_temporary(&temporary, bytes)
            .and_then(|()| fs::rename(&temporary, &self.path).map_err(|source| self.io("replacing the file", source)));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written?;
        // The rename itself must survive a power cut.
        let folder = File::open(self.folder()).and_then(|folder| folder.sync_all());
        folder.map_err(|source| self.io("making the rename durable", source))
    }

    fn write_temporary(&self, temporary: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let mut file = create(temporary).map_err(|source| self.io("creating a temporary file beside it", source))?;
        if let Ok(metadata) = fs::metadata(&self.path) {
            file.set_permissions(metadata.permissions()).map_err(|source| self.io("keeping its mode", source))?;
        }
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|source| self.io("writing", source))
    }

    /// Checks at the start, and not at the first flush, that the folder can be written to.
    fn check_writable(&self) -> Result<(), StoreError> {
        let temporary = self.temporary()?;
        create(&temporary).map_err(|source| self.io("creating a temporary file beside it", source))?;
        fs::remove_file(&temporary).map_err(|source| self.io("removing a temporary file", source))
    }

    fn temporary(&self) -> Result<PathBuf, StoreError> {
        let Some(name) = self.path.file_name() else {
            return Err(self.io("writing", io::Error::other("the name ends without a file name")));
        };
        let mut name = name.to_owned();
        name.push(".tmp");
        Ok(self.path.with_file_name(name))
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    fn io(&self, doing: &'static str, source: io::Error) -> StoreError {
        StoreError::Io { path: self.path.clone(), doing, source }
    }

    /// No code panics while it holds the lock, so the state is consistent.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses a symbolic link of another user in a directory that others can write to, such as `/tmp`.
fn check_link(path: &Path) -> io::Result<()> {
    let Ok(file) = fs::symlink_metadata(path) else { return Ok(()) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let shared = fs::metadata(folder)?.mode() & 0o022 != 0;
    if file.is_symlink() && shared && file.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it is a link of another user's, in a directory that others can write to"));
    }
    Ok(())
}

/// Creates a new file. Removes one that is left from a crash. Does not follow a link at its place.
fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).open(path)
}

fn read(path: &Path, file: File) -> Result<(Vec<u8>, Option<SystemTime>), StoreError> {
    let failed = |source| StoreError::Io { path: path.to_owned(), doing: "reading", source };
    let metadata = file.metadata().map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_FILE_BYTES {
        let reason = format!("it has more than the limit of {MAX_FILE_BYTES} bytes");
        return Err(StoreError::Garbage { path: path.to_owned(), reason });
    }
    Ok((bytes, metadata.modified().ok()))
}

/// `["connector",{partition}]` as Connect's schemaless JsonConverter writes it. Connect compares keys by their bytes.
fn key_bytes(connector: &str, partition: &JsonObject) -> Vec<u8> {
    let mut out = vec![b'['];
    write_json_string(&mut out, connector);
    out.push(b',');
    write_object(&mut out, partition);
    out.push(b']');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("connect-websocket-store-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn offsets(&self) -> PathBuf {
            self.0.join("connect.offsets")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn object(value: Value) -> JsonObject {
        value.as_object().unwrap().clone()
    }

    fn partition() -> JsonObject {
        object(json!({"websocket_url": "wss://h/\u{1f600}"}))
    }

    #[test]
    fn many_tasks_keep_one_file_fresh_together() {
        let folder = Folder::new("alive");
        let store = OffsetStore::open(folder.offsets()).unwrap();
        let hour = Duration::from_secs(3600);
        store.mark_alive(hour);
        assert!(store.is_changed(), "there is no file yet");
        store.flush().unwrap();
        store.mark_alive(hour);
        assert!(!store.is_changed(), "another task has just written it");
        store.mark_alive(Duration::ZERO);
        assert!(store.is_changed());
    }

    #[test]
    fn a_missing_file_is_an_empty_store_without_a_time() {
        let folder = Folder::new("missing");
        let store = OffsetStore::open(folder.offsets()).unwrap();
        assert_eq!(store.written_at(), None);
        assert_eq!(store.get("c", &partition()), None);
        store.flush().unwrap();
        assert!(!folder.offsets().exists(), "nothing changed, nothing is written");
    }

    #[test]
    fn offsets_survive_a_restart() {
        let folder = Folder::new("restart");
        let store = OffsetStore::open(folder.offsets()).unwrap();
        let offset = object(json!({"session_id": "s", "sequence": 9007199254740993u64}));
        store.set("c", &partition(), Some(&offset));
        store.set("d", &partition(), Some(&object(json!({"sequence": 2}))));
        store.flush().unwrap();

        let store = OffsetStore::open(folder.offsets()).unwrap();
        assert!(store.written_at().is_some());
        assert_eq!(store.get("c", &partition()), Some(offset.clone()));
        assert_eq!(store.connector_offsets("c"), [(partition(), offset)]);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn tasks_may_set_and_flush_at_the_same_time() {
        let folder = Folder::new("tasks");
        let store = OffsetStore::open(folder.offsets()).unwrap();
        std::thread::scope(|scope| {
            for task in 0..4 {
                let store = &store;
                scope.spawn(move || {
                    for sequence in 0..20 {
                        let offset = object(json!({ "sequence": sequence }));
                        store.set("c", &object(json!({ "task": task })), Some(&offset));
                        store.flush().unwrap();
                    }
                });
            }
        });
        let offsets = OffsetStore::open(folder.offsets()).unwrap().connector_offsets("c");
        assert_eq!(offsets.len(), 4);
        assert!(offsets.iter().all(|(_, offset)| offset["sequence"] == 19), "{offsets:?}");
    }

    #[test]
    fn a_reset_offset_stays_as_null() {
        let folder = Folder::new("reset");
        let store = OffsetStore::open(folder.offsets()).unwrap();
        store.set("c", &partition(), Some(&object(json!({"sequence": 1}))));
        store.set("c", &partition(), None);
        store.flush().unwrap();
        let entries = java_map::decode(&fs::read(folder.offsets()).unwrap()).unwrap();
        let key = br#"["c",{"websocket_url":"wss://h/\uD83D\uDE00"}]"#.to_vec();
        assert_eq!(entries, Entries::from_iter([(Some(key), None)]));
        let store = OffsetStore::open(folder.offsets()).unwrap();
        assert_eq!(store.get("c", &partition()), None);
        assert!(store.connector_offsets("c").is_empty());
    }

    #[test]
    fn foreign_entries_keep_their_bytes() {
        let folder = Folder::new("foreign");
        let entries = Entries::from_iter([
            (Some(b"[\"other\", { \"x\" : 1.50 }]".to_vec()), Some(b"{ \"o\":1e5 }".to_vec())),
            (Some(b"\xff not json".to_vec()), None),
            (None, Some(vec![])),
        ]);
        fs::write(folder.offsets(), java_map::encode(&entries)).unwrap();
        let store = OffsetStore::open(folder.offsets()).unwrap();
        store.set("c", &partition(), Some(&object(json!({"sequence": 1}))));
        store.flush().unwrap();
        let mut after = java_map::decode(&fs::read(folder.offsets()).unwrap()).unwrap();
        assert_eq!(after.len(), 4);
        after.pop();
        assert_eq!(after, entries);
    }

    #[test]
    fn an_unchanged_store_is_not_written_again() {
        let folder = Folder::new("unchanged");
        let store = OffsetStore::open(folder.offsets()).unwrap();
        let offset = object(json!({"sequence": 1}));
        store.set("c", &partition(), Some(&offset));
        store.flush().unwrap();
        fs::write(folder.offsets(), b"marker").unwrap();
        store.set("c", &partition(), Some(&offset));
        store.flush().unwrap();
        assert_eq!(fs::read(folder.offsets()).unwrap(), b"marker");
    }

    #[test]
    fn a_failed_flush_is_tried_again() {
        let folder = Folder::new("failed");
        let store = OffsetStore::open(folder.offsets()).unwrap();
        store.set("c", &partition(), Some(&object(json!({"sequence": 1}))));
        fs::remove_dir_all(&folder.0).unwrap();
        let error = store.flush().unwrap_err().to_string();
        assert!(error.contains("connect.offsets") && error.contains("offset.storage.file.filename"), "{error}");
        fs::create_dir_all(&folder.0).unwrap();
        store.flush().unwrap();
        assert!(OffsetStore::open(folder.offsets()).unwrap().get("c", &partition()).is_some());
    }

    #[test]
    fn a_truncated_file_is_empty_and_garbage_is_an_error() {
        let folder = Folder::new("garbage");
        let whole = java_map::encode(&Entries::from_iter([(Some(b"k".to_vec()), Some(b"v".to_vec()))]));
        for end in 0..whole.len() {
            fs::write(folder.offsets(), &whole[..end]).unwrap();
            assert!(OffsetStore::open(folder.offsets()).unwrap().state().entries.is_empty(), "{end}");
        }
        fs::write(folder.offsets(), b"{\"offsets\":[]}").unwrap();
        let error = OffsetStore::open(folder.offsets()).unwrap_err().to_string();
        assert!(error.contains("connect.offsets is not an offset file") && error.contains("move it away"), "{error}");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_reported_at_once() {
        let error = OffsetStore::open("/no/such/folder/offsets").unwrap_err().to_string();
        assert!(error.contains("/no/such/folder/offsets: creating a temporary file beside it failed"), "{error}");
        assert!(OffsetStore::open("/").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn mode_and_symbolic_link_survive() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = Folder::new("mode");
        let real = folder.0.join("real");
        fs::write(&real, b"").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&real, folder.offsets()).unwrap();
        let store = OffsetStore::open(folder.offsets()).unwrap();
        store.set("c", &partition(), None);
        store.flush().unwrap();
        assert!(fs::symlink_metadata(folder.offsets()).unwrap().is_symlink());
        let metadata = fs::metadata(&real).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
        assert!(metadata.len() > 0);
    }
}
