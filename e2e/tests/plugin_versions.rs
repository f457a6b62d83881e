//! The plugin on the oldest and the newest Kafka Connect that it supports, and on newer JVMs than the machine's own.

use std::sync::OnceLock;
use std::time::Duration;

use connect_websocket_e2e::delivery::{
    config, nothing_is_lost_when_the_connector_restarts, nothing_is_lost_when_the_connector_stops_and_resumes, serve,
};
use connect_websocket_e2e::{Connect, ConnectVersion, Consumer, Kafka, plugin_dir};
use connect_websocket_testkit::{Messages, Play};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(60);
const CLASS: &str = "io.conduktor.connect.websocket.WebSocketSourceConnector";

fn connect_3_9() -> &'static Connect {
    static SHARED: OnceLock<Connect> = OnceLock::new();
    SHARED.get_or_init(|| start(ConnectVersion::V3_9))
}

fn start(version: ConnectVersion) -> Connect {
    plugin_dir();
    let connect = Connect::builder(&Kafka::shared().bootstrap()).version(version).start();
    assert_eq!(connect.rest().get("/").json()["version"], version.as_str());
    connect
}

#[test]
fn nothing_is_lost_in_connect_3_9_when_the_connector_restarts() {
    nothing_is_lost_when_the_connector_restarts(connect_3_9());
}

#[test]
fn nothing_is_lost_in_connect_3_9_when_the_connector_stops_and_resumes() {
    nothing_is_lost_when_the_connector_stops_and_resumes(connect_3_9());
}

#[test]
fn connect_3_9_creates_shows_and_validates_a_connector() {
    creates_shows_and_validates_a_connector(connect_3_9(), "core-3-9");
}

#[test]
fn connect_4_3_creates_shows_and_validates_a_connector() {
    creates_shows_and_validates_a_connector(&start(ConnectVersion::V4_3), "core-4-3");
}

/// On a JVM that `scripts/plugin/jdks.sh` has fetched.
fn runs_on_java(version: u32) {
    let program = plugin_dir().join(format!("../../jdk-{version}/bin/java"));
    assert!(
        program.exists(),
        "{} is missing; fetch it with scripts/plugin/jdks.sh (make test does)",
        program.display()
    );
    let connect = Connect::builder(&Kafka::shared().bootstrap()).java(&program).start();
    assert!(
        connect.log().contains(&format!("jvm.spec = Eclipse Adoptium, OpenJDK 64-Bit Server VM, {version}.")),
        "{}",
        connect.log()
    );
    creates_shows_and_validates_a_connector(&connect, &format!("core-java-{version}"));
}

#[test]
fn connect_4_3_runs_it_on_java_21() {
    runs_on_java(21);
}

#[test]
fn connect_4_3_runs_it_on_java_25() {
    runs_on_java(25);
}

fn creates_shows_and_validates_a_connector(connect: &Connect, topic: &str) {
    let rest = connect.rest();
    let feed = serve(Play::accept().send(Messages::count(1_000)));
    let plugins = rest.get("/connector-plugins").json();
    let ours: Vec<&Value> =
        plugins.as_array().into_iter().flatten().filter(|plugin| plugin["class"] == CLASS).collect();
    assert_eq!(ours.len(), 1, "{plugins}");
    assert_eq!(ours[0]["type"], "source");

    let config = config(&feed, topic);
    let created = rest.post_json("/connectors", &json!({"name": topic, "config": config}));
    assert_eq!(created.status, 201, "{}", created.text);
    connect.wait_state(topic, "RUNNING");
    let consumer = Consumer::new(&Kafka::shared().bootstrap());
    consumer.numbers_until(topic, 1_000, WITHIN).assert_complete(0..=999);
    assert_eq!(rest.get(&format!("/connectors/{topic}/topics")).json()[topic]["topics"], json!([topic]));

    let options = rest.get(&format!("/connector-plugins/{CLASS}/config")).json();
    let url = options.as_array().into_iter().flatten().find(|option| option["name"] == "websocket.url");
    assert_eq!(url.map(|url| (&url["type"], &url["required"])), Some((&json!("STRING"), &json!(false))));

    let validate = format!("/connector-plugins/{CLASS}/config/validate");
    let valid = rest.put_json(&validate, &{
        let mut config = config.clone();
        config["name"] = json!(topic);
        config
    });
    assert_eq!(valid.json()["error_count"], 0, "{}", valid.text);
    let faulty = rest.put_json(&validate, &json!({"connector.class": CLASS, "name": "x", "websocket.url": "http://x"}));
    assert_eq!(faulty.status, 200, "{}", faulty.text);
    let faulty = faulty.json();
    let errors = |name: &str| {
        let options = faulty["configs"].as_array().into_iter().flatten();
        options
            .filter(|option| option["value"]["name"] == name)
            .map(|option| option["value"]["errors"].to_string())
            .collect()
    };
    let (of_url, of_topic): (String, String) = (errors("websocket.url"), errors("kafka.topic"));
    assert!(of_url.contains("Invalid value http://x for configuration websocket.url"), "{faulty}");
    assert!(of_topic.contains("Missing required configuration"), "{faulty}");
    assert_eq!(faulty["error_count"], 2, "{faulty}");

    let refused = rest.post_json("/connectors", &json!({"name": "x", "config": {"connector.class": CLASS}}));
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert_eq!(rest.delete(&format!("/connectors/{topic}")).status, 204);
}
