//! The documentation is true: `docs/reference/options.md` is what the option tables say, `docs/feeds` what the profiles say, and
//! `docs/reference/rest.md` names every difference that the scenarios know.
//!
//! `UPDATE=1 cargo test --workspace --test docs` (`make docs`) rewrites what is generated.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use connect_websocket::command::feeds;
use connect_websocket::connector::framework;
use connect_websocket::{config, rest};
use connect_websocket_engine::config::{Config, OPTIONS};
use connect_websocket_engine::config_def::{ConfigKey, Default, Kind};
use connect_websocket_engine::feeds::{NAMES, Profile, words};
use connect_websocket_engine::figures::{self, ATTRIBUTES, Host, PREFIX};
use connect_websocket_engine::properties;
use serde_json::Value;

const BEGIN: &str = "<!-- generated: begin -->\n";
const END: &str = "<!-- generated: end -->\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Compares a file with what it should be, or makes it so with `UPDATE=1`.
fn check(file: &str, expected: &str) {
    let path = root().join(file);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{file} is not what the code says: run `make docs` and commit the file");
}

// --- docs/reference/options.md --------------------------------------------------------------------------------------------------

#[test]
fn options_md_is_generated_from_the_option_tables() {
    check("docs/reference/options.md", &options_md());
}

fn options_md() -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str("\n## Connector options\n");
    for group in groups(&OPTIONS) {
        let _ = write!(page, "\n### {group}\n\n");
        table(&mut page, "", OPTIONS.iter().filter(|key| key.group == group));
    }
    let of_framework: Vec<ConfigKey> = framework::KEYS.iter().map(|ordered| ordered.key).collect();
    page.push_str(FRAMEWORK);
    for group in groups(&of_framework) {
        let _ = write!(page, "\n### {group}\n\n");
        table(&mut page, "", of_framework.iter().filter(|key| key.group == group));
    }
    page.push_str(BESIDE_THE_TABLES);
    for (class, prefix) in [("StringConverter", "value.converter."), ("JsonConverter", "value.converter.")] {
        let _ = write!(page, "\n### {class}\n\n");
        let keys = framework::converter_keys(class).iter().filter(|ordered| ordered.key.name != "converter.type");
        table(&mut page, prefix, keys.map(|ordered| &ordered.key));
    }
    page.push_str(WORKER);
    table(&mut page, "", config::OPTIONS);
    page.push_str("\n### REST server\n\n");
    table(&mut page, "", rest::config::OPTIONS);
    page.push_str(BESIDE_THE_WORKERS_TABLES);
    page
}

/// The groups of a table, in the order in which they first occur.
fn groups(table: &[ConfigKey]) -> Vec<&'static str> {
    let mut groups: Vec<&str> = Vec::new();
    table.iter().for_each(|key| {
        if !groups.contains(&key.group) {
            groups.push(key.group);
        }
    });
    groups
}

fn table<'a>(page: &mut String, prefix: &str, keys: impl IntoIterator<Item = &'a ConfigKey>) {
    page.push_str("| option | type | default | importance | |\n|---|---|---|---|---|\n");
    for key in keys {
        let default = match key.default {
            Default::Required => "**required**".to_owned(),
            Default::Null => "none".to_owned(),
            // The version of the build, which this page shall not follow.
            Default::Value(framework::VERSION) => "the worker's".to_owned(),
            Default::Value("") => "empty".to_owned(),
            Default::Value(text) => format!("`{text}`"),
        };
        let kind = match key.kind {
            Kind::Password => "PASSWORD (never shown)".to_owned(),
            kind => kind.as_str().to_owned(),
        };
        let text = key.documentation.split_whitespace().collect::<Vec<_>>().join(" ");
        let name = format!("{prefix}{}", key.name);
        // In code, characters stand for themselves.
        let escape = |(index, part): (usize, &str)| match index % 2 {
            0 => part.replace('|', "\\|").replace('<', "&lt;"),
            _ => part.to_owned(),
        };
        let text = text.split('`').enumerate().map(escape).collect::<Vec<_>>().join("`");
        let _ = writeln!(page, "| `{name}` | {kind} | {default} | {} | {text} |", key.importance.as_str());
    }
}

