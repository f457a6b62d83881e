//! The packaged plugin: what Kafka Connect hides of it (`e2e/kafka/PluginCheck.java`), and what it shows.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use connect_websocket_e2e::{
    Connect, Consumer, Kafka, binary, java_source_with, plugin_dir, source_config, wait_until,
};
use connect_websocket_testkit::{Messages, Play, Script, Server, Step};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(60);

fn serve(play: Play) -> Server {
    Server::start(Script::every(play)).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"))
}

fn numbered(rate: f64) -> Server {
    serve(Play::accept().send(Messages::forever().rate(rate)))
}

/// The worker that tests share which need no settings of their own.
fn connect() -> &'static Connect {
    static SHARED: OnceLock<Connect> = OnceLock::new();
    SHARED.get_or_init(|| Connect::builder(&Kafka::shared().bootstrap()).start())
}

fn jar() -> PathBuf {
    let entries = fs::read_dir(plugin_dir()).unwrap_or_else(|e| panic!("{e}"));
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .next()
        .unwrap_or_else(|| panic!("the plugin's directory is empty"))
}

/// Runs one check in a JVM that looks closely at every JNI call.
fn check(name: &str, jvm: &[&str]) {
    let feed = numbered(1_000.0);
    let tmp = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let tmpdir = format!("-Djava.io.tmpdir={}", tmp.path().display());
    let jvm = [&["-Xcheck:jni", "-Xmx64m", tmpdir.as_str()], jvm].concat();

    let (ended_well, output) =
        java_source_with(&jvm, "PluginCheck.java", &[name, &jar().display().to_string(), feed.url()]);

    assert!(ended_well && output.contains(&format!("ok: {name}")), "{output}");
    for complaint in ["WARNING in native method", "FATAL ERROR in native method", "WARNING: JNI"] {
        assert!(!output.contains(complaint), "{output}");
    }
}

#[test]
fn looking_at_the_plugin_loads_nothing_native() {
    check("scanning", &[]);
}

#[test]
fn unsupported_platform_is_one_sentence_at_validation() {
    check("unsupported-platform", &["-Dos.arch=sparc"]);
}

#[test]
fn two_class_loaders_run_side_by_side() {
    check("two-loaders", &[]);
}

#[test]
fn late_calls_find_a_closed_task() {
    check("late-calls", &[]);
}

#[test]
fn two_hundred_tasks_leave_no_thread_file_or_memory() {
    check("leaks", &[]);
}

#[test]
fn mbeans_have_every_attribute_that_dashboards_know() {
    check("mbeans", &[]);
}

#[test]
fn mbeans_of_a_task_stay_when_its_predecessor_stops_late() {
    check("mbeans-change-hands", &[]);
}

#[test]
fn records_are_committed_up_to_the_first_that_is_open() {
    check("acknowledgements", &[]);
}

#[test]
fn plugin_is_listed_with_its_options_and_version() {
    let plugins = connect().rest().get("/connector-plugins").json();
    assert_eq!(
        plugins[0],
        json!({
            "class": "io.conduktor.connect.websocket.WebSocketSourceConnector",
            "type": "source",
            "version": env!("CARGO_PKG_VERSION"),
        })
    );
    let options = connect().rest().get("/connector-plugins/WebSocketSourceConnector/config").json();
    let option = |name: &str| {
        let found = options.as_array().into_iter().flatten().find(|option| option["name"] == name);
        found.cloned().unwrap_or_else(|| panic!("no option {name} in {options}"))
    };
    let size = option("websocket.message.queue.size");
    assert_eq!(
        (&size["type"], &size["default_value"], &size["group"]),
        (&json!("INT"), &json!("10000"), &json!("Messages"))
    );
    // A profile may give it.
    assert_eq!(option("websocket.url")["required"], false);
    assert_eq!(option("websocket.auth.token")["type"], "PASSWORD");
}

