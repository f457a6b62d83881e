//! Properties files of the worker: no panic, and a connector's file is either read or refused.

#![no_main]

use connect_websocket::connector::file::connector_file;
use connect_websocket::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let parsed = properties::parse(bytes);
    if let (true, Ok(text)) = (bytes.is_ascii(), std::str::from_utf8(bytes)) {
        assert_eq!(properties::parse_text(text).ok(), parsed.ok());
    }
    for name in ["connector.properties", "connector.json"] {
        let _ = connector_file(name, bytes);
    }
});
