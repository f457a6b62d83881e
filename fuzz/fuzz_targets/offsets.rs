//! The worker's offset file, which Connect may have written, or nobody: no panic, and what is written is read again.

#![no_main]

use std::cell::LazyCell;

use connect_websocket::store::OffsetStore;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

thread_local! {
    static DIRECTORY: LazyCell<TempDir> = LazyCell::new(|| TempDir::new().expect("a directory for the offset file"));
}

fuzz_target!(|bytes: &[u8]| {
    let path = DIRECTORY.with(|directory| directory.path().join("offsets"));
    std::fs::write(&path, bytes).expect("the offset file can be written");
    let Ok(store) = OffsetStore::open(&path) else {
        return;
    };
    let partition = serde_json::from_str(r#"{"websocket_url":"ws://host"}"#).expect("a partition");
    let offset = serde_json::from_str(r#"{"sequence":7}"#).expect("an offset");
    store.set("fuzz", &partition, Some(&offset));
    store.flush().expect("the store can be written");
    let again = OffsetStore::open(&path).expect("what was written can be read");
    assert_eq!(again.get("fuzz", &partition), Some(offset));
    assert_eq!(again.connector_offsets("fuzz").len(), store.connector_offsets("fuzz").len());
});
