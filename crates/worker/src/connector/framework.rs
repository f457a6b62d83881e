//! The keys that Kafka Connect gives every source connector, and its converters.
//!
//! Names, types, defaults, groups and order are those of `ConnectorConfig` and `SourceConnectorConfig` of 4.3.

use connect_websocket_engine::config_def::{
    ConfigError, ConfigKey, Default, Importance, Kind, Properties, Width, one_of,
};

pub const CONNECTOR_CLASS: &str = "io.conduktor.connect.websocket.WebSocketSourceConnector";
pub const TASK_CLASS: &str = "io.conduktor.connect.websocket.WebSocketSourceTask";
/// The version of connector, converters and worker.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub const NAME: &str = "name";
pub const CLASS: &str = "connector.class";
pub const TRANSFORMS: &str = "transforms";
pub const PREDICATES: &str = "predicates";
pub const EXACTLY_ONCE_SUPPORT: &str = "exactly.once.support";

/// The longest name of a connector, in bytes. The name is part of thread names, client ids, paths and log lines.
const MAX_NAME_BYTES: usize = 1024;

const COMMON: &str = "Common";
const ERRORS: &str = "Error Handling";
const TOPICS: &str = "Topic Creation";
const EXACTLY_ONCE: &str = "Exactly Once Support";

/// An option and its place in its group (`order_in_group`).
#[derive(Debug, Clone, Copy)]
pub struct OrderedKey {
    pub key: ConfigKey,
    pub order: i32,
}

const BASE: ConfigKey = ConfigKey { group: COMMON, width: Width::Short, ..ConfigKey::BASE };

/// Kafka's converters in Connect's order. For headers, there is one more.
macro_rules! converters {
    ($($of_headers:literal)?) => {
        &[
            "org.apache.kafka.connect.converters.BooleanConverter",
            "org.apache.kafka.connect.converters.ByteArrayConverter",
            "org.apache.kafka.connect.converters.DoubleConverter",
            "org.apache.kafka.connect.converters.FloatConverter",
            "org.apache.kafka.connect.converters.IntegerConverter",
            "org.apache.kafka.connect.converters.LongConverter",
            "org.apache.kafka.connect.converters.ShortConverter",
            JSON_CONVERTER,
            $($of_headers,)?
            STRING_CONVERTER,
        ]
    };
}

const CONVERTERS: &[&str] = converters!();
const HEADER_CONVERTERS: &[&str] = converters!("org.apache.kafka.connect.storage.SimpleHeaderConverter");

const JSON_CONVERTER: &str = "org.apache.kafka.connect.json.JsonConverter";
const STRING_CONVERTER: &str = "org.apache.kafka.connect.storage.StringConverter";