// --- docs/feeds ----------------------------------------------------------------------------------------------------

#[test]
fn each_profile_has_its_page() {
    check("docs/feeds/index.md", &feeds_index());
    for profile in Profile::all() {
        check(&format!("docs/feeds/{}.md", profile.name), &feed_page(&profile));
    }
    for path in sorted(&root().join("docs/feeds")) {
        let name = path.file_stem().unwrap().to_string_lossy();
        assert!(name == "index" || NAMES.contains(&&*name), "{} is of no profile: remove it", path.display());
    }
}

#[test]
fn the_readme_lists_every_feed() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let list = readme.split("## Any feed in three lines").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    for Profile { name, title, .. } in Profile::all() {
        let first = title.split([' ', ',']).next().unwrap();
        assert!(list.contains(first), "README.md does not list {name}: {title}");
    }
}

fn feeds_index() -> String {
    let mut page = String::from(FEEDS);
    page.push_str("\n| feed | what | resumes | missing messages are counted | acknowledged | facts of |\n|---|---|---|---|---|---|\n");
    for Profile { name, title, checked, options, .. } in Profile::all() {
        let (resumes, counts) = (words::resumes(&options), words::counts_gaps(&options));
        let acknowledged = words::acknowledges(&options);
        let _ =
            writeln!(page, "| [`{name}`]({name}.md) | {title} | {resumes} | {counts} | {acknowledged} | {checked} |");
    }
    page
}

fn feed_page(profile: &Profile) -> String {
    let Profile { name, title, docs, checked, notes, options, .. } = profile;
    let (resumes, counts) = (words::resumes(options), words::counts_gaps(options));
    let mut page = format!(
        "# {title}\n\n<!-- Generated from crates/engine/feeds/{name}.properties: run `make docs`. -->\n\n\
         {notes}\n\n\
         | | |\n|---|---|\n\
         | the option | `websocket.feed={name}` |\n\
         | the feed's own documentation | <{docs}> |\n\
         | the profile is true as of | {checked} |\n\
         | [resumes](../guide/delivery.md) after a lost connection | {resumes} |\n\
         | missing messages are [counted](../operations/gaps.md) | {counts} |\n\
         | messages are acknowledged | {} |\n",
        words::acknowledges(options)
    );
    let _ = write!(
        page,
        "\n## A connector\n\n`connect-websocket feeds {name} --write {name}.properties` writes this file. Put your own values in.\n\n\
         ```properties\n{}```\n\n## What happens on each connection\n\n",
        feeds::connector_file(profile)
    );
    for (at, step) in words::session(options).iter().enumerate() {
        let _ = writeln!(page, "{}. `{step}`", at + 1);
    }
    page
}

const FEEDS: &str = "\
# Feeds

<!-- Generated from the profiles: run `make docs`. -->

A feed of this list works with three lines: `websocket.feed`, what the feed asks of you (mostly its topics), and the Kafka topic.
The feed's *profile* sets every other option. What you set yourself wins, option by option. An empty value unsets what the profile sets.

```bash
connect-websocket feeds                                   # the list
connect-websocket feeds kucoin                            # one feed, with all that its profile sets
connect-websocket feeds kucoin --write kucoin.properties  # a connector file to fill in
```

Your feed is not in the list? Configure its session [in steps](../guide/sessions.md). You can keep the result as a profile of your own:
`websocket.feed` also takes the path of a file in the form of `crates/engine/feeds/*.properties`.

What the columns say:

- **resumes**: after a lost connection or a restart the feed is read on from where it stopped. Nothing is missed while the feed keeps its
  messages. *Within one process* means that a restart of the process begins anew: the feed resumes by a secret, and secrets are not stored.
