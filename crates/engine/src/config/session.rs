//! Options of the session: steps, topics, variables and rates.

use std::ops::RangeInclusive;

use super::values::Values;
use crate::config_def::{ConfigKey, Default, Importance, Kind, Width, hide};
use crate::endpoint::mask_url;

pub(super) const STEPS: &str = "websocket.session.steps";
pub(super) const TOPICS: &str = "websocket.subscription.topics";
pub(super) const ITEM: &str = "websocket.subscription.item";
pub(super) const BATCH_SIZE: &str = "websocket.subscription.batch.size";
pub(super) const UNSUBSCRIBE: &str = "websocket.subscription.unsubscribe.message";
pub(super) const SEND_RATE: &str = "websocket.send.rate";
pub(super) const CONNECT_RATE: &str = "websocket.connect.rate";
pub(super) const CLOSE_CODE: &str = "websocket.close.code";
pub(super) const CLOSE_FATAL_CODES: &str = "websocket.close.fatal.codes";
pub(super) const CLOSE_FRESH_CODES: &str = "websocket.close.fresh.codes";

/// The prefix of the options of a step.
pub(super) const STEP: &str = "websocket.session.";
/// The prefix of declared variables.
pub(super) const VAR: &str = "websocket.var.";
/// The prefix of secrets.
pub(super) const SECRET: &str = "websocket.secret.";

const BASE: ConfigKey = ConfigKey { group: "Session", width: Width::Long, ..ConfigKey::BASE };

pub(super) const OPTIONS: &[ConfigKey] = &[
    ConfigKey {
        name: STEPS,
        importance: Importance::Medium,
        display_name: "Steps",
        documentation: "The steps of the session in order, separated by commas. connect is the opening handshake. Not set: connect, then subscribe \
                        if there is a subscription message.",
        ..BASE
    },
    ConfigKey {
        name: TOPICS,
        importance: Importance::Medium,
        display_name: "Topics",
        documentation: "The feed's topics (channels, symbols, streams) to subscribe to, separated by commas. A message with {{topic}} is sent for \
                        each topic. A message with {{topics}} is sent for each batch.",
        ..BASE
    },
    ConfigKey {
        name: ITEM,
        has_expressions: true,
        default: Default::Value("\"{{topic}}\""),
        display_name: "Topic in a list",
        documentation: "How one topic is written in {{topics}}. A template.",
        ..BASE
    },
    ConfigKey {
        name: BATCH_SIZE,
        kind: Kind::Int,
        default: Default::Value("0"),
        width: Width::Short,
        display_name: "Topics in a batch",
        documentation: "How many topics a message with {{topics}} has. 0: all.",
        at_least: Some(0),
        ..BASE
    },
    ConfigKey {
        name: UNSUBSCRIBE,
        has_expressions: true,
        display_name: "Unsubscribe message",
        documentation: "A message to send before subscribing again on the same connection. A template.",
        mask: Some(hide),
        ..BASE
    },
    ConfigKey {
        name: SEND_RATE,
        display_name: "Send rate",
        documentation: "How many messages the feed accepts from a client, such as 5/1s, or several limits, such as 3/1s,480/1h. Messages and pings \
                        wait. Pongs count and never wait.",
        check: Some(|text| crate::dialogue::rate::parse(text).map(drop)),
        ..BASE
    },
    ConfigKey {
        name: CONNECT_RATE,
        display_name: "Connect rate",
        documentation: "How often this process may connect to the feed's host and port, such as 300/5m. All tasks count together.",
        check: Some(|text| crate::dialogue::rate::parse(text).map(drop)),
        ..BASE
    },
    ConfigKey {
        name: CLOSE_CODE,
        kind: Kind::Int,
        default: Default::Value("1000"),
        width: Width::Short,
        display_name: "Close code",
        documentation: "The close code to send when the task stops (RFC 6455 §7.4).",
        at_least: Some(1000),
        at_most: Some(4999),
        check: Some(check_own_code),
        ..BASE
    },
    ConfigKey {
        name: CLOSE_FATAL_CODES,
        display_name: "Final close codes",
        documentation: "Close codes of the server that fail the task at once, such as 4004,4010-4014.",
        check: Some(|text| parse_codes(text).map(drop)),
        ..BASE
    },
    ConfigKey {
        name: CLOSE_FRESH_CODES,
        display_name: "Close codes of a lost cursor",
        documentation: "Close codes with which the server says that it cannot resume from the cursor, such as 4007,4009.",
        check: Some(|text| parse_codes(text).map(drop)),
        ..BASE
    },
];

/// A row of a family of options. Its name has a part in angle brackets, which the user chooses.
const ROW: ConfigKey = ConfigKey { display_name: "Step", ..BASE };

