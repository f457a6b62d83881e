//! Options of resuming and of gaps: cursor, duplicates, numbers, and the ledger of gaps.

use std::time::Duration;

use super::values::Values;
use super::{messages, session};
use crate::config_def::{ConfigError, ConfigKey, Default, Importance, Kind, Width, parse_boolean};
use crate::dialogue::list;
use crate::dialogue::resume::LostAction;
use crate::intake::{cursor, memory, sequence};
use crate::offset::{AT, PART, SEQUENCE as OFFSET_SEQUENCE, SESSION_ID, UNREPAIRED};
use crate::record::ValueKind;

pub(super) const CURSOR: &str = "websocket.cursor";
pub(super) const CURSOR_KEY: &str = "websocket.cursor.key";
pub(super) const CURSOR_INITIAL: &str = "websocket.cursor.initial";
pub(super) const CURSOR_REWIND: &str = "websocket.cursor.rewind";
pub(super) const CURSOR_INCLUSIVE: &str = "websocket.cursor.inclusive";
const CURSOR_HEARTBEAT_MS: &str = "websocket.cursor.heartbeat.ms";
pub(super) const RESUME_VARIABLES: &str = "websocket.resume.variables";
const RESUME_MAX_AGE_MS: &str = "websocket.resume.max.age.ms";
pub(super) const RESUME_LOST: &str = "websocket.resume.lost";
pub(super) const RESUME_LOST_ACTION: &str = "websocket.resume.lost.action";
pub(super) const DEDUP_KEY: &str = "websocket.dedup.key";
const DEDUP_WINDOW: &str = "websocket.dedup.window";
const SEQUENCE: &str = "websocket.sequence";
const SEQUENCE_KEY: &str = "websocket.sequence.key";
const SEQUENCE_FIRST: &str = "websocket.sequence.first";
const SEQUENCE_PREVIOUS: &str = "websocket.sequence.previous";
const SEQUENCE_HOLES: &str = "websocket.sequence.holes";
const SEQUENCE_SCOPE: &str = "websocket.sequence.scope";
pub(super) const SEQUENCE_ACTION: &str = "websocket.sequence.action";
const GAPS_TOPIC: &str = "websocket.gaps.topic";
const GAPS_VALUE: &str = "websocket.gaps.value";

const BASE: ConfigKey = ConfigKey { group: "Resume and gaps", width: Width::Long, ..ConfigKey::BASE };