/// The framework's keys in Connect's order.
pub const KEYS: &[OrderedKey] = &[
    OrderedKey {
        order: 1,
        key: ConfigKey {
            name: NAME,
            default: Default::Required,
            importance: Importance::High,
            width: Width::Medium,
            display_name: "Connector name",
            documentation: "The connector's name, unique in the worker.",
            check: Some(check_name),
            ..BASE
        },
    },
    OrderedKey {
        order: 2,
        key: ConfigKey {
            name: CLASS,
            default: Default::Required,
            importance: Importance::High,
            width: Width::Long,
            display_name: "Connector class",
            documentation: "The connector's class: its full name, or its simple name with or without Connector at the end.",
            ..BASE
        },
    },
    OrderedKey {
        order: 3,
        key: ConfigKey {
            name: "connector.plugin.version",
            default: Default::Value(VERSION),
            importance: Importance::Medium,
            width: Width::Medium,
            display_name: "Connector version",
            documentation: "The connector's version. The worker has only this one.",
            recommended: &[VERSION],
            ..BASE
        },
    },
    OrderedKey {
        order: 4,
        key: ConfigKey {
            name: "tasks.max",
            kind: Kind::Int,
            default: Default::Value("1"),
            importance: Importance::High,
            display_name: "Tasks max",
            documentation: "The largest number of tasks. One WebSocket feed is always one task.",
            at_least: Some(1),
            ..BASE
        },
    },
    OrderedKey {
        order: 5,
        key: ConfigKey {
            name: "tasks.max.enforce",
            kind: Kind::Boolean,
            default: Default::Value("true"),
            display_name: "Enforce tasks max",
            documentation: "Deprecated. No effect, since there is one task.",
            ..BASE
        },
    },
    OrderedKey {
        order: 6,
        key: ConfigKey {
            name: "key.converter",
            kind: Kind::Class,
            display_name: "Key converter class",
            documentation: "The converter of record keys. Not set: the worker's.",
            recommended: CONVERTERS,
            ..BASE
        },
    },
    OrderedKey { order: 7, key: converter_version("key.converter.plugin.version", "Key converter version") },
    OrderedKey {
        order: 8,
        key: ConfigKey {
            name: "value.converter",
            kind: Kind::Class,
            display_name: "Value converter class",
            documentation: "The converter of record values. Not set: the worker's. StringConverter writes a text message as it is.",
            recommended: CONVERTERS,
            ..BASE
        },
    },
    OrderedKey { order: 9, key: converter_version("value.converter.plugin.version", "Value converter version") },
    OrderedKey {
        order: 10,
        key: ConfigKey {
            name: "header.converter",
            kind: Kind::Class,
            display_name: "Header converter class",
            documentation: "The converter of record headers. Not set: the worker's.",
            recommended: HEADER_CONVERTERS,
            ..BASE
        },
    },
    OrderedKey { order: 11, key: converter_version("header.converter.plugin.version", "Header converter version") },
    OrderedKey {
        order: 12,
        key: ConfigKey {
            name: TRANSFORMS,
            kind: Kind::List,
            default: Default::Value(""),
            group: "Transforms",
            width: Width::Long,
            display_name: "Transforms",
            documentation: "Names of transformations. Not supported by this worker.",
            check: Some(|text| {
                refuse_unless_empty(
                    text,
                    "transformations are not supported by this worker yet: remove transforms or run the connector on Kafka Connect",
                )
            }),
            ..BASE
        },
    },
    OrderedKey {
        order: 13,
        key: ConfigKey {
            name: PREDICATES,
            kind: Kind::List,
            default: Default::Value(""),
            group: "Predicates",
            width: Width::Long,
            display_name: "Predicates",
            documentation: "Names of predicates for transformations. Not supported by this worker.",
            check: Some(|text| {
                refuse_unless_empty(
                    text,
                    "predicates are not supported by this worker yet: remove predicates or run the connector on Kafka Connect",
                )
            }),
            ..BASE
        },
    },
    OrderedKey {
        order: 14,
        key: ConfigKey {
            name: "config.action.reload",
            default: Default::Value("restart"),
            width: Width::Medium,
            display_name: "Reload Action",
            documentation: "What to do when a value of a config provider expires: none or restart. The values of the worker's providers never \
                            expire.",
            check: Some(|text| one_of(text, &["none", "restart"])),
            ..BASE
        },
    },
    OrderedKey {
        order: 1,
        key: ConfigKey {
            name: "errors.retry.timeout",
            kind: Kind::Long,
            default: Default::Value("0"),
            importance: Importance::Medium,
            group: ERRORS,
            width: Width::Medium,
            display_name: "Retry Timeout for Errors",
            documentation: "How long a failed operation is tried again, in milliseconds. -1: without limit.",
            ..BASE
        },
    },
    OrderedKey {
        order: 2,
        key: ConfigKey {
            name: "errors.retry.delay.max.ms",
            kind: Kind::Long,
            default: Default::Value("60000"),
            importance: Importance::Medium,
            group: ERRORS,
            width: Width::Medium,
            display_name: "Maximum Delay Between Retries for Errors",
            documentation: "The longest delay between two tries, in milliseconds.",
            ..BASE
        },
    },
    OrderedKey {
        order: 3,
        key: ConfigKey {
            name: "errors.tolerance",
            default: Default::Value("none"),
            importance: Importance::Medium,
            group: ERRORS,
            display_name: "Error Tolerance",
            documentation: "none: a record that cannot be written fails the task. all: the record is skipped and counted.",
            check: Some(|text| one_of(text, &["none", "all"])),
            ..BASE
        },
    },
    OrderedKey {
        order: 4,
        key: ConfigKey {
            name: "errors.log.enable",
            kind: Kind::Boolean,
            default: Default::Value("false"),
            importance: Importance::Medium,
            group: ERRORS,
            display_name: "Log Errors",
            documentation: "Whether each skipped record is logged.",
            ..BASE
        },
    },
    OrderedKey {
        order: 5,
        key: ConfigKey {
            name: "errors.log.include.messages",
            kind: Kind::Boolean,
            default: Default::Value("false"),
            importance: Importance::Medium,
            group: ERRORS,
            display_name: "Log Error Details",
            documentation: "Whether the log line of a skipped record contains the record.",
            ..BASE
        },
    },
    OrderedKey {
        order: 1,
        key: ConfigKey {
            name: "topic.creation.groups",
            kind: Kind::List,
            default: Default::Value(""),
            group: TOPICS,
            width: Width::Long,
            display_name: "Topic Creation Groups",
            documentation: "Groups of topics with their own settings (KIP-158).",
            ..BASE
        },
    },
    OrderedKey {
        order: 2,
        key: ConfigKey {
            name: EXACTLY_ONCE_SUPPORT,
            default: Default::Value("requested"),
            importance: Importance::Medium,
            group: EXACTLY_ONCE,
            display_name: "Exactly once support",
            documentation: "requested or required. The worker writes no transactions, so required is refused. The plugin in Kafka Connect \
                            distributed can be exactly-once.",
            check: Some(check_exactly_once),
            ..BASE
        },
    },
    OrderedKey {
        order: 3,
        key: ConfigKey {
            name: "transaction.boundary",
            default: Default::Value("poll"),
            importance: Importance::Medium,
            group: EXACTLY_ONCE,
            display_name: "Transaction Boundary",
            documentation: "poll, interval or connector. Used only with exactly-once support, so it has no effect here.",
            check: Some(|text| one_of_any_case(text, &["poll", "interval", "connector"])),
            ..BASE
        },
    },
    OrderedKey {
        order: 4,
        key: ConfigKey {
            name: "transaction.boundary.interval.ms",
            kind: Kind::Long,
            group: EXACTLY_ONCE,
            display_name: "Transaction boundary interval",
            documentation: "The interval of transaction.boundary=interval, in milliseconds. No effect here.",
            at_least: Some(0),
            ..BASE
        },
    },
    OrderedKey {
        order: 1,
        key: ConfigKey {
            name: "offsets.storage.topic",
            group: "offsets.topic",
            width: Width::Long,
            display_name: "Offsets topic",
            documentation: "The connector's own offsets topic. Only distributed workers have one.",
            check: Some(|text| if text.is_empty() { Err("String must be non-empty".into()) } else { Ok(()) }),
            ..BASE
        },
    },
];

