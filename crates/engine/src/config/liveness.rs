//! Options that distinguish a live connection from a dead one.

use super::values::Values;
use crate::config_def::{ConfigKey, Default, Kind, Width};

pub(super) const PING_INTERVAL_MS: &str = "websocket.ping.interval.ms";
pub(super) const PONG_TIMEOUT_MS: &str = "websocket.pong.timeout.ms";
pub(super) const IDLE_TIMEOUT_MS: &str = "websocket.idle.timeout.ms";

pub(super) const IDLE_RECORD_TIMEOUT_MS: &str = "websocket.idle.record.timeout.ms";
pub(super) const IDLE_KEY: &str = "websocket.idle.key";
pub(super) const IDLE_ACTION: &str = "websocket.idle.action";

const BASE: ConfigKey = ConfigKey { group: "Liveness", ..ConfigKey::BASE };

pub(super) const OPTIONS: &[ConfigKey] = &[
    ConfigKey {
        name: PING_INTERVAL_MS,
        kind: Kind::Long,
        default: Default::Value("30000"),
        width: Width::Short,
        display_name: "Ping interval (ms)",
        documentation: "How often to send a ping, in milliseconds (RFC 6455 §5.5.2). 0: never, for feeds that forbid pings.",
        at_least: Some(0),
        ..BASE
    },
    ConfigKey {
        name: PONG_TIMEOUT_MS,
        kind: Kind::Long,
        default: Default::Value("30000"),
        width: Width::Short,
        display_name: "Pong timeout (ms)",
        documentation: "How long to wait for the answer to a ping, in milliseconds. Then the connector reconnects.",
        at_least: Some(1),
        ..BASE
    },
    ConfigKey {
        name: IDLE_TIMEOUT_MS,
        kind: Kind::Long,
        default: Default::Value("0"),
        width: Width::Short,
        display_name: "Idle timeout (ms)",
        documentation: "How long no message may come, in milliseconds. Then the connector reconnects, even if pings are answered. 0: off.",
        at_least: Some(0),
        ..BASE
    },
    ConfigKey {
        name: IDLE_RECORD_TIMEOUT_MS,
        kind: Kind::Long,
        default: Default::Value("0"),
        width: Width::Short,
        display_name: "Idle records timeout (ms)",
        documentation: "How long no record may come, in milliseconds, even if other messages come, such as heartbeats. Then websocket.idle.action is \
                        done. 0: off.",
        at_least: Some(0),
        ..BASE
    },
    ConfigKey {
        name: IDLE_KEY,
        has_expressions: true,
        width: Width::Long,
        display_name: "Idle key",
        documentation: "A template over each record, such as {{/symbol}}. Then websocket.idle.record.timeout.ms applies to each key that this \
                        connection has seen. So one symbol that falls silent is noticed. The first 10,000 keys of up to 256 bytes are watched.",
        ..BASE
    },
    ConfigKey {
        name: IDLE_ACTION,
        default: Default::Value("reconnect"),
        width: Width::Short,
        display_name: "Without records",
        documentation: "What to do after websocket.idle.record.timeout.ms: reconnect, or resubscribe on the same connection.",
        choices: &["reconnect", "resubscribe"],
        ..BASE
    },
];

/// `websocket.idle.action`: what to do if no record comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleAction {
    Reconnect,
    Resubscribe,
}

pub(super) fn idle_action(values: &Values<'_>) -> IdleAction {
    match values.text(IDLE_ACTION) {
        Some("resubscribe") => IdleAction::Resubscribe,
        _ => IdleAction::Reconnect,
    }
}