- **missing messages are counted**: the feed numbers its messages, so the [ledger of gaps](../operations/gaps.md) says which are missing.
  *And can be asked for*: with `websocket.sequence.action=backfill` the connector asks the feed's history for them.
- **acknowledged**: the feed sends a message again until it is acknowledged. The connector does that when Kafka has the record.
- **facts of**: how new the facts are that the profile was written from.

[Delivery](../guide/delivery.md) says what that means for loss and for duplicates.
";

// --- docs/reference/rest.md ----------------------------------------------------------------------------------------------------

const MALFORMED: &str = "malformed request";

/// Why our answer is another than Connect's: scenario, steps, reason. A new difference needs a reason here.
const REASONS: &[(&str, &[&str], &str)] = &[
    ("config", &["broken JSON"], MALFORMED),
    (
        "create_refused",
        &[
            "no body",
            "null",
            "broken JSON",
            "array",
            "unknown member",
            "object as value",
            "array as value",
            "unknown initial state",
        ],
        MALFORMED,
    ),
    ("create_refused", &["no class"], "the configuration is not repeated in the message: it may hold secrets"),
    (
        "offsets_refused",
        &[
            "array",
            "unknown member",
            "object instead of a list",
            "number in the list",
            "unknown member in the list",
            "list as partition",
            "broken JSON",
        ],
        MALFORMED,
    ),
    (
        "restart",
        &["task that is not there"],
        "one wording for every task that is not there, that of Connect's distributed herder",
    ),
    (
        "restart",
        &["no task was made up"],
        "Connect standalone keeps a FAILED task 9 in the status after the request before; here a task that is not there stays so",
    ),
    ("surface", &["root"], "`worker_version` is this worker's own, `version` that of the API"),
    (
        "surface",
        &["change that a page of another origin asks for"],
        "no web page may change connectors, unless `access.control.allow.origin` names its origin",
    ),
    (
        "surface",
        &["another name for a loopback listener"],
        "ends DNS rebinding: `rest.allowed.hosts`; by default a loopback listener has loopback names only",
    ),
    ("surface", &["type with a charset"], MALFORMED),
    (
        "unknown_connector",
        &["stop", "restart", "restart of a task"],
        "a connector that does not exist is 404 here too; Connect standalone answers these with 500",
    ),
    (
        "validate",
        &["no class", "nothing"],
        "the request is at fault, so 400; and the configuration, which may hold secrets, is not repeated",
    ),
    ("validate", &["no body"], MALFORMED),
];

#[test]
fn rest_md_lists_every_difference_that_the_scenarios_know() {
    let text = fs::read_to_string(root().join("docs/reference/rest.md")).unwrap();
    let (before, rest) =
        text.split_once(BEGIN).expect("docs/reference/rest.md has lost the mark of its generated part");
    let (_, after) = rest.split_once(END).expect("docs/reference/rest.md has lost the mark of its generated part");
    check("docs/reference/rest.md", &format!("{before}{BEGIN}{}{END}{after}", differences()));
}

/// A table of all steps that have an answer of their own for Connect.
fn differences() -> String {
    let mut table =
        String::from("| request | here | Kafka Connect 4.3.1 | reason | scenario |\n|---|---|---|---|---|\n");
    let mut used = 0;
    for path in sorted(&root().join("e2e/scenarios/rest")) {
        let scenario = path.file_stem().unwrap().to_string_lossy().into_owned();
        let content: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for step in content["steps"].as_array().unwrap().iter().filter(|step| !step["connect"].is_null()) {
            let id = step["id"].as_str().unwrap();
            let reason = REASONS.iter().find(|(file, ids, _)| *file == scenario && ids.contains(&id));
            let (_, _, why) =
                reason.unwrap_or_else(|| panic!("say in REASONS why \"{id}\" of {scenario}.json differs"));
            used += 1;
            let _ = writeln!(
                table,
                "| `{} {}`: {id} | {} | {} | {why} | {scenario} |",
                step["method"].as_str().unwrap(),
                step["path"].as_str().unwrap().replace("{{class}}", "…"),
                answer(&step["expect"]),
                answer(&step["connect"]),
            );
        }
    }
    assert_eq!(used, REASONS.iter().map(|(_, ids, _)| ids.len()).sum::<usize>(), "REASONS names a step that is gone");
    table
}