const fn converter_version(name: &'static str, display_name: &'static str) -> ConfigKey {
    ConfigKey {
        name,
        default: Default::Value(VERSION),
        display_name,
        documentation: "The converter's version. This worker has one and uses it.",
        recommended: &[VERSION],
        ..BASE
    }
}

/// The options of a converter class, without their prefix. The numbers are Connect's.
pub fn converter_keys(class: &str) -> &'static [OrderedKey] {
    match class.trim().rsplit('.').next() {
        Some("JsonConverter" | "Json") => JSON_KEYS,
        Some("StringConverter" | "String") => STRING_KEYS,
        _ => TYPE_KEYS,
    }
}

const CONVERTER_TYPE: OrderedKey = OrderedKey {
    order: -1,
    key: ConfigKey {
        name: "converter.type",
        default: Default::Required,
        group: "",
        display_name: "converter.type",
        documentation: "key, value or header; set by the worker.",
        check: Some(|text| one_of(text, &["key", "value", "header"])),
        ..BASE
    },
};

const TYPE_KEYS: &[OrderedKey] = &[CONVERTER_TYPE];

const STRING_KEYS: &[OrderedKey] = &[
    CONVERTER_TYPE,
    OrderedKey {
        order: -1,
        key: ConfigKey {
            name: "converter.encoding",
            default: Default::Value("UTF-8"),
            importance: Importance::High,
            group: "",
            display_name: "converter.encoding",
            documentation: "The character encoding of the written text.",
            ..BASE
        },
    },
];

const JSON_KEYS: &[OrderedKey] = &[
    CONVERTER_TYPE,
    OrderedKey {
        order: 0,
        key: ConfigKey {
            name: "schemas.enable",
            kind: Kind::Boolean,
            default: Default::Value("true"),
            importance: Importance::High,
            group: "Schemas",
            width: Width::Medium,
            display_name: "Enable Schemas",
            documentation: "Whether each value is written in an envelope with its schema.",
            ..BASE
        },
    },
    OrderedKey {
        order: 1,
        key: ConfigKey {
            name: "schemas.cache.size",
            kind: Kind::Int,
            default: Default::Value("1000"),
            importance: Importance::High,
            group: "Schemas",
            width: Width::Medium,
            display_name: "Schema Cache Size",
            documentation: "No effect here.",
            ..BASE
        },
    },
    OrderedKey {
        order: 2,
        key: ConfigKey {
            name: "schema.content",
            importance: Importance::High,
            group: "Schemas",
            width: Width::Medium,
            display_name: "Schema Content",
            documentation: "For sink connectors only.",
            ..BASE
        },
    },
    OrderedKey {
        order: 0,
        key: ConfigKey {
            name: "decimal.format",
            default: Default::Value("BASE64"),
            group: "Serialization",
            width: Width::Medium,
            display_name: "Decimal Format",
            documentation: "BASE64 or NUMERIC. Records of this connector have no decimals.",
            ..BASE
        },
    },
    OrderedKey {
        order: 1,
        key: ConfigKey {
            name: "replace.null.with.default",
            kind: Kind::Boolean,
            default: Default::Value("true"),
            group: "Serialization",
            width: Width::Medium,
            display_name: "Replace null with default",
            documentation: "No effect here: the schemas of this connector have no defaults.",
            ..BASE
        },
    },
];

