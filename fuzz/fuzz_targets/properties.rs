//! Properties files of the worker: no panic, and a connector's file is either read or refused.

#![no_main]

use connect_websocket::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(parsed) = properties::parse(bytes)
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        assert_eq!(properties::parse_text(text).ok(), Some(parsed));
    }
    for name in ["connector.properties", "connector.json"] {
        let _ = properties::connector_file(name, bytes);
    }
});