pub(super) const OPTIONS: &[ConfigKey] = &[
    ConfigKey {
        name: CURSOR,
        has_expressions: true,
        importance: Importance::Medium,
        display_name: "Cursor",
        documentation: "The position of a record in the feed. A template over the record, such as {{/time_us}}. It is stored with the record's \
                        offset. A new connection resumes there: use {{cursor}} in the URL or in a step.",
        ..BASE
    },
    ConfigKey {
        name: CURSOR_KEY,
        has_expressions: true,
        display_name: "Key of the cursor",
        documentation: "For feeds in which each topic has its own cursor: a template that gives the topic, such as {{/push/channel}}. It must be one \
                        of websocket.subscription.topics.",
        ..BASE
    },
    ConfigKey {
        name: CURSOR_INITIAL,
        display_name: "First cursor",
        documentation: "The cursor to use before the first record.",
        ..BASE
    },
    ConfigKey {
        name: CURSOR_REWIND,
        kind: Kind::Long,
        default: Default::Value("0"),
        width: Width::Short,
        display_name: "Rewind",
        documentation: "How far to go back from the cursor, which must be an integer. Records that come again are dropped by websocket.dedup.key.",
        at_least: Some(0),
        ..BASE
    },
    ConfigKey {
        name: CURSOR_INCLUSIVE,
        kind: Kind::Boolean,
        default: Default::Value("false"),
        width: Width::Short,
        display_name: "Inclusive",
        documentation: "Whether the feed sends the record of the cursor again. If true, that record is dropped. If another one comes first, the feed \
                        has resumed from a later position, and a gap is recorded.",
        ..BASE
    },
    ConfigKey {
        name: CURSOR_HEARTBEAT_MS,
        kind: Kind::Long,
        default: Default::Value("0"),
        width: Width::Short,
        display_name: "Cursor heartbeat (ms)",
        documentation: "How long the cursor may move while a filter drops all records, in milliseconds. Then a record of websocket.gaps.topic stores \
                        it. 0: off.",
        at_least: Some(0),
        ..BASE
    },
    ConfigKey {
        name: RESUME_VARIABLES,
        display_name: "Variables to resume with",
        documentation: "Captured variables to keep for the next connection and to store with the cursor, separated by commas. Secret ones are kept \
                        in memory only. If one is captured with another value, the cursor is no longer used; with a secret one, only if the feed \
                        does not resume.",
        check: Some(check_variables),
        ..BASE
    },
    ConfigKey {
        name: RESUME_MAX_AGE_MS,
        kind: Kind::Long,
        default: Default::Value("0"),
        width: Width::Short,
        display_name: "Age of the cursor (ms)",
        documentation: "How old a cursor may be, in milliseconds. An older one counts as lost. 0: no limit.",
        at_least: Some(0),
        ..BASE
    },
    ConfigKey {
        name: RESUME_LOST,
        has_expressions: true,
        display_name: "Cursor is lost",
        documentation: "How the feed says that it cannot resume: a condition on a message, an HTTP response or a refused handshake. Checked only \
                        while resuming.",
        ..BASE
    },
    ConfigKey {
        name: RESUME_LOST_ACTION,
        default: Default::Value("fresh"),
        width: Width::Short,
        display_name: "When the cursor is lost",
        documentation: "What to do when the feed cannot resume. continue: stay on this connection. fresh: forget the cursor and reconnect. fail: \
                        fail the task. In each case, a gap is recorded.",
        choices: &LOST_ACTIONS,
        ..BASE
    },
    ConfigKey {
        name: DEDUP_KEY,
        has_expressions: true,
        display_name: "Key of doubles",
        documentation: "What identifies a record. A template, such as {{/id}}. A record whose key was seen before is dropped and counted.",
        ..BASE
    },
    ConfigKey {
        name: DEDUP_WINDOW,
        kind: Kind::Int,
        default: Default::Value("8192"),
        width: Width::Short,
        display_name: "Window of doubles",
        documentation: "How many keys are remembered, in memory.",
        at_least: Some(1),
        at_most: Some(10_000_000),
        ..BASE
    },
    ConfigKey {
        name: SEQUENCE,
        has_expressions: true,
        importance: Importance::Medium,
        display_name: "Number",
        documentation: "The number that the feed gives its messages. A template, such as {{/data/u}}. Missing numbers are a gap.",
        ..BASE
    },
    ConfigKey {
        name: SEQUENCE_KEY,
        has_expressions: true,
        display_name: "Key of the numbers",
        documentation: "For feeds in which each symbol or channel has its own numbers: a template that gives it, such as {{/data/s}}.",
        ..BASE
    },
    ConfigKey {
        name: SEQUENCE_FIRST,
        has_expressions: true,
        display_name: "First number",
        documentation: "For messages with a range of numbers: the first number. A template, such as {{/data/U}}.",
        ..BASE
    },
    ConfigKey {
        name: SEQUENCE_PREVIOUS,
        has_expressions: true,
        display_name: "Number before",
        documentation: "For feeds whose messages contain the number of the previous message: a template that gives it, such as {{/data/pu}}. A \
                        message without it begins a new chain.",
        ..BASE
    },
    ConfigKey {
        name: SEQUENCE_HOLES,
        default: Default::Value("gap"),
        width: Width::Short,
        display_name: "Holes",
        documentation: "gap: a missing number is a gap. legal: the feed may leave numbers out; only a number that goes back is reported. reconnect: \
                        numbers may be left out and may go back; with websocket.sequence.action=backfill, everything between two connections is \
                        fetched.",
        choices: &sequence::Holes::NAMES,
        ..BASE
    },
    ConfigKey {
        name: SEQUENCE_SCOPE,
        default: Default::Value("feed"),
        width: Width::Short,
        display_name: "Numbering of",
        documentation: "feed: the numbers continue over connections. connection: they begin anew on each connection.",
        choices: &["feed", "connection"],
        ..BASE
    },
    ConfigKey {
        name: SEQUENCE_ACTION,
        default: Default::Value("count"),
        width: Width::Short,
        display_name: "When messages are missing",
        documentation: "What to do about a gap, besides reporting it. count: nothing more. resubscribe, reconnect. backfill: fetch the missing \
                        records from the feed's history. fail: fail the task.",
        choices: &sequence::Action::NAMES,
        ..BASE
    },
    ConfigKey {
        name: GAPS_TOPIC,
        importance: Importance::Medium,
        display_name: "Ledger of gaps",
        documentation: "A Kafka topic that gets a record for each gap: when, why, which messages and how many. Not set: gaps are only in the log and \
                        in the metrics.",
        check: Some(check_topic),
        ..BASE
    },
    ConfigKey {
        name: GAPS_VALUE,
        default: Default::Value("string"),
        width: Width::Short,
        display_name: "Values of the ledger",
        documentation: "What the converter gets as the value of a record of websocket.gaps.topic. string, bytes: JSON text. json: data without a \
                        schema.",
        choices: &GAPS_VALUES,
        ..BASE
    },
];

const LOST_ACTIONS: [&str; 3] = ["continue", "fresh", "fail"];
const GAPS_VALUES: [&str; 3] = ["string", "bytes", "json"];

/// The settings of a resume.
#[derive(Debug, Clone, Copy)]
pub struct Resume {
    /// After this time without records, a cursor that has moved is stored with a record of the ledger.
    pub heartbeat: Option<Duration>,
    pub max_age: Option<Duration>,
    pub lost_action: LostAction,
}

/// The ledger of gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    pub topic: String,
    /// The same type as for the feed's records, because they have the same converter.
    pub key_bytes: bool,
    pub value: ValueKind,
}