/// The three names of the connector's class that Connect accepts: full, simple, and simple without `Connector`.
pub fn is_connector_class(name: &str) -> bool {
    let simple = CONNECTOR_CLASS.rsplit('.').next().unwrap_or(CONNECTOR_CLASS);
    [CONNECTOR_CLASS, simple, simple.trim_end_matches("Connector")].contains(&name)
}

/// Returns the full class name of a converter, from its full or simple name.
pub fn converter_class(name: &str) -> Option<&'static str> {
    HEADER_CONVERTERS.iter().copied().find(|class| {
        let simple = class.rsplit('.').next().unwrap_or(class);
        name == *class || name == simple
    })
}

/// The other plugins: class and type, in Connect's order.
pub fn converters() -> impl Iterator<Item = (&'static str, &'static str)> {
    let plain = CONVERTERS.iter().map(|class| (*class, "converter"));
    plain.chain(HEADER_CONVERTERS.iter().map(|class| (*class, "header_converter")))
}

/// Returns the errors of the framework's keys, in their order. Converters and topic creation are checked elsewhere.
pub fn check(config: &Properties) -> Vec<ConfigError> {
    let errors =
        KEYS.iter().filter_map(|ordered| ordered.key.value(config.get(ordered.key.name).map(String::as_str)).err());
    errors.flatten().collect()
}

fn check_name(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("String may not be empty".into());
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(format!("the name has more than the limit of {MAX_NAME_BYTES} bytes; give a shorter one"));
    }
    let controls: Vec<String> = text.chars().filter(|c| c.is_control()).map(|c| u32::from(c).to_string()).collect();
    if controls.is_empty() {
        return Ok(());
    }
    Err(format!("String may not contain control sequences but had the following ASCII chars: {}", controls.join(", ")))
}

fn check_exactly_once(text: &str) -> Result<(), String> {
    one_of_any_case(text, &["requested", "required"])?;
    if text.eq_ignore_ascii_case("required") {
        return Err("this worker writes no transactions, so exactly-once is not possible: remove the option, set it to requested, or \
                    use the plugin in Kafka Connect distributed".into());
    }
    Ok(())
}

fn refuse_unless_empty(text: &str, why: &str) -> Result<(), String> {
    if text.is_empty() { Ok(()) } else { Err(why.to_owned()) }
}

fn one_of_any_case(text: &str, allowed: &[&str]) -> Result<(), String> {
    if allowed.iter().any(|value| value.eq_ignore_ascii_case(text)) {
        return Ok(());
    }
    let upper: Vec<String> = allowed.iter().map(|value| value.to_ascii_uppercase()).collect();
    Err(format!("String must be one of (case insensitive): {}", upper.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(pairs: &[(&str, &str)]) -> Vec<String> {
        let base = [(NAME, "c"), (CLASS, CONNECTOR_CLASS)];
        let config = base.iter().chain(pairs).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        check(&config).into_iter().map(|error| error.message).collect()
    }

    #[test]
    fn the_defaults_break_no_rule() {
        assert!(errors(&[]).is_empty());
        for ordered in KEYS {
            if let Some(default) = ordered.key.default_text() {
                assert!(ordered.key.value(Some(default)).is_ok(), "{}", ordered.key.name);
            }
        }
    }

    #[test]
    fn the_class_has_three_names() {
        for name in [CONNECTOR_CLASS, "WebSocketSourceConnector", "WebSocketSource"] {
            assert!(is_connector_class(name), "{name}");
        }
        assert!(!is_connector_class("no.such.WebSocketSourceConnector"));
    }

    #[test]
    fn what_the_worker_cannot_do_is_refused_by_name() {
        assert!(errors(&[("transforms", "a")])[0].contains("remove transforms or run the connector on Kafka Connect"));
        assert!(errors(&[("predicates", "a")])[0].contains("remove predicates"));
        assert!(errors(&[("exactly.once.support", "REQUIRED")])[0].contains("set it to requested"));
        assert!(errors(&[("transforms", " ")]).is_empty());
    }

    #[test]
    fn names_are_checked_in_connects_words() {
        assert_eq!(errors(&[("name", "")]), ["Invalid value  for configuration name: String may not be empty"]);
        assert_eq!(
            errors(&[("name", "a\tb")]),
            [
                "Invalid value a\tb for configuration name: String may not contain control sequences but had the following ASCII chars: 9"
            ]
        );
        assert_eq!(
            errors(&[("tasks.max", "0")]),
            ["Invalid value 0 for configuration tasks.max: Value must be at least 1"]
        );
    }
}
