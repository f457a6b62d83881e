//! The connector's configuration, as most tests want it.

use serde_json::Value;

/// A connector that reads `url` into `topic`, with a short backoff; `more` adds options or replaces these.
pub fn source_config(url: &str, topic: &str, more: &[(&str, &str)]) -> Value {
    let basic = [
        ("connector.class", "io.conduktor.connect.websocket.WebSocketSourceConnector"),
        ("tasks.max", "1"),
        ("websocket.url", url),
        ("kafka.topic", topic),
        ("websocket.reconnect.interval.ms", "100"),
        ("websocket.reconnect.backoff.max.ms", "500"),
    ];
    basic.iter().chain(more).map(|&(key, value)| (key.to_owned(), Value::from(value))).collect()
}
