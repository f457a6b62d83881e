//! Options that tell a living connection from a dead one.

use crate::config_def::{ConfigKey, Default, Kind, Width};

pub(super) const PING_INTERVAL_MS: &str = "websocket.ping.interval.ms";
pub(super) const PONG_TIMEOUT_MS: &str = "websocket.pong.timeout.ms";
pub(super) const IDLE_TIMEOUT_MS: &str = "websocket.idle.timeout.ms";

const BASE: ConfigKey = ConfigKey { group: "Liveness", ..ConfigKey::BASE };

pub(super) const OPTIONS: &[ConfigKey] = &[
    ConfigKey {
        name: PING_INTERVAL_MS,
        kind: Kind::Long,
        default: Default::Value("30000"),
        width: Width::Short,
        display_name: "Ping interval (ms)",
        documentation: "How often to send a ping (RFC 6455 §5.5.2); 0 sends none, for feeds that forbid it.",
        at_least: Some(0),
        ..BASE
    },
    ConfigKey {
        name: PONG_TIMEOUT_MS,
        kind: Kind::Long,
        default: Default::Value("30000"),
        width: Width::Short,
        display_name: "Pong timeout (ms)",
        documentation: "A connection that has not answered a ping for this long is closed and opened again.",
        at_least: Some(1),
        ..BASE
    },
    ConfigKey {
        name: IDLE_TIMEOUT_MS,
        kind: Kind::Long,
        default: Default::Value("0"),
        width: Width::Short,
        display_name: "Idle timeout (ms)",
        documentation: "A connection without a message for this long is closed and opened again, even while it answers \
                        pings; 0 is off.",
        at_least: Some(0),
        ..BASE
    },
];