#[test]
fn validation_tells_every_error_at_once_and_no_secret() {
    let config = json!({
        "connector.class": "WebSocketSourceConnector",
        "name": "x",
        "websocket.url": "http://user:hush1@h/?key=hush2",
        "websocket.message.queue.size": "many",
        "websocket.headers": "bad name:hush3",
        "websocket.reconnect.interval.ms": "-1",
    });
    let answer = connect().rest().put_json("/connector-plugins/WebSocketSourceConnector/config/validate", &config);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(!answer.text.contains("hush"), "{}", answer.text);
    let configs = answer.json()["configs"].clone();
    let value = |name: &str| {
        let values = configs.as_array().into_iter().flatten().map(|config| &config["value"]);
        values.clone().find(|value| value["name"] == name).cloned().unwrap_or_else(|| panic!("no {name}"))
    };
    for name in [
        "websocket.url",
        "kafka.topic",
        "websocket.message.queue.size",
        "websocket.headers",
        "websocket.reconnect.interval.ms",
    ] {
        let errors = value(name)["errors"].as_array().map_or(0, Vec::len);
        assert_eq!(errors, 1, "{name}: {}", value(name));
    }
    assert_eq!(
        value("websocket.frame.binary")["recommended_values"],
        json!(["bytes", "base64", "text", "skip"]),
        "{answer:?}"
    );
}

#[test]
fn validation_shows_each_key_of_a_family_with_its_errors_and_without_secrets() {
    let config = json!({
        "connector.class": "WebSocketSourceConnector",
        "name": "x",
        "kafka.topic": "t",
        "websocket.url": "ws://h/",
        "websocket.session.steps": "connect,login",
        "websocket.session.login.send": "{\"key\":\"hush1\",\"time\":{{ts}}}",
        "websocket.session.login.expect": "/event = 'login'",
        "websocket.session.login.expct": "hush2",
        "websocket.session.beat.send": "hush3",
        "websocket.var.ts": "{{now_s()}}",
        "websocket.secret.key": "hush4",
        "websocket.record.header.side": "{{/side}}",
    });
    let answer = connect().rest().put_json("/connector-plugins/WebSocketSourceConnector/config/validate", &config);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(!answer.text.contains("hush"), "{}", answer.text);
    let configs = answer.json()["configs"].clone();
    for (name, value, error) in [
        ("websocket.session.login.send", "[hidden]", ""),
        ("websocket.session.login.expect", "/event = 'login'", "column 8: expected =="),
        ("websocket.session.login.expct", "[hidden]", "is not an option"),
        ("websocket.session.beat.send", "[hidden]", "beat is not in websocket.session.steps"),
        ("websocket.var.ts", "{{now_s()}}", ""),
        ("websocket.secret.key", "[hidden]", ""),
        ("websocket.record.header.side", "{{/side}}", ""),
    ] {
        let values = configs.as_array().into_iter().flatten().map(|config| &config["value"]);
        let told: Vec<_> = values.filter(|value| value["name"] == name).collect();
        assert_eq!(told.len(), 1, "{name}: {}", answer.text);
        assert_eq!(told[0]["value"], value, "{name}");
        let errors: Vec<_> = told[0]["errors"].as_array().into_iter().flatten().filter_map(|e| e.as_str()).collect();
        let right = if error.is_empty() { errors.is_empty() } else { errors.len() == 1 && errors[0].contains(error) };
        assert!(right, "{name}: {errors:?}");
    }
    assert_eq!(answer.json()["error_count"], 3);
}

