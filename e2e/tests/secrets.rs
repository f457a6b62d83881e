//! A secret of the configuration appears nowhere but in the request to the feed and in Connect's own exception,
//! `GET …/config`; in no form, neither whole nor cut, on either host.

use std::fs;
use std::time::Duration;

use connect_websocket_e2e::offsets_file::StoredOffset;
use connect_websocket_e2e::prometheus::documented;
use connect_websocket_e2e::secrets::assert_absent;
use connect_websocket_e2e::{
    Connect, Consumer, Host, Kafka, Worker, WorkerBuilder, offsets_file, source_config, wait_until,
};
use connect_websocket_testkit::{
    Close, Handshake, Messages, Play, Reject, Script, Server, Stats, Step, Violation, secret_forms,
};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(60);
const CONNECTOR: &str = "feed";

/// What must not be seen.
const SECRETS: [&str; 9] = [
    "hush1-user",
    "hush2-pass",
    "hush3-query",
    "hush4-token",
    "hush5-header",
    "hush6-subscribe",
    "hush7-file",
    "hush8 encoded",
    "hush9-env",
];

/// A host with the config providers that the configuration uses.
trait Subject: Host {
    /// Part of the names of topics.
    const NAME: &str;
    /// Where the most talkative log is asked for. What Connect's own classes would tell is not ours.
    const LOGGERS: &[&str];
    /// Whether it knows what came from a config provider. Connect replaces references before a plugin sees them.
    const KNOWS_REFERENCES: bool;

    fn subject(bootstrap: &str) -> Self;
}

const PROVIDERS: [(&str, &str); 3] = [
    ("config.providers", "file,env"),
    ("config.providers.file.class", "org.apache.kafka.common.config.provider.FileConfigProvider"),
    ("config.providers.env.class", "org.apache.kafka.common.config.provider.EnvVarConfigProvider"),
];
/// In the host's directory, which is its working directory.
const FILE: (&str, &[u8]) = ("secrets.properties", b"other=hush7-file\n");
const ENVIRONMENT: (&str, &str) = ("HUSH", "hush9-env");

fn builder(bootstrap: &str) -> WorkerBuilder {
    let builder =
        PROVIDERS.iter().fold(Worker::builder(bootstrap), |builder, (key, value)| builder.property(key, value));
    builder.file(FILE.0, FILE.1).env(ENVIRONMENT.0, ENVIRONMENT.1)
}

impl Subject for Worker {
    const NAME: &str = "worker";
    const LOGGERS: &[&str] = &["root", "io.conduktor.connect.websocket", "org.apache.kafka.clients"];
    const KNOWS_REFERENCES: bool = true;

    fn subject(bootstrap: &str) -> Worker {
        builder(bootstrap).start()
    }
}

impl Subject for Connect {
    const NAME: &str = "plugin";
    const LOGGERS: &[&str] = &["io.conduktor.connect.websocket"];
    const KNOWS_REFERENCES: bool = false;

    fn subject(bootstrap: &str) -> Connect {
        let builder =
            PROVIDERS.iter().fold(Connect::builder(bootstrap), |builder, (key, value)| builder.property(key, value));
        let builder = builder.jmx_exporter(&documented("exporter"));
        builder.file(FILE.0, FILE.1).env(ENVIRONMENT.0, ENVIRONMENT.1).start()
    }
}

/// Each scenario, on both hosts.
mod worker {
    use super::*;

    #[test]
    fn secrets_reach_the_feed_and_nothing_else() {
        super::secrets_reach_the_feed_and_nothing_else::<Worker>();
    }

    #[test]
    fn failed_task_tells_why_and_no_secret() {
        super::failed_task_tells_why_and_no_secret::<Worker>();
    }

    #[test]
    fn refused_configurations_are_answered_without_their_secrets() {
        super::refused_configurations_are_answered_without_their_secrets::<Worker>();
    }
}

mod plugin {
    use super::*;

    #[test]
    fn secrets_reach_the_feed_and_nothing_else() {
        super::secrets_reach_the_feed_and_nothing_else::<Connect>();
    }

    #[test]
    fn failed_task_tells_why_and_no_secret() {
        super::failed_task_tells_why_and_no_secret::<Connect>();
    }

