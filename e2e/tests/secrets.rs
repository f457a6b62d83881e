//! A secret of the configuration appears nowhere but in the request to the feed and in Connect's own exception,
//! `GET …/config`.

use std::fs;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use connect_websocket_e2e::offsets_file::StoredOffset;
use connect_websocket_e2e::{Consumer, Kafka, Worker, WorkerBuilder, offsets_file, source_config, wait_until};
use connect_websocket_testkit::{Close, Handshake, Messages, Play, Reject, Script, Server, Stats, Step, Violation};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(60);
const CONNECTOR: &str = "feed";

/// What must not be seen: as given, and as it is encoded on the way.
const SECRETS: [&str; 10] = [
    "user-hush1",
    "pass-hush2",
    "query-hush3",
    "token-hush4",
    "header-hush5",
    "subscribe-hush6",
    "file-hush7",
    "hush8%20encoded",
    "hush8 encoded",
    "env-hush9",
];

fn serve(script: Script) -> Server {
    Server::start(script).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"))
}

fn wait_feed(feed: &Server, condition: impl FnMut(&Stats) -> bool) -> Stats {
    feed.wait_until(condition, WITHIN).unwrap_or_else(|e| panic!("{e}"))
}

/// The feed's URL with user info and query.
fn secret_url(feed: &Server) -> String {
    let address = feed.addr();
    format!("ws://user-hush1:pass-hush2@{address}/stream?apikey=query-hush3&list=hush8%20encoded&sig=${{env:HUSH}}")
}

fn config(feed: &Server, topic: &str, more: &[(&str, &str)]) -> Value {
    let mut config = source_config(
        &secret_url(feed),
        topic,
        &[
            ("websocket.headers", "X-Api-Key:header-hush5,X-Other:${file:secrets.properties:other}"),
            ("websocket.auth.token", "token-hush4"),
            ("websocket.subscription.message", "{\"op\":\"subscribe\",\"key\":\"subscribe-hush6\"}"),
        ],
    );
    for (key, value) in more {
        config[*key] = Value::from(*value);
    }
    config
}

fn builder(kafka: &Kafka) -> WorkerBuilder {
    Worker::builder(&kafka.bootstrap())
        .property("config.providers", "file,env")
        .property("config.providers.file.class", "org.apache.kafka.common.config.provider.FileConfigProvider")
        .property("config.providers.env.class", "org.apache.kafka.common.config.provider.EnvVarConfigProvider")
        .file("secrets.properties", b"other=file-hush7\n")
        .env("HUSH", "env-hush9")
}

fn forms(secret: &str) -> Vec<String> {
    vec![secret.to_owned(), BASE64.encode(secret).trim_end_matches('=').to_owned()]
}

fn assert_silent(place: &str, text: &str) {
    let basic = BASE64.encode("user-hush1:pass-hush2");
    for secret in SECRETS.iter().flat_map(|secret| forms(secret)).chain([basic]) {
        let found = text.lines().find(|line| line.contains(&secret));
        assert!(found.is_none(), "{place} shows {secret}: {}", found.unwrap_or_default());
    }
}

/// Every answer of the REST API about the connector, save for the configuration itself.
fn assert_rest_is_silent(worker: &Worker) {
    let paths = [
        "/".to_owned(),
        "/connectors".to_owned(),
        "/connectors?expand=status".to_owned(),
        format!("/connectors/{CONNECTOR}/status"),
        format!("/connectors/{CONNECTOR}/tasks/0/status"),
        format!("/connectors/{CONNECTOR}/topics"),
        format!("/connectors/{CONNECTOR}/offsets"),
        format!("/connectors/{CONNECTOR}/unknown"),
        "/metrics".to_owned(),
        "/health".to_owned(),
        "/admin/loggers".to_owned(),
    ];
    for path in paths {
        assert_silent(&path, &worker.rest().get(&path).text);
    }
    // A stored reference is shown as it was sent, and not what it stands for.
    let shown = worker.rest().get(&format!("/connectors/{CONNECTOR}/config")).text;
    assert!(shown.contains("${file:secrets.properties:other}") && shown.contains("${env:HUSH}"), "{shown}");
    for place in ["config", "tasks", ""] {
        let shown = worker.rest().get(format!("/connectors/{CONNECTOR}/{place}").trim_end_matches('/')).text;
        for resolved in ["file-hush7", "env-hush9"] {
            assert!(!shown.contains(resolved), "{place} shows {resolved}: {shown}");
        }
    }
}

fn assert_files_are_silent(worker: &Worker) {
    assert_silent("the log", &worker.log());
    if let Ok(bytes) = fs::read(worker.offsets_file()) {
        assert_silent("the offsets file", &String::from_utf8_lossy(&bytes));
    }
}

/// The most talkative log there is.
fn log_everything(worker: &Worker) {
    for logger in ["root", "io.conduktor.connect.websocket", "org.apache.kafka.clients"] {
        let answer = worker.rest().put_json(&format!("/admin/loggers/{logger}"), &json!({"level": "TRACE"}));
        assert_eq!(answer.status, 200, "{logger}: {}", answer.text);
    }
}