/// Status and, where the scenario fixes it, the message.
fn answer(expected: &Value) -> String {
    let status = &expected["status"];
    match expected["json"]["message"].as_str() {
        Some(exact) if !exact.starts_with('<') => format!("{status} `` {exact} ``"),
        Some(_) | None => status.to_string(),
    }
}

#[test]
fn rest_md_names_every_route() {
    let text = fs::read_to_string(root().join("docs/reference/rest.md")).unwrap();
    let routes = parts_of_sources("crates/worker/src/rest", ".route(\"", |c| c == '"');
    assert!(routes.len() > 15, "{routes:?}");
    for route in routes {
        assert!(text.contains(&format!("`{route}`")), "docs/reference/rest.md does not name {route}");
    }
}

// --- docs/reference/metrics.md, docs/reference/log.md ----------------------------------------------------------------------------------------------

#[test]
fn metrics_md_has_every_figure_and_attribute_with_its_meaning() {
    let page = fs::read_to_string(root().join("docs/reference/metrics.md")).unwrap();
    let page = with_part(&page, "figures", &figures_table());
    check("docs/reference/metrics.md", &with_part(&page, "attributes", &attributes_table()));
}

/// A figure that is split by a label is one row.
fn figures_table() -> String {
    let mut table = String::from("| in Prometheus | type | in JMX | meaning |\n|---|---|---|---|\n");
    let both = figures::figures(Host::Worker).into_iter().chain(figures::figures(Host::Plugin));
    let mut seen = Vec::new();
    for figure in both {
        if seen.contains(&figure.name) {
            continue;
        }
        seen.push(figure.name);
        let host = figure.only.unwrap_or(Host::Worker);
        let family = figures::figures(host).into_iter().filter(|other| other.name == figure.name);
        let attributes: Vec<String> = family.clone().map(|figure| format!("`{}`", figure.attribute())).collect();
        let attributes = match &attributes[..] {
            _ if figure.only == Some(Host::Worker) => "-".to_owned(),
            [first, .., last] if attributes.len() > 5 => format!("{first} … {last}"),
            all => all.join(", "),
        };
        let values: Vec<&str> = family.filter_map(|figure| figure.label).map(|(_, value)| value).collect();
        let labels = match figure.label {
            Some((label @ "le", _)) => format!("; label `{label}`, in seconds"),
            Some((label, _)) => format!("; label `{label}`: {}", values.join(", ")),
            None => String::new(),
        };
        let host = match figure.only {
            Some(Host::Worker) => "worker: ",
            Some(Host::Plugin) => "plugin: ",
            None => "",
        };
        let (name, kind) = (figure.name, figure.kind.as_str());
        let _ = writeln!(table, "| `{PREFIX}{name}` | {kind} | {attributes} | {host}{}{labels} |", figure.help);
    }
    table
}

fn attributes_table() -> String {
    let mut table = String::from("| attribute | type | meaning |\n|---|---|---|\n");
    for attribute in ATTRIBUTES {
        let _ = writeln!(table, "| `{}` | {} | {} |", attribute.name, attribute.java_type, attribute.help);
    }
    table.push_str("| `ConnectorName` | String | not in Prometheus |\n");
    table.push_str(
        "| `resetCounters()` | operation | sets `MessagesReceived`, `MessagesDropped` and `RecordsProduced` to 0 |\n",
    );
    table
}

/// The page with what stands between the marks of this name replaced.
fn with_part(page: &str, name: &str, part: &str) -> String {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->\n"));
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("the mark {begin} is missing"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("the mark {end} is missing"));
    format!("{before}{begin}{part}{end}{after}")
}