#[test]
fn binary_messages_go_through_the_byte_array_converter_and_are_warned_about_with_strings() {
    let payload = [0, 1, 0xff, 0x80, 10];
    let feed = serve(Play::accept().step(Step::SendBinary { base64: BASE64.encode(payload) }));
    let mut config = source_config(
        feed.url(),
        "binary",
        &[
            ("value.converter", "org.apache.kafka.connect.converters.ByteArrayConverter"),
            ("websocket.frame.binary", "bytes"),
        ],
    );
    connect().put_connector("binary", &config);
    let records = Consumer::new(&Kafka::shared().bootstrap()).read_until("binary", 1, WITHIN);
    assert_eq!(records[0].value.as_deref(), Some(&payload[..]));
    assert_eq!(connect().rest().delete("/connectors/binary").status, 204);

    config["value.converter"] = "org.apache.kafka.connect.storage.StringConverter".into();
    config["name"] = "binary".into();
    connect().rest().put_json("/connector-plugins/WebSocketSourceConnector/config/validate", &config);
    wait_until("a warning", WITHIN, || {
        connect()
            .log()
            .contains("event=config_warning connector=binary message=\"StringConverter is for text")
            .then_some(())
    });
}

#[test]
fn byte_array_converter_takes_text_if_records_are_bytes() {
    let binary = Step::SendBinary { base64: BASE64.encode(b"binary") };
    let feed = serve(Play::accept().send_text("gr\u{fc}n").step(binary));
    let bytes = [
        ("value.converter", "org.apache.kafka.connect.converters.ByteArrayConverter"),
        ("websocket.record.value", "bytes"),
    ];
    connect().put_connector("all-bytes", &source_config(feed.url(), "all-bytes", &bytes));
    let records = Consumer::new(&Kafka::shared().bootstrap()).read_until("all-bytes", 2, WITHIN);
    assert_eq!([records[0].text(), records[1].text()], ["gr\u{fc}n", "binary"]);
    connect().wait_state("all-bytes", "RUNNING");
    assert_eq!(connect().rest().delete("/connectors/all-bytes").status, 204);
}

#[test]
fn binary_messages_under_the_string_converter_are_warned_about_once() {
    let binary = || Step::SendBinary { base64: BASE64.encode(b"binary") };
    let feed = serve(Play::accept().step(binary()).await_signal().step(binary()).step(binary()).send_text("last"));
    let config = source_config(
        feed.url(),
        "binary-as-string",
        &[("value.converter", "org.apache.kafka.connect.storage.StringConverter")],
    );
    connect().put_connector("binary-as-string", &config);
    let consumer = Consumer::new(&Kafka::shared().bootstrap());
    consumer.wait_count("binary-as-string", 1, WITHIN);
    // Other polls than that of the first.
    feed.signal();
    let records = consumer.read_until("binary-as-string", 4, WITHIN);
    assert!(records[..3].iter().all(|record| record.text().starts_with("[B@")), "{records:?}");
    assert_eq!(records[3].text(), "last");
    assert_eq!(connect().rest().delete("/connectors/binary-as-string").status, 204);
    let log = connect().log();
    let warnings =
        log.lines().filter(|line| line.contains("[binary-as-string|task-0") && line.contains("event=binary_message "));
    assert_eq!(warnings.count(), 1);
}