    #[test]
    fn refused_configurations_are_answered_without_their_secrets() {
        super::refused_configurations_are_answered_without_their_secrets::<Connect>();
    }
}

fn serve(script: Script) -> Server {
    Server::start(script).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"))
}

fn wait_feed(feed: &Server, condition: impl FnMut(&Stats) -> bool) -> Stats {
    feed.wait_until(condition, WITHIN).unwrap_or_else(|e| panic!("{e}"))
}

/// The feed's URL with user info and query.
fn secret_url(feed: &Server) -> String {
    let address = feed.addr();
    format!("ws://hush1-user:hush2-pass@{address}/stream?apikey=hush3-query&list=hush8%20encoded&sig=${{env:HUSH}}")
}

fn config(feed: &Server, topic: &str, more: &[(&str, &str)]) -> Value {
    let mut config = source_config(
        &secret_url(feed),
        topic,
        &[
            ("websocket.headers", "X-Api-Key:hush5-header,X-Other:${file:secrets.properties:other}"),
            ("websocket.auth.token", "hush4-token"),
            ("websocket.subscription.message", "{\"op\":\"subscribe\",\"key\":\"hush6-subscribe\"}"),
        ],
    );
    for (key, value) in more {
        config[*key] = Value::from(*value);
    }
    config
}

fn assert_silent(place: &str, text: &str) {
    SECRETS.iter().for_each(|secret| assert_absent(place, text, secret));
}

/// Every answer of the REST API about the connector, save for the configuration itself; and the metrics.
fn assert_rest_is_silent(host: &impl Host) {
    let paths = [
        "/".to_owned(),
        "/connectors".to_owned(),
        "/connectors?expand=status".to_owned(),
        format!("/connectors/{CONNECTOR}/status"),
        format!("/connectors/{CONNECTOR}/tasks/0/status"),
        format!("/connectors/{CONNECTOR}/topics"),
        format!("/connectors/{CONNECTOR}/offsets"),
        format!("/connectors/{CONNECTOR}/unknown"),
        "/connector-plugins".to_owned(),
        "/connector-plugins/WebSocketSourceConnector/config".to_owned(),
        "/health".to_owned(),
        "/admin/loggers".to_owned(),
    ];
    for path in paths {
        assert_silent(&path, &host.rest().get(&path).text);
    }
    assert_silent("the metrics", &host.metrics());
    // A stored reference is shown as it was sent, and not what it stands for.
    let shown = host.rest().get(&format!("/connectors/{CONNECTOR}/config")).text;
    assert!(shown.contains("${file:secrets.properties:other}") && shown.contains("${env:HUSH}"), "{shown}");
    for place in ["config", "tasks", ""] {
        let shown = host.rest().get(format!("/connectors/{CONNECTOR}/{place}").trim_end_matches('/')).text;
        for resolved in ["hush7-file", "hush9-env"] {
            assert_absent(place, &shown, resolved);
        }
    }
}

fn assert_files_are_silent(host: &impl Host) {
    assert_silent("the log", &host.log());
    if let Ok(bytes) = fs::read(host.offsets_file()) {
        assert_silent("the offsets file", &String::from_utf8_lossy(&bytes));
    }
}

/// The most talkative log there is.
fn log_everything<S: Subject>(host: &S) {
    for logger in S::LOGGERS {
        let answer = host.rest().put_json(&format!("/admin/loggers/{logger}"), &json!({"level": "TRACE"}));
        assert_eq!(answer.status, 200, "{logger}: {}", answer.text);
    }
}

/// What a server may make of what it received: all of it, in every form, and cut.
fn repeated() -> String {
    let forms = SECRETS.iter().flat_map(|secret| [secret_forms(secret), vec![secret[..8].to_owned()]].concat());
    forms.collect::<Vec<_>>().join(" ")
}