pub(super) fn resume(values: &Values<'_>) -> Resume {
    Resume {
        heartbeat: values.millis_or_off(CURSOR_HEARTBEAT_MS),
        max_age: values.millis_or_off(RESUME_MAX_AGE_MS),
        lost_action: lost_action(values.text(RESUME_LOST_ACTION)),
    }
}

pub(super) fn lost_action(text: Option<&str>) -> LostAction {
    match text {
        Some("continue") => LostAction::Continue,
        Some("fail") => LostAction::Fail,
        _ => LostAction::Fresh,
    }
}

pub(super) fn ledger(values: &Values<'_>, key_bytes: bool) -> Option<Ledger> {
    let value = match values.text(GAPS_VALUE) {
        Some("bytes") => ValueKind::Bytes,
        Some("json") => ValueKind::Json,
        _ => ValueKind::Text,
    };
    Some(Ledger { topic: values.non_empty(GAPS_TOPIC)?.to_owned(), key_bytes, value })
}

pub(super) fn memory(values: &Values<'_>) -> memory::Settings {
    let text = |name| values.non_empty(name).map(str::to_owned);
    let list = |name| values.non_empty(name).map(list::split).unwrap_or_default();
    memory::Settings {
        cursor: cursor::Settings {
            cursor: text(CURSOR),
            key: text(CURSOR_KEY),
            keys: list(session::TOPICS),
            rewind: u64::try_from(values.number(CURSOR_REWIND)).unwrap_or_default(),
            inclusive: values.text(CURSOR_INCLUSIVE).and_then(parse_boolean).unwrap_or_default(),
            variables: list(RESUME_VARIABLES),
        },
        dedupe_key: text(DEDUP_KEY),
        dedupe_window: values.size(DEDUP_WINDOW),
        sequence: text(SEQUENCE).map(|number| sequence::Settings {
            number,
            key: text(SEQUENCE_KEY),
            first: text(SEQUENCE_FIRST),
            previous: text(SEQUENCE_PREVIOUS),
            holes: values.text(SEQUENCE_HOLES).and_then(sequence::Holes::find).unwrap_or_default(),
            per_connection: values.text(SEQUENCE_SCOPE) == Some("connection"),
            action: values.text(SEQUENCE_ACTION).and_then(sequence::Action::find).unwrap_or_default(),
        }),
    }
}

/// Checks for options that need another one.
pub(super) fn problems(values: &Values<'_>) -> Vec<ConfigError> {
    let wants = [
        (CURSOR, &[CURSOR_KEY, CURSOR_INITIAL, CURSOR_REWIND, CURSOR_INCLUSIVE][..]),
        (DEDUP_KEY, &[DEDUP_WINDOW]),
        (SEQUENCE, &[SEQUENCE_KEY, SEQUENCE_FIRST, SEQUENCE_PREVIOUS, SEQUENCE_HOLES, SEQUENCE_SCOPE, SEQUENCE_ACTION]),
        (GAPS_TOPIC, &[GAPS_VALUE, CURSOR_HEARTBEAT_MS]),
    ];
    let is_set = |name: &str| values.given(name).is_some_and(|text| !text.is_empty());
    let mut errors = Vec::new();
    let mut refuse = |name: &str, why: &str| errors.push(values.refuse(name, why));
    for (wanted, names) in wants {
        for name in names.iter().filter(|name| is_set(name) && values.non_empty(wanted).is_none()) {
            refuse(name, &format!("{wanted} must be given too"));
        }
    }
    if values.text(SEQUENCE_HOLES) == Some("reconnect") {
        for name in [SEQUENCE_FIRST, SEQUENCE_PREVIOUS].iter().filter(|name| is_set(name)) {
            refuse(name, &format!("{SEQUENCE_HOLES}=reconnect excludes it"));
        }
    }
    if is_set(SEQUENCE_FIRST) && is_set(SEQUENCE_PREVIOUS) {
        refuse(SEQUENCE_FIRST, &format!("{SEQUENCE_PREVIOUS} excludes it"));
    }
    for name in [RESUME_LOST, session::CLOSE_FRESH_CODES] {
        if is_set(name) && values.non_empty(CURSOR).or(values.non_empty(RESUME_VARIABLES)).is_none() {
            refuse(name, &format!("{CURSOR} or {RESUME_VARIABLES} must be given too"));
        }
    }
    if values.number(CURSOR_REWIND) > 0 && values.text(CURSOR_INCLUSIVE) == Some("true") {
        refuse(
            CURSOR_REWIND,
            &format!("{CURSOR_INCLUSIVE} excludes it: further back than the cursor, other records come first"),
        );
    }
    errors
}

fn check_topic(text: &str) -> Result<(), String> {
    match text {
        "" => Ok(()),
        text => messages::check_topic(text),
    }
}

/// Refuses variables with the name of an entry of the offset.
fn check_variables(text: &str) -> Result<(), String> {
    let taken = [SESSION_ID, OFFSET_SEQUENCE, AT, PART, UNREPAIRED];
    match list::split(text).into_iter().find(|name| taken.contains(&name.as_str())) {
        Some(name) => Err(format!("the offset has an entry {name} of its own; capture it under another name")),
        None => Ok(()),
    }
}