#[test]
fn transformations_predicates_and_topic_creation_are_connects_own() {
    let feed = serve(Play::accept().send_text("kept").send_text("dropped").send_text("kept too"));
    let config = source_config(
        feed.url(),
        "transformed",
        &[
            ("transforms", "hoist,route"),
            ("transforms.hoist.type", "org.apache.kafka.connect.transforms.HoistField$Value"),
            ("transforms.hoist.field", "text"),
            ("transforms.route.type", "org.apache.kafka.connect.transforms.RegexRouter"),
            ("transforms.route.regex", "trans(.*)"),
            ("transforms.route.replacement", "routed-trans$1"),
            ("transforms.route.predicate", "named"),
            ("predicates", "named"),
            ("predicates.named.type", "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"),
            ("predicates.named.pattern", "trans.*"),
            ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
            ("value.converter.schemas.enable", "false"),
            ("topic.creation.default.partitions", "1"),
            ("topic.creation.default.replication.factor", "1"),
            ("topic.creation.default.retention.ms", "123456789"),
        ],
    );
    connect().put_connector("transformed", &config);
    let records = Consumer::new(&Kafka::shared().bootstrap()).read_until("routed-transformed", 3, WITHIN);
    assert_eq!(records[0].text(), r#"{"text":"kept"}"#);
    assert_eq!(Kafka::shared().topic_setting("routed-transformed", "retention.ms").as_deref(), Some("123456789"));
    assert_eq!(connect().rest().delete("/connectors/transformed").status, 204);
}

#[test]
fn record_that_a_converter_refuses_fails_the_task_or_is_skipped_as_errors_tolerance_says() {
    let feed = serve(Play::accept().send_text("text").step(Step::SendBinary { base64: BASE64.encode(b"bytes") }));
    let strict = [("value.converter", "org.apache.kafka.connect.converters.ByteArrayConverter")];
    connect().rest().put_json("/connectors/strict/config", &source_config(feed.url(), "strict", &strict));
    wait_until("the task to fail", WITHIN, || {
        let status = connect().rest().get("/connectors/strict/status").json();
        let task = status["tasks"][0].clone();
        (task["state"] == "FAILED" && task["trace"].as_str().is_some_and(|t| t.contains("ByteArrayConverter")))
            .then_some(())
    });
    let tolerant = [strict[0], ("errors.tolerance", "all")];
    connect().put_connector("tolerant", &source_config(feed.url(), "tolerant", &tolerant));
    let records = Consumer::new(&Kafka::shared().bootstrap()).read_until("tolerant", 1, WITHIN);
    assert_eq!(records[0].text(), "bytes");
    for name in ["strict", "tolerant"] {
        assert_eq!(connect().rest().delete(&format!("/connectors/{name}")).status, 204);
    }
}

#[test]
fn task_whose_session_cannot_go_on_is_failed_with_the_reason() {
    let feed = serve(Play::accept().close(1000));
    connect().rest().put_json(
        "/connectors/hopeless/config",
        &source_config(feed.url(), "hopeless", &[("websocket.reconnect.enabled", "false")]),
    );
    let trace = wait_until("the task to fail", WITHIN, || {
        let status = connect().rest().get("/connectors/hopeless/status").json();
        (status["tasks"][0]["state"] == "FAILED").then(|| status["tasks"][0]["trace"].to_string())
    });
    assert!(trace.contains("websocket.reconnect.enabled is false"), "{trace}");
    assert!(trace.contains("org.apache.kafka.connect.errors.ConnectException"), "{trace}");
    assert_eq!(connect().rest().delete("/connectors/hopeless").status, 204);
}

#[test]
fn offsets_are_altered_and_reset_over_rest_and_refused_if_no_task_could_continue_from_them() {
    let feed = numbered(100.0);
    connect().put_connector("altered", &source_config(feed.url(), "altered", &[]));
    Consumer::new(&Kafka::shared().bootstrap()).wait_count("altered", 10, WITHIN);
    assert_eq!(connect().rest().put("/connectors/altered/stop").status, 204);
    connect().wait_state("altered", "STOPPED");

    let offsets = |partition: Value, offset: Value| json!({"offsets": [{"partition": partition, "offset": offset}]});
    let url = json!({"websocket_url": feed.url()});
    for (bad, why) in [
        (offsets(json!({"url": feed.url()}), json!({"sequence": 5})), "A source partition of this connector is"),
        (offsets(url.clone(), json!({"sequence": "5"})), "A source offset of this connector is"),
        (offsets(url.clone(), json!({"sequence": -1})), "A source offset of this connector is"),
    ] {
        let answer = connect().rest().patch_json("/connectors/altered/offsets", &bad);
        assert!(answer.status >= 400 && answer.text.contains(why), "{}: {}", answer.status, answer.text);
    }
    let answer = connect().rest().patch_json("/connectors/altered/offsets", &offsets(url, json!({"sequence": 5_000})));
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(connect().rest().put("/connectors/altered/resume").status, 202);
    wait_until("the sequence to go on from there", WITHIN, || {
        let offsets = connect().rest().get("/connectors/altered/offsets").json();
        offsets["offsets"][0]["offset"]["sequence"].as_u64().filter(|&sequence| sequence > 5_000)
    });
    assert_eq!(connect().rest().put("/connectors/altered/stop").status, 204);
    connect().wait_state("altered", "STOPPED");
    assert_eq!(connect().rest().delete("/connectors/altered/offsets").status, 200);
    assert_eq!(connect().rest().delete("/connectors/altered").status, 204);
}

/// Log4j's pattern with the keys that the existing connector puts into the MDC.
const MDC_PATTERN: &str = "\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %p %m (%c) <%X{connector_name}|%X{websocket_url}|%X{kafka_topic}|%X{session_id}>%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
";

#[test]
fn log_lines_have_their_mdc_and_follow_admin_loggers() {
    let feed = serve(Play::accept().send_text("x").await_signal().close(1001));
    let connect = Connect::builder(&Kafka::shared().bootstrap())
        .file("mdc.properties", MDC_PATTERN.as_bytes())
        .jvm_arg("-Dlog4j2.configurationFile=mdc.properties")
        .start();
    connect.put_connector("mdc", &source_config(feed.url(), "mdc", &[("websocket.reconnect.interval.ms", "100")]));
    let line = wait_until("the connection to be opened", WITHIN, || {
        connect.log().lines().find(|line| line.contains("event=websocket_opened")).map(str::to_owned)
    });
    assert!(line.contains("(io.conduktor.connect.websocket.WebSocketSourceTask)"), "{line}");
    assert!(line.contains(&format!("<mdc|{}|mdc|", feed.url())), "{line}");

    let logger = "/admin/loggers/io.conduktor.connect.websocket";
    let opened = || connect.log().matches("event=websocket_opened").count();
    let reconnect = || {
        let accepted = feed.stats().accepted;
        feed.signal();
        feed.wait_until(|stats| stats.accepted > accepted, WITHIN).unwrap_or_else(|e| panic!("{e}"));
    };
    assert_eq!(connect.rest().put_json(logger, &json!({"level": "ERROR"})).status, 200);
    reconnect();
    reconnect();
    assert_eq!(opened(), 1, "{}", connect.log());
    assert_eq!(connect.rest().put_json(logger, &json!({"level": "INFO"})).status, 200);
    // The native half learns of it with the next poll.
    wait_until("lines to be written again", WITHIN, || {
        reconnect();
        (opened() > 1).then_some(())
    });
}

/// Loads the library of a debug build, which panics when asked to, in the place of the packaged one.
#[test]
fn panic_fails_its_task_with_the_message_and_no_other() {
    let feed = numbered(100.0);
    let library = binary("libconnect_websocket_plugin.so");
    let mut connect = Connect::builder(&Kafka::shared().bootstrap())
        .jvm_arg(&format!("-Dconnect.websocket.native.path={}", library.display()))
        .env("CONNECT_WEBSOCKET_TEST_PANIC", "panics")
        .start();
    connect.put_connector("lives", &source_config(feed.url(), "lives", &[]));
    connect.rest().put_json("/connectors/panics/config", &source_config(feed.url(), "panics", &[]));
    let trace = wait_until("the task to fail", WITHIN, || {
        let status = connect.rest().get("/connectors/panics/status").json();
        (status["tasks"][0]["state"] == "FAILED").then(|| status["tasks"][0]["trace"].to_string())
    });
    assert!(trace.contains("panicked, which is a bug: panics was asked to panic"), "{trace}");
    let consumer = Consumer::new(&Kafka::shared().bootstrap());
    consumer.wait_count("lives", consumer.count("lives") + 50, WITHIN);
    connect.wait_state("lives", "RUNNING");
    assert!(connect.log().contains("event=panic"), "the panic is logged with its place");
    assert_eq!(connect.terminate(), 143);
}

#[test]
fn jvm_ends_well_with_tasks_running() {
    let feed = numbered(2_000.0);
    let mut connect = Connect::builder(&Kafka::shared().bootstrap()).start();
    for name in ["end-a", "end-b", "end-c"] {
        connect.put_connector(name, &source_config(feed.url(), "end", &[]));
    }
    Consumer::new(&Kafka::shared().bootstrap()).wait_count("end", 3_000, WITHIN);
    assert_eq!(connect.terminate(), 143);
    let crashed = fs::read_dir(connect.dir()).unwrap_or_else(|e| panic!("{e}")).filter_map(Result::ok);
    let crashed: Vec<_> =
        crashed.map(|e| e.file_name()).filter(|n| n.to_string_lossy().starts_with("hs_err")).collect();
    assert!(crashed.is_empty(), "{crashed:?}");
    feed.wait_until(|stats| stats.open == 0, WITHIN).unwrap_or_else(|e| panic!("{e}"));
}

/// A copy of the JAR that says in both halves that it is of another version.
fn of_version(version: &str, directory: &Path) {
    let script = r#"
import sys, zipfile
source, target, old, new = sys.argv[1:]
name = "kafka-connect-websocket"
with zipfile.ZipFile(source) as jar, zipfile.ZipFile(target, "w") as copy:
    for entry in jar.infolist():
        content = jar.read(entry)
        if entry.filename.endswith(".so"):
            content = content.replace(f"{name} {old}".encode(), f"{name} {new}".encode())
        elif entry.filename == f"{name}.properties":
            content = content.replace(old.encode(), new.encode())
        copy.writestr(entry, content)
"#;
    fs::create_dir_all(directory).unwrap_or_else(|e| panic!("{e}"));
    let target = directory.join(format!("kafka-connect-websocket-{version}.jar"));
    let status = std::process::Command::new("python3")
        .args(["-c", script])
        .args([jar(), target])
        .args([env!("CARGO_PKG_VERSION"), version])
        .status()
        .unwrap_or_else(|e| panic!("python3 cannot be started: {e}"));
    assert!(status.success());
}

#[test]
fn two_versions_run_side_by_side_in_one_worker() {
    let plugins = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let other = "9.9.9";
    of_version(env!("CARGO_PKG_VERSION"), &plugins.path().join("ours"));
    of_version(other, &plugins.path().join("other"));
    let connect = Connect::builder(&Kafka::shared().bootstrap()).plugin_path(plugins.path()).start();
    let feed = numbered(100.0);
    for version in [env!("CARGO_PKG_VERSION"), other] {
        let topic = format!("of-version-{version}");
        let exactly = format!("[{version}]");
        connect.put_connector(&topic, &source_config(feed.url(), &topic, &[("connector.plugin.version", &exactly)]));
        Consumer::new(&Kafka::shared().bootstrap()).wait_count(&topic, 50, WITHIN);
        let status = connect.rest().get(&format!("/connectors/{topic}/status")).json();
        assert_eq!(status["tasks"][0]["version"], version, "{status}");
    }
}

/// The share of a processor that Connect takes in ten seconds.
fn processor_share(connect: &Connect) -> f64 {
    let (cpu, clock) = (connect.process().cpu_seconds(), Instant::now());
    std::thread::sleep(Duration::from_secs(10));
    (connect.process().cpu_seconds() - cpu) / clock.elapsed().as_secs_f64()
}

/// Guards against a poll that does not wait; how little it costs is measured by the benchmark.
#[test]
fn quiet_connector_leaves_the_processor_alone() {
    let feed = numbered(1.0);
    let connect = Connect::builder(&Kafka::shared().bootstrap()).start();
    connect.put_connector("quiet", &source_config(feed.url(), "quiet", &[]));
    Consumer::new(&Kafka::shared().bootstrap()).wait_count("quiet", 3, WITHIN);
    // What the start has set going comes to rest: the JVM compiles.
    processor_share(&connect);
    let share = processor_share(&connect);
    assert!(share < 0.2, "{:.1} % of a processor for a message a second", share * 100.0);
}
