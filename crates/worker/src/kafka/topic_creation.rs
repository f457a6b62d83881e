//! Topic creation rules of a source connector (KIP-158): which partitions, replication factor and settings a new
//! topic gets.

use std::str::FromStr;

use indexmap::IndexMap;
use regex::{Regex, RegexBuilder};

use connect_websocket_engine::config_def::ConfigError;

const PREFIX: &str = "topic.creation.";
const GROUPS: &str = "topic.creation.groups";
const DEFAULT: &str = "default";

/// Limits for a connector: groups, patterns of one list, and the memory of one compiled pattern.
const MAX_GROUPS: usize = 32;
const MAX_PATTERNS: usize = 32;
const MAX_PATTERN_BYTES: usize = 256 << 10;

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// The topic's name.
    pub name: String,
    /// The number of partitions. -1 means the broker's default.
    pub partitions: i32,
    /// The number of replicas. -1 means the broker's default.
    pub replication_factor: i16,
    /// Topic settings, for example `retention.ms`.
    pub configs: IndexMap<String, String>,
}

/// The `topic.creation.*` options of one connector.
#[derive(Clone, Debug)]
pub struct TopicCreation {
    groups: Vec<Group>,
    default: Rule,
}

#[derive(Clone, Debug)]
struct Group {
    include: Vec<Regex>,
    exclude: Vec<Regex>,
    rule: Rule,
}

#[derive(Clone, Debug)]
struct Rule {
    partitions: i32,
    replication_factor: i16,
    configs: IndexMap<String, String>,
}

impl TopicCreation {
    /// Reads the rules. Returns `None` if the connector has no `topic.creation.*` option. Then topics are left to the
    /// broker. The caller checks the worker's `topic.creation.enable` first.
    ///
    /// All errors are reported at once.
    pub fn from_config(config: &IndexMap<String, String>) -> Result<Option<Self>, Vec<ConfigError>> {
        if !config.keys().any(|option| option.starts_with(PREFIX)) {
            return Ok(None);
        }
        let mut errors = Vec::new();
        let default = Rule::read(config, DEFAULT, None, &mut errors);
        let names = list(config, GROUPS);
        if names.len() > MAX_GROUPS {
            let why = format!("more than the limit of {MAX_GROUPS} groups");
            return Err(vec![ConfigError::new(GROUPS, format!("Invalid value for configuration {GROUPS}: {why}"))]);
        }
        if (1..names.len()).any(|at| names[..at].contains(&names[at])) {
            errors.push(ConfigError::invalid(GROUPS, &java_list(&names), "Duplicate alias provided."));
        }
        // The default group always exists and comes last, even when it is listed.
        let groups = names
            .iter()
            .filter(|name| **name != DEFAULT)
            .map(|name| Group {
                include: patterns(config, &format!("{PREFIX}{name}.include"), &mut errors),
                exclude: patterns(config, &format!("{PREFIX}{name}.exclude"), &mut errors),
                rule: Rule::read(config, name, Some(&default), &mut errors),
            })
            .collect();
        if errors.is_empty() { Ok(Some(Self { groups, default })) } else { Err(errors) }
    }

    /// Returns the rule for `topic`: that of the first listed group that matches it, or otherwise of the default group.
    pub fn rule_for(&self, topic: &str) -> NewTopic {
        let group = self.groups.iter().find(|group| group.matches(topic));
        let rule = group.map_or(&self.default, |group| &group.rule);
        NewTopic {
            name: topic.to_owned(),
            partitions: rule.partitions,
            replication_factor: rule.replication_factor,
            configs: rule.configs.clone(),
        }
    }
}

impl Group {
    fn matches(&self, topic: &str) -> bool {
        let any = |patterns: &[Regex]| patterns.iter().any(|pattern| pattern.is_match(topic));
        !any(&self.exclude) && any(&self.include)
    }
}