#[test]
fn metrics_md_names_every_metric_that_only_the_worker_makes() {
    let text = fs::read_to_string(root().join("docs/reference/metrics.md")).unwrap();
    let page = connect_websocket::metrics::render(&[]);
    let families: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(families.len() > 30, "{families:?}");
    for family in families.into_iter().filter(|family| !family.starts_with("io_conduktor_")) {
        assert!(text.contains(&format!("`{family}`")), "docs/reference/metrics.md does not name the metric {family}");
    }
}

#[test]
fn log_md_names_every_event_of_the_log() {
    let text = fs::read_to_string(root().join("docs/reference/log.md")).unwrap();
    let mut events = parts_of_sources("crates/engine/src", "(\"event=", |c| !(c.is_ascii_lowercase() || c == '_'));
    for sources in ["crates/worker/src", "crates/plugin/src", "crates/plugin/java/src/main/java"] {
        events.extend(parts_of_sources(sources, "\"event=", |c| !(c.is_ascii_lowercase() || c == '_')));
    }
    events.retain(|event| event.len() > 1); // `event=x` is the sample of a test.
    assert!(events.len() > 30, "{events:?}");
    for event in events {
        assert!(text.contains(&format!("`{event}`")), "docs/reference/log.md does not name event={event}");
    }
}

/// What stands between `begin` and the first character that ends it, in all sources below a folder.
fn parts_of_sources(folder: &str, begin: &str, ends: fn(char) -> bool) -> Vec<String> {
    let mut parts = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for path in sorted(&folder) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            parts.extend(source.split(begin).skip(1).filter_map(|rest| rest.split(ends).next()).map(str::to_owned));
        }
    }
    parts
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

// --- what the tables do not say --------------------------------------------------------------------------------------

const INTRODUCTION: &str = "\
<!-- Generated by crates/worker/tests/docs.rs from the option tables: change those, then run `make docs`. -->

# Options