fn secrets_reach_the_feed_and_nothing_else<S: Subject>() {
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    let topic = format!("secrets-{}", S::NAME);
    // A server that repeats what it received, in every way that it can.
    let reject =
        Reject { status: 503, headers: vec![("X-Echo".into(), repeated())], body: format!("no: {}", repeated()) };
    let elsewhere = serve(Script::every(Play::reject(500)));
    let redirect = |location: String| Play::handshake(Handshake::Redirect { status: 307, location });
    let away = format!("ws://{}/there?apikey=hush3-query", elsewhere.addr());
    // A Close has room for 123 bytes (RFC 6455 §5.5).
    let close = Close { code: Some(4001), reason: repeated()[..120].to_owned(), ..Default::default() };
    let feed = serve(Script::plays([
        Play::handshake(Handshake::Reject(reject)),
        redirect(away),
        redirect("/stream2?apikey=hush3-query".to_owned()),
        Play::accept().expect_text("hush6-subscribe").send(Messages::count(100)).step(Step::Close(close)),
        Play::accept().step(Step::Violate { rule: Violation::Rsv2 }),
        Play::handshake(Handshake::Garbage { hex: String::new(), text: format!("{}\r\n\r\n", repeated()) }),
        Play::accept().reset(),
        Play::accept().expect_text("hush6-subscribe").send(Messages::forever().rate(500.0)),
    ]));
    let mut host = S::subject(&kafka.bootstrap());
    log_everything(&host);
    let answer = host.rest().put_json(&format!("/connectors/{CONNECTOR}/config"), &config(&feed, &topic, &[]));
    assert_eq!(answer.status, 201, "{}", answer.text);
    consumer.wait_count(&topic, 300, WITHIN);

    let seen = wait_feed(&feed, |stats| stats.connections.len() >= 8);
    let request = seen.connections.last().and_then(|connection| connection.request.clone()).unwrap_or_default();
    assert_eq!(request.line, "GET /stream?apikey=hush3-query&list=hush8%20encoded&sig=hush9-env HTTP/1.1");
    assert_eq!(request.header("X-Api-Key"), Some("hush5-header"));
    assert_eq!(request.header("X-Other"), Some("hush7-file"));
    assert_eq!(request.header("Authorization"), Some("Bearer hush4-token"));
    // What was redirected to another origin got none of it, save for what the redirect itself said.
    for request in elsewhere.stats().requests() {
        assert!(!format!("{request:?}").replace("hush3-query", "").contains("hush"), "{request:?}");
    }
    assert_rest_is_silent(&host);

    for path in ["restart?includeTasks=true", "tasks/0/restart"] {
        let before = feed.stats().accepted;
        let answer = host.rest().post(&format!("/connectors/{CONNECTOR}/{path}"));
        assert!(matches!(answer.status, 202 | 204), "{}", answer.text);
        assert_silent(path, &answer.text);
        wait_feed(&feed, |stats| stats.accepted > before);
    }
    host.wait_state(CONNECTOR, "RUNNING");
    assert_rest_is_silent(&host);
    host.terminate();
    assert!(offsets_file::sequence(&host.offsets_file(), CONNECTOR).is_some());
    assert_files_are_silent(&host);
}

fn failed_task_tells_why_and_no_secret<S: Subject>() {
    let kafka = Kafka::shared();
    let reject = Reject { status: 403, headers: Vec::new(), body: repeated() };
    let feed = serve(Script::every(Play::handshake(Handshake::Reject(reject))));
    let host = S::subject(&kafka.bootstrap());
    let topic = format!("secrets-failed-{}", S::NAME);
    let config = config(&feed, &topic, &[("websocket.reconnect.interval.ms", "0")]);
    assert_eq!(host.rest().put_json(&format!("/connectors/{CONNECTOR}/config"), &config).status, 201);

    let trace = wait_until("the task to be FAILED", WITHIN, || {
        let status = host.rest().get(&format!("/connectors/{CONNECTOR}/status")).json();
        (status["tasks"][0]["state"] == "FAILED").then(|| status["tasks"][0]["trace"].to_string())
    });
    assert!(trace.contains("403") && host.log().contains("403"), "{trace}");
    assert_rest_is_silent(&host);
    assert_files_are_silent(&host);
}