impl Rule {
    fn read(
        config: &IndexMap<String, String>,
        group: &str,
        default: Option<&Rule>,
        errors: &mut Vec<ConfigError>,
    ) -> Self {
        let prefix = format!("{PREFIX}{group}.");
        let replication_factor = count(
            config,
            &format!("{prefix}replication.factor"),
            default.map(|rule| rule.replication_factor),
            "SHORT",
            "Replication factor must be positive and not larger than the number of brokers in the Kafka cluster, \
             or -1 to use the broker's default",
            errors,
        );
        let partitions = count(
            config,
            &format!("{prefix}partitions"),
            default.map(|rule| rule.partitions),
            "INT",
            "Number of partitions must be positive, or -1 to use the broker's default",
            errors,
        );
        let configs = config
            .iter()
            .filter_map(|(option, value)| Some((option.strip_prefix(&prefix)?, value)))
            .filter(|(key, _)| !matches!(*key, "include" | "exclude" | "replication.factor" | "partitions"))
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect();
        Self { partitions, replication_factor, configs }
    }
}

/// Reads a count of at least 1, or -1. After an error it returns -1, which is not used.
fn count<N: FromStr + PartialOrd + From<i8>>(
    config: &IndexMap<String, String>,
    option: &str,
    default: Option<N>,
    java_type: &str,
    range: &str,
    errors: &mut Vec<ConfigError>,
) -> N {
    let broker_default = N::from(-1);
    let Some(text) = config.get(option) else {
        return default.unwrap_or_else(|| {
            errors.push(ConfigError::missing(option));
            broker_default
        });
    };
    let why = match text.trim().parse::<N>() {
        Ok(number) if number == broker_default || number >= N::from(1) => return number,
        Ok(_) => range.to_owned(),
        Err(_) => format!("Not a number of type {java_type}"),
    };
    errors.push(ConfigError::invalid(option, text, why));
    broker_default
}

fn patterns(config: &IndexMap<String, String>, option: &str, errors: &mut Vec<ConfigError>) -> Vec<Regex> {
    let texts = list(config, option);
    if texts.len() > MAX_PATTERNS {
        let why = format!("more than the limit of {MAX_PATTERNS} patterns; join them with |");
        errors.push(ConfigError::new(option, format!("Invalid value for configuration {option}: {why}")));
        return Vec::new();
    }
    // Connect joins the list with `|`, so that an empty list is the empty pattern; no topic has an empty name.
    let mut compiled = Vec::new();
    for text in &texts {
        match full_match(text) {
            Ok(pattern) => compiled.push(pattern),
            Err(why) => {
                let why = format!("Syntax error in regular expression: {why}");
                errors.push(ConfigError::invalid(option, &java_list(&texts), why));
            }
        }
    }
    compiled
}

/// Compiles a Java regular expression that has to match a whole text. Look-around, back references and possessive
/// quantifiers are not supported. The error names them.
pub(crate) fn full_match(pattern: &str) -> Result<Regex, String> {
    // Compiled alone first: `a)(b` would become valid inside the group.
    let compile = |pattern: &str| RegexBuilder::new(pattern).size_limit(MAX_PATTERN_BYTES).build();
    let compiled = compile(pattern).and_then(|_| compile(&format!(r"\A(?:{pattern})\z")));
    compiled.map_err(|error| match error {
        regex::Error::Syntax(_) => format!(
            "{pattern} is not a regular expression that this worker knows (it has Java's syntax without look-around, \
             back references and possessive quantifiers)"
        ),
        _ => format!("{pattern} is too large"),
    })
}

/// Reads a Kafka LIST: split at commas with the blanks around them. An empty text is an empty list.
fn list<'a>(config: &'a IndexMap<String, String>, option: &str) -> Vec<&'a str> {
    match config.get(option).map(|text| text.trim()) {
        None | Some("") => Vec::new(),
        Some(text) => text.split(',').map(str::trim).collect(),
    }
}