/// The keys of each step, the declared variables and the secrets.
pub(super) const FAMILIES: &[ConfigKey] = &[
    ConfigKey {
        name: "websocket.session.<step>.when",
        documentation: "The step runs only if this condition over variables holds.",
        ..ROW
    },
    ConfigKey {
        name: "websocket.session.<step>.every.ms",
        documentation: "The step runs again and again, at this interval in milliseconds. A template.",
        ..ROW
    },
    ConfigKey {
        name: "websocket.session.<step>.every.jitter",
        documentation: "The random part of the first interval, 0 to 1.",
        check: Some(check_fraction),
        ..ROW
    },
    ConfigKey {
        name: "websocket.session.<step>.on",
        documentation: "The step runs whenever a message meets this condition.",
        ..ROW
    },
    ConfigKey {
        name: "websocket.session.<step>.on.commit",
        documentation: "The step runs when Kafka has all records of a message that meets this condition. What it sends is an acknowledgement; the \
                        feed sends again what is not acknowledged.",
        ..ROW
    },
    ConfigKey {
        name: "websocket.session.<step>.on.commit.latest",
        kind: Kind::Boolean,
        documentation: "Whether the feed's acknowledgements are cumulative. If true, only the newest message up to which Kafka has everything is \
                        acknowledged.",
        ..ROW
    },
    ConfigKey {
        name: "websocket.session.<step>.send",
        documentation: "A text message to send. A template.",
        mask: Some(hide),
        ..ROW
    },
    ConfigKey {
        name: "websocket.session.<step>.send.binary",
        kind: Kind::Boolean,
        documentation: "Whether the text to send is base64 of a binary message.",
        ..ROW
    },
    ConfigKey {
        name: "websocket.session.<step>.http",
        documentation: "An HTTP request to make: GET https://… or POST https://…. A template.",
        mask: Some(mask_url),
        ..ROW
    },
    ConfigKey {
        name: "websocket.session.<step>.http.headers",
        documentation: "Headers of the request, in the form of websocket.headers.",
        mask: Some(hide),
        ..ROW
    },
    ConfigKey {
        name: "websocket.session.<step>.http.body",
        documentation: "Body of the request. A template.",
        mask: Some(hide),
        ..ROW
    },
    ConfigKey {
        name: "websocket.session.<step>.http.cache",
        documentation: "How long later connections use the same response: 3600s, or a template of seconds. They use it for a tenth less.",
        ..ROW
    },
    ConfigKey {
        name: "websocket.session.<step>.expect",
        documentation: "The condition that the answer must meet. The step waits for one answer to each message that it sent.",
        ..ROW
    },
    ConfigKey {
        name: "websocket.session.<step>.timeout.ms",
        documentation: "How long to wait for the answer after the last message was sent, in milliseconds. A template. Not set: 10000.",
        ..ROW
    },
    ConfigKey {
        name: "websocket.session.<step>.count",
        choices: &["topics"],
        documentation: "topics: wait for one answer to each topic of a message.",
        ..ROW
    },
    ConfigKey {
        name: "websocket.session.<step>.fail",
        documentation: "If a message meets this condition while the step waits, the attempt has failed.",
        ..ROW
    },
    ConfigKey {
        name: "websocket.session.<step>.fail.final",
        documentation: "If a message meets this condition while the step waits, the task fails at once.",
        ..ROW
    },
    ConfigKey {
        name: "websocket.session.<step>.capture",
        documentation: "Values to keep as variables: name=expression, separated by commas. A variable secret.x is hidden everywhere.",
        ..ROW
    },
    ConfigKey {
        name: "websocket.session.<step>.then",
        choices: &["reconnect", "resubscribe", "fresh", "fail"],
        documentation: "What to do next: reconnect, resubscribe on the same connection, fresh (forget the cursor and reconnect), or fail the task.",
        ..ROW
    },
    ConfigKey {
        name: "websocket.session.<step>.url",
        documentation: "With reconnect: the address of the next connection, until an attempt there fails. A template.",
        mask: Some(mask_url),
        ..ROW
    },
    ConfigKey {
        name: "websocket.session.<step>.drop",
        kind: Kind::Boolean,
        documentation: "Whether the matched message is not written as a record. Not set: true.",
        ..ROW
    },
    ConfigKey {
        name: "websocket.var.<name>",
        display_name: "Variable",
        documentation: "A variable. A template that is evaluated for each message, request or handshake that uses it.",
        ..ROW
    },
    ConfigKey {
        name: "websocket.secret.<name>",
        kind: Kind::Password,
        display_name: "Secret",
        documentation: "A secret. Templates use it as secret.<name>.",
        ..ROW
    },
];

fn check_fraction(text: &str) -> Result<(), String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(()),
        _ => Err("Value must be between 0 and 1".into()),
    }
}

/// Whether an endpoint may send this close code (RFC 6455 §7.4.1 and §7.4.2).
fn check_own_code(text: &str) -> Result<(), String> {
    match text.parse() {
        Ok(1000..=1003 | 1007..=1011 | 3000..=4999) => Ok(()),
        _ => Err("a Close may have 1000 to 1003, 1007 to 1011 and 3000 to 4999".into()),
    }
}

pub(super) fn codes(values: &Values<'_>, name: &str) -> Vec<RangeInclusive<u16>> {
    parse_codes(values.text(name).unwrap_or_default()).unwrap_or_default()
}

/// Reads codes and ranges of codes.
fn parse_codes(text: &str) -> Result<Vec<RangeInclusive<u16>>, String> {
    let code = |text: &str| text.trim().parse::<u16>().ok().filter(|code| (1000..=4999).contains(code));
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let (first, last) = entry.split_once('-').unwrap_or((entry, entry));
            let range = code(first).zip(code(last)).filter(|(first, last)| first <= last);
            let wrong = || format!("expected codes and ranges such as 4004,4010-4014 instead of '{entry}'");
            range.map(|(first, last)| first..=last).ok_or_else(wrong)
        })
        .collect()
}

/// Returns the keys of a step: the last parts of their names.
pub(super) fn of_a_step() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().filter_map(|row| row.name.strip_prefix("websocket.session.<step>."))
}