#[test]
fn secrets_reach_the_feed_and_nothing_else() {
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    // A server that repeats what it received, in every way that it can.
    let repeated = "user-hush1 pass-hush2 query-hush3 token-hush4 header-hush5 subscribe-hush6 file-hush7 env-hush9";
    let reject = Reject {
        status: 503,
        headers: vec![("X-Echo".into(), repeated.into())],
        body: format!("no: {repeated} hush8%20encoded hush8 encoded"),
    };
    let elsewhere = serve(Script::every(Play::reject(500)));
    let redirect = |location: String| Play::handshake(Handshake::Redirect { status: 307, location });
    let away = format!("ws://{}/there?apikey=query-hush3", elsewhere.addr());
    let close = Close { code: Some(4001), reason: repeated.into(), ..Default::default() };
    let feed = serve(Script::plays([
        Play::handshake(Handshake::Reject(reject)),
        redirect(away),
        redirect("/stream2?apikey=query-hush3".to_owned()),
        Play::accept().expect_text("subscribe-hush6").send(Messages::count(100)).step(Step::Close(close)),
        Play::accept().step(Step::Violate { rule: Violation::Rsv2 }),
        Play::handshake(Handshake::Garbage { hex: String::new(), text: format!("{repeated}\r\n\r\n") }),
        Play::accept().reset(),
        Play::accept().expect_text("subscribe-hush6").send(Messages::forever().rate(500.0)),
    ]));
    let mut worker = builder(kafka).start();
    log_everything(&worker);
    let answer = worker.rest().put_json(&format!("/connectors/{CONNECTOR}/config"), &config(&feed, "secrets", &[]));
    assert_eq!(answer.status, 201, "{}", answer.text);
    consumer.wait_count("secrets", 300, WITHIN);

    let seen = wait_feed(&feed, |stats| stats.connections.len() >= 8);
    let request = seen.connections.last().and_then(|connection| connection.request.clone()).unwrap_or_default();
    assert_eq!(request.line, "GET /stream?apikey=query-hush3&list=hush8%20encoded&sig=env-hush9 HTTP/1.1");
    assert_eq!(request.header("X-Api-Key"), Some("header-hush5"));
    assert_eq!(request.header("X-Other"), Some("file-hush7"));
    assert_eq!(request.header("Authorization"), Some("Bearer token-hush4"));
    // What was redirected to another origin got none of it, save for what the redirect itself said.
    for request in elsewhere.stats().requests() {
        assert!(!format!("{request:?}").replace("query-hush3", "").contains("hush"), "{request:?}");
    }
    assert_rest_is_silent(&worker);

    for path in ["restart?includeTasks=true", "tasks/0/restart"] {
        let before = feed.stats().accepted;
        let answer = worker.rest().post(&format!("/connectors/{CONNECTOR}/{path}"));
        assert!(matches!(answer.status, 202 | 204), "{}", answer.text);
        assert_silent(path, &answer.text);
        wait_feed(&feed, |stats| stats.accepted > before);
    }
    worker.wait_state(CONNECTOR, "RUNNING");
    assert_rest_is_silent(&worker);
    assert_eq!(worker.terminate(), 0);
    assert!(offsets_file::sequence(&worker.offsets_file(), CONNECTOR).is_some());
    assert_files_are_silent(&worker);
}

#[test]
fn failed_task_tells_why_and_no_secret() {
    let kafka = Kafka::shared();
    let repeated = "token-hush4 query-hush3 subscribe-hush6 header-hush5 file-hush7";
    let reject = Reject { status: 403, headers: Vec::new(), body: repeated.into() };
    let feed = serve(Script::every(Play::handshake(Handshake::Reject(reject))));
    let quick = [("websocket.reconnect.interval.ms", "0")];
    let worker = builder(kafka).connector(CONNECTOR, config(&feed, "secrets-failed", &quick)).start();

    wait_until("the task to be FAILED", WITHIN, || {
        let status = worker.rest().get(&format!("/connectors/{CONNECTOR}/status")).json();
        (status["tasks"][0]["state"] == "FAILED").then_some(())
    });
    assert!(worker.log_contains("403"));
    assert_rest_is_silent(&worker);
    assert_files_are_silent(&worker);
}

#[test]
fn refused_configurations_are_answered_without_their_secrets() {
    let kafka = Kafka::shared();
    let feed = serve(Script::every(Play::accept()));
    let worker = builder(kafka).start();
    log_everything(&worker);
    let class = "io.conduktor.connect.websocket.WebSocketSourceConnector";
    let wrong_url = "ws://user-hush1:pass-hush2@:99999/?apikey=query-hush3";
    for (option, value) in [
        ("websocket.url", wrong_url),
        ("websocket.auth.token", "token-hush4\u{1}"),
        ("websocket.headers", "X-Api-Key:header-hush5\u{1}"),
        ("websocket.ping.interval.ms", "${file:secrets.properties:other}"),
    ] {
        let config = config(&feed, "secrets-refused", &[(option, value)]);
        let answer = worker.rest().put_json(&format!("/connectors/{CONNECTOR}/config"), &config);
        assert_eq!(answer.status, 400, "{option}: {}", answer.text);
        assert!(answer.text.contains(option), "{option}: {}", answer.text);
        assert_silent(&format!("the answer about {option}"), &answer.text);
        let answer = worker.rest().put_json(&format!("/connector-plugins/{class}/config/validate"), &config);
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
    assert_files_are_silent(&worker);
}

#[test]
fn restart_takes_the_present_secret_from_the_file() {
    let kafka = Kafka::shared();
    let feed = serve(Script::every(Play::accept()));
    let worker = builder(kafka).connector(CONNECTOR, config(&feed, "secrets-renewed", &[])).start();
    let other = |stats: &Stats| {
        stats.requests().last().and_then(|request| request.header("X-Other").map(str::to_owned)).unwrap_or_default()
    };
    wait_feed(&feed, |stats| other(stats) == "file-hush7");

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
    let raw = format!("ws://user-hush1:pass-hush2@{}/stream?apikey=query-hush3", feed.addr());
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