fn refused_configurations_are_answered_without_their_secrets<S: Subject>() {
    let kafka = Kafka::shared();
    let feed = serve(Script::every(Play::accept()));
    let host = S::subject(&kafka.bootstrap());
    log_everything(&host);
    let class = "io.conduktor.connect.websocket.WebSocketSourceConnector";
    let wrong_url = "ws://hush1-user:hush2-pass@:99999/?apikey=hush3-query";
    for (option, value) in [
        ("websocket.url", wrong_url),
        ("websocket.auth.token", "hush4-token\u{1}"),
        ("websocket.headers", "X-Api-Key:hush5-header\u{1}"),
        ("websocket.ping.interval.ms", "${file:secrets.properties:other}"),
    ] {
        if value.starts_with("${") && !S::KNOWS_REFERENCES {
            continue;
        }
        let config = config(&feed, "secrets-refused", &[(option, value)]);
        let answer = host.rest().put_json(&format!("/connectors/{CONNECTOR}/config"), &config);
        assert_eq!(answer.status, 400, "{option}: {}", answer.text);
        assert!(answer.text.contains(option), "{option}: {}", answer.text);
        assert_silent(&format!("the answer about {option}"), &answer.text);
        let answer = host.rest().put_json(&format!("/connector-plugins/{class}/config/validate"), &config);
        assert_eq!(answer.status, 200, "{option}: {}", answer.text);
        let errors: Vec<String> = answer.json()["configs"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|config| config["value"]["errors"].as_array().cloned().unwrap_or_default())
            .map(|error| error.to_string())
            .collect();
        assert!(!errors.is_empty(), "{option}: {}", answer.text);
        assert_silent(&format!("the errors about {option}"), &errors.join("\n"));
    }
    assert_files_are_silent(&host);
}

#[test]
fn restart_takes_the_present_secret_from_the_file() {
    let kafka = Kafka::shared();
    let feed = serve(Script::every(Play::accept()));
    let worker = builder(&kafka.bootstrap()).connector(CONNECTOR, config(&feed, "secrets-renewed", &[])).start();
    let other = |stats: &Stats| {
        stats.requests().last().and_then(|request| request.header("X-Other").map(str::to_owned)).unwrap_or_default()
    };
    wait_feed(&feed, |stats| other(stats) == "hush7-file");

    fs::write(worker.dir().join("secrets.properties"), "other=renewed-secret\n")
        .unwrap_or_else(|e| panic!("the secret cannot be changed: {e}"));
    assert_eq!(worker.rest().post(&format!("/connectors/{CONNECTOR}/restart?includeTasks=true")).status, 202);
    wait_feed(&feed, |stats| other(stats) == "renewed-secret");
    assert!(!worker.log_contains("renewed-secret"));
}

/// The existing connector's source partition is the URL as configured, with what it holds.
#[test]
fn stored_offset_under_the_raw_url_is_continued_and_the_raw_entry_is_gone() {
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    let feed = serve(Script::every(Play::accept().send(Messages::count(100))));
    let raw = format!("ws://hush1-user:hush2-pass@{}/stream?apikey=hush3-query", feed.addr());
    let file = offsets_file::write(&[StoredOffset {
        connector: CONNECTOR.to_owned(),
        partition: json!({"websocket_url": raw}),
        offset: Some(json!({"session_id": "5f2b", "sequence": 41_000})),
    }]);
    let mut worker = Worker::builder(&kafka.bootstrap())
        .file("connect.offsets", &file)
        .connector(CONNECTOR, source_config(&raw, "raw-offset", &[]))
        .start();
    consumer.wait_count("raw-offset", 100, WITHIN);

    let offsets = worker.rest().get(&format!("/connectors/{CONNECTOR}/offsets"));
    assert_silent("the offsets", &offsets.text);
    assert_eq!(worker.terminate(), 0);
    let stored = offsets_file::read(&worker.offsets_file()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(stored.len(), 1, "{stored:?}");
    let hidden = stored[0].partition["websocket_url"].as_str().unwrap_or_default();
    assert!(hidden.contains(&feed.addr().to_string()) && hidden.contains("***"), "{hidden}");
    let sequence = offsets_file::sequence(&worker.offsets_file(), CONNECTOR);
    let records = consumer.count("raw-offset");
    assert_eq!(sequence, Some(41_000 + records));
    assert_files_are_silent(&worker);
}