fn java_list(items: &[&str]) -> String {
    format!("[{}]", items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> IndexMap<String, String> {
        pairs.iter().map(|(option, value)| ((*option).to_owned(), (*value).to_owned())).collect()
    }

    fn with_default(pairs: &[(&str, &str)]) -> IndexMap<String, String> {
        let mut all = config(&[
            ("topic.creation.default.partitions", "3"),
            ("topic.creation.default.replication.factor", " -1 "),
        ]);
        all.extend(config(pairs));
        all
    }

    fn errors(config: &IndexMap<String, String>) -> Vec<String> {
        TopicCreation::from_config(config).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn without_options_topics_are_left_to_the_broker() {
        assert!(TopicCreation::from_config(&config(&[("name", "c")])).unwrap().is_none());
    }

    #[test]
    fn the_default_group_is_required_and_complete() {
        assert_eq!(
            errors(&config(&[("topic.creation.groups", "a")])),
            [
                "Missing required configuration \"topic.creation.default.replication.factor\" which has no default value.",
                "Missing required configuration \"topic.creation.default.partitions\" which has no default value.",
            ]
        );
    }

    #[test]
    fn the_first_matching_group_wins_and_inherits() {
        let rules = TopicCreation::from_config(&with_default(&[
            ("topic.creation.groups", "b, default ,a"),
            ("topic.creation.a.include", "x.*, y\\d"),
            ("topic.creation.a.partitions", "7"),
            ("topic.creation.b.include", "x1.*"),
            ("topic.creation.b.exclude", "x13"),
            ("topic.creation.b.cleanup.policy", "compact"),
            ("topic.creation.default.include", "nothing"),
            ("topic.creation.default.retention.ms", "1"),
        ]))
        .unwrap()
        .unwrap();
        let summary = |topic: &str| {
            let topic = rules.rule_for(topic);
            (topic.partitions, topic.replication_factor, format!("{:?}", topic.configs))
        };
        assert_eq!(summary("x12"), (3, -1, "{\"cleanup.policy\": \"compact\"}".to_owned()));
        assert_eq!(summary("x13"), (7, -1, "{}".to_owned()));
        assert_eq!(summary("y5"), (7, -1, "{}".to_owned()));
        assert_eq!(summary("y55"), (3, -1, "{\"retention.ms\": \"1\"}".to_owned()));
        assert_eq!(rules.rule_for("y5").name, "y5");
    }

    #[test]
    fn a_group_without_include_matches_nothing() {
        let rules = TopicCreation::from_config(&with_default(&[
            ("topic.creation.groups", "a"),
            ("topic.creation.a.partitions", "9"),
        ]));
        assert_eq!(rules.unwrap().unwrap().rule_for("t").partitions, 3);
    }

    #[test]
    fn wrong_values_are_worded_as_connect_words_them() {
        assert_eq!(
            errors(&with_default(&[
                ("topic.creation.default.partitions", "0"),
                ("topic.creation.default.replication.factor", "70000"),
                ("topic.creation.groups", "a,a"),
            ])),
            [
                "Invalid value 70000 for configuration topic.creation.default.replication.factor: Not a number of type SHORT",
                "Invalid value 0 for configuration topic.creation.default.partitions: Number of partitions must be \
                 positive, or -1 to use the broker's default",
                "Invalid value [a, a] for configuration topic.creation.groups: Duplicate alias provided.",
            ]
        );
    }

    #[test]
    fn an_unknown_regular_expression_names_its_option() {
        for pattern in ["x(", "(?=a)b", "a)(b", "(a)\\1"] {
            let errors =
                errors(&with_default(&[("topic.creation.groups", "a"), ("topic.creation.a.include", pattern)]));
            assert_eq!(errors.len(), 1, "{pattern}");
            assert!(errors[0].starts_with(&format!(
                "Invalid value [{pattern}] for configuration topic.creation.a.include: Syntax error in regular expression"
            )), "{}", errors[0]);
        }
    }
}