The [connector options](#connector-options) are the same in both hosts. All else on this page is the worker's: in Kafka Connect the plugin
leaves it to Connect, whose documentation has it.

The connector's file and the worker's file are Java properties, as for `connect-standalone`; a connector's file may also be JSON. All
values are text, blanks around them do not count. `connect-websocket validate connector.properties [--worker
worker.properties]` reports every error of a connector at once; the worker does the same for its own file when it starts.

In the connector's options, `${env:NAME}`, `${file:/path:key}` and `${dir:/path:file}` are replaced if the worker's file has a config provider
of that name (see [below](#beside-the-tables-1)). One that is left in a secret, in a client property or anywhere in the worker's file is
refused.
";

const FRAMEWORK: &str = "
## Options of every source connector

These are Kafka Connect's own.

Without effect at present, though checked: `errors.retry.timeout` and `errors.retry.delay.max.ms` (the Kafka client tries again by itself,
without end unless `delivery.timeout.ms` is set; a converter's refusal does not pass).
";

const BESIDE_THE_TABLES: &str = "
### Beside the tables

| option | |
|---|---|
| `producer.override.*` | properties of Kafka's producer for this connector, in Java's names, as far as `connector.client.config.override.policy` allows |
| `admin.override.*` | the same for the client that creates topics |
| `topic.creation.default.partitions`, `topic.creation.default.replication.factor` | required once any `topic.creation.*` is given: the topic, and any that a record names, is then created before its first record; -1 takes the broker's default |
| `topic.creation.default.*` | other settings of the topic, `retention.ms` for one |
| `topic.creation.<group>.*` | the same for the topics that `topic.creation.<group>.include` matches and `.exclude` does not |
| `key.converter.*`, `value.converter.*` | options of the converter that the same file names, see below |

Without any `topic.creation.*` a missing topic is left to the broker (`auto.create.topics.enable`).

## Converter options

`value.converter` is for what a message becomes. A key (`websocket.record.key`) and headers (`websocket.record.header.*`) are for
`key.converter` and `header.converter`; without these options a record has neither. If the connector's file names a class, only options of
that file apply to it; else the worker's class with the worker's options.

| class (its simple name is enough) | a text message becomes | a binary message (`websocket.frame.binary=bytes`) |
|---|---|---|
| `org.apache.kafka.connect.storage.StringConverter` | its text | its bytes as they are (Connect writes Java's `[B@…`). For text, set `websocket.frame.binary` to `text` or `base64` |
| `org.apache.kafka.connect.json.JsonConverter` | a JSON string, in an envelope with its schema if `schemas.enable` | base64 in a JSON string |
| `org.apache.kafka.connect.converters.ByteArrayConverter` | fails, unless `websocket.record.value=bytes`: its UTF-8 | its bytes |

The converters of Java's numbers and booleans are known too, and refuse both. There are no other classes here: this worker runs no Java.
";

const WORKER: &str = "
## Worker options

`offset.flush.timeout.ms` is read and checked, without effect at present: a stopping task has the time of
`task.shutdown.graceful.timeout.ms`. `key.converter` and `header.converter` matter for connectors whose records have keys and headers.

";

const BESIDE_THE_WORKERS_TABLES: &str = "
### Beside the tables

| option | |
|---|---|
| `producer.*` | properties of Kafka's producer in Java's names, for all connectors. Security for the producers stands here: `producer.security.protocol`, `producer.sasl.*`, `producer.ssl.*` |
| `security.protocol`, `sasl.*`, `ssl.*`, `request.timeout.ms`, … without a prefix | for the worker's own client, and for the one that creates topics |
| `admin.*` | the client that creates topics, over the ones without a prefix |
| `config.providers`, `config.providers.<name>.class`, `.param.*` | `FileConfigProvider`, `DirectoryConfigProvider` (parameter `allowed.paths`) and `EnvVarConfigProvider` (parameter `allowlist.pattern`) of Apache Kafka, by their full names |
| `listeners.https.ssl.*`, `admin.listeners.https.ssl.*`, else `ssl.*` | TLS of https listeners: PEM only, keys unencrypted |

The clients are librdkafka's. A property of Java's that it has under another name is translated, and Java's default is set where librdkafka has
another one (`linger.ms` 5, `batch.size` 16384, `buffer.memory` 33554432, `max.request.size` 1048576). A property without
equivalent is named in a warning; one that decides about security and cannot be honoured is an error: Kerberos (`GSSAPI`), OAUTHBEARER with a
token endpoint, `AWS_MSK_IAM`, Java callback classes, `transactional.id`. `max.block.ms` is checked, without effect: a full buffer makes the
queue fill and the socket wait, without end.

Ignored, and named once in the log (`event=options_ignored`): what only a JVM or a cluster of workers can use, such as
`plugin.path`, `metric.reporters`, `group.id`, `offset.storage.topic`, `config.storage.*`, `status.storage.*`,
`consumer.*`. What begins like an option about who may do what (`rest.`, `listeners.`, `access.control.`, `authentication.`,
`authorization.`, `security.providers`) and is none of this page is refused: misspelt, it would protect nothing.
";

// --- docs/guide, README.md ---------------------------------------------------------------------------------------

#[test]
fn every_configuration_in_the_guide_and_the_readme_is_valid() {
    let mut checked = 0;
    for file in ["docs/guide/sessions.md", "docs/guide/delivery.md", "README.md"] {
        let page = fs::read_to_string(root().join(file)).unwrap();
        for block in page.split("```properties\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            if !block.contains("websocket.") {
                continue;
            }
            // A config provider would have replaced it.
            let mut properties = properties::parse_text(&block.replace("${env:", "{{env:")).unwrap();
            for value in properties.values_mut().filter(|value| value.starts_with("{{env:")) {
                *value = "s3cr3t".to_owned();
            }
            if let Err(errors) = Config::parse(&properties) {
                panic!("{file}: {errors:?} in\n{block}");
            }
            checked += 1;
        }
    }
    assert!(checked >= 10, "{checked}");
}
