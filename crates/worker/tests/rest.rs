//! The REST API in process: the real router on a real herder. Kafka and feed are not there, which no answer depends on.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Request};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use connect_websocket::config::WorkerConfig;
use connect_websocket::herder::Herder;
use connect_websocket::logging::Levels;
use connect_websocket::rest::config::Listener;
use connect_websocket::rest::{self, Api, Resources};
use connect_websocket::store::OffsetStore;
use indexmap::IndexMap;
use serde_json::{Value, json};
use tower::Service;

const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";

fn properties(folder: &Path, more: &[(&str, &str)]) -> IndexMap<String, String> {
    let offsets = folder.join("connect.offsets").display().to_string();
    let base = [
        ("bootstrap.servers", "127.0.0.1:1"),
        ("key.converter", STRING),
        ("value.converter", STRING),
        ("offset.storage.file.filename", &offsets),
        ("task.shutdown.graceful.timeout.ms", "500"),
    ];
    base.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

struct Worker {
    api: Api,
    router: Router,
    folder: PathBuf,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
    json: Value,
}

impl Worker {
    fn new(more: &[(&str, &str)]) -> Worker {
        Worker::behind("http", "", more)
    }

    /// Served by a listener of this scheme and host.
    fn behind(scheme: &str, host: &str, more: &[(&str, &str)]) -> Worker {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("connect-websocket-rest-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let config = Arc::new(WorkerConfig::parse(&properties(&folder, more)).unwrap());
        let offsets = Arc::new(OffsetStore::open(&config.offset_storage_file).unwrap());
        let herder = Herder::new(config, offsets);
        herder.set_kafka_cluster_id("cluster".to_owned());
        herder.set_worker_id("127.0.0.1:8083".to_owned());
        herder.set_ready();
        let listener = Listener { https: scheme == "https", host: host.to_owned(), port: 8083 };
        let api = Api { herder, levels: Arc::new(Levels::default()), listener };
        Worker { router: rest::router(api.clone(), Resources::All), api, folder }
    }

    /// Sends a request, with a host if it has none.
    async fn send(&self, mut request: Request<Body>) -> Answer {
        request.headers_mut().entry("host").or_insert(HeaderValue::from_static("127.0.0.1:8083"));
        let response = self.router.clone().call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let json = serde_json::from_str(&text).unwrap_or_default();
        Answer { status: parts.status.as_u16(), headers: parts.headers, text, json }
    }

    async fn raw(&self, method: &str, path: &str, body: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        self.raw(method, path, &body.to_string()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.raw("GET", path, "").await
    }

    async fn create(&self, name: &str, more: &[(&str, &str)], state: &str) -> Answer {
        self.call("POST", "/connectors", json!({"name": name, "config": config(more), "initial_state": state})).await
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn config(more: &[(&str, &str)]) -> Value {
    let mut config =
        json!({"connector.class": "WebSocketSource", "websocket.url": "ws://127.0.0.1:1/", "kafka.topic": "t"});
    for (name, value) in more {
        config[*name] = json!(value);
    }
    config
}

fn value_of<'a>(infos: &'a Value, name: &str) -> &'a Value {
    let configs = infos["configs"].as_array().unwrap();
    let found = configs.iter().find(|info| info["value"]["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {infos}"))
}

#[tokio::test]
async fn what_was_created_over_https_is_found_over_https() {
    let worker = Worker::behind("https", "", &[]);
    let created = worker.create("a", &[], "STOPPED").await;
    assert_eq!(created.headers["location"], "https://127.0.0.1:8083/connectors/a");
}

#[tokio::test]
async fn a_connector_lives_from_create_to_delete() {
    let worker = Worker::new(&[]);
    let created = worker.call(
        "POST",
        "/connectors/",
        json!({"name": " a ", "config": {
        "connector.class": "WebSocketSource", "websocket.url": "ws://127.0.0.1:1/", "kafka.topic": "t",
        "websocket.message.queue.size": 5000, "extra": 1e+21}}),
    );
    let created = created.await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(created.headers["location"], "http://127.0.0.1:8083/connectors/a");
    assert_eq!(created.json["config"]["websocket.message.queue.size"], "5000");
    assert_eq!(created.json["tasks"], json!([{"connector": "a", "task": 0}]));
    assert_eq!(worker.create("a", &[], "RUNNING").await.json["message"], "Connector a already exists");

    let status = worker.get("/connectors/a/status").await;
    assert_eq!(status.json["connector"]["state"], "RUNNING");
    assert_eq!(status.json["tasks"][0]["worker_id"], "127.0.0.1:8083");
    assert_eq!(worker.get("/connectors/a/tasks").await.json[0]["config"]["kafka.topic"], "t");
    assert_eq!(worker.get("/connectors/a/gaps").await.json, json!({"gaps": []}));
    assert_eq!(worker.raw("PUT", "/connectors/a/pause", "").await.status, 202);
    assert_eq!(worker.get("/connectors/a/status").await.json["connector"]["state"], "PAUSED");
    assert_eq!(worker.raw("PUT", "/connectors/a/resume", "").await.status, 202);
    let patched = worker.call("PATCH", "/connectors/a/config", json!({"extra": null, "tasks.max": 1})).await;
    assert_eq!(patched.status, 200);
    assert_eq!(patched.json["config"].get("extra"), None);
    assert_eq!(patched.json["config"]["tasks.max"], "1");

    let restarted = worker.raw("POST", "/connectors/a/restart?includeTasks=true", "").await;
    assert_eq!((restarted.status, &restarted.json["tasks"][0]["state"]), (202, &json!("RESTARTING")));
    assert_eq!(worker.raw("POST", "/connectors/a/tasks/0/restart", "").await.status, 204);
    assert_eq!(worker.raw("POST", "/connectors/a/tasks/9/restart", "").await.json["message"], "Unknown task: a-9");
    assert_eq!(worker.raw("DELETE", "/connectors/a", "").await.status, 204);
    assert_eq!(worker.get("/connectors/a/status").await.json["message"], "No status found for connector a");
    assert_eq!(worker.get("/connectors/a/gaps").await.json["message"], "Connector a not found");
}

#[tokio::test]
async fn names_are_what_the_client_says() {
    let worker = Worker::new(&[]);
    for (name, path) in [("名前", "/connectors/%E5%90%8D%E5%89%8D"), ("a/b", "/connectors/a%2Fb")] {
        let created = worker.create(name, &[], "STOPPED").await;
        assert!(created.headers["location"].to_str().unwrap().ends_with(path));
        assert_eq!(worker.get(path).await.json["name"], name);
        assert_eq!(worker.raw("DELETE", path, "").await.status, 204);
    }
    assert_eq!(worker.get("/connectors/%FF").await.status, 404);
}

#[tokio::test]
async fn the_surface_is_that_of_connect() {
    let worker = Worker::new(&[]);
    assert_eq!(worker.get("/nope").await.json, json!({"error_code": 404, "message": "HTTP 404 Not Found"}));
    assert_eq!(worker.raw("PUT", "/", "{}").await.json["message"], "HTTP 405 Method Not Allowed");
    let head = worker.raw("HEAD", "/connectors", "").await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    let options = worker.raw("OPTIONS", "/connectors", "").await;
    assert_eq!(options.status, 200);
    for method in ["GET", "HEAD", "POST", "OPTIONS"] {
        assert!(options.text.contains(method), "{}", options.text);
    }
    let request = |method: &str, header: &str, value: &str| {
        Request::builder().method(method).uri("/connectors").header(header, value).body(Body::from("{}")).unwrap()
    };
    assert_eq!(
        worker.send(request("GET", "accept", "application/xml")).await.json["message"],
        "HTTP 406 Not Acceptable"
    );
    let refused = worker.send(request("POST", "content-type", "text/plain")).await;
    assert_eq!(refused.json["message"], "HTTP 415 Unsupported Media Type");
}

fn post(types: &[&str], body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method("POST").uri("/connectors");
    types.iter().fold(request, |request, kind| request.header("content-type", *kind)).body(body.into()).unwrap()
}

#[tokio::test]
async fn a_body_has_exactly_one_type() {
    let worker = Worker::new(&[]);
    assert_eq!(worker.send(post(&[], "{}")).await.status, 415);
    assert_eq!(worker.send(post(&["application/json", "text/plain"], "{}")).await.status, 400);
    assert_eq!(worker.send(post(&["application/x-www-form-urlencoded"], "{}")).await.status, 415);
    let level = Request::builder().method("PUT").uri("/admin/loggers/root").body(Body::from(r#"{"level":"OFF"}"#));
    assert_eq!(worker.send(level.unwrap()).await.status, 415);
    assert_eq!(worker.get("/admin/loggers/root").await.json["level"], "INFO");
}

#[tokio::test]
async fn bodies_are_bounded_in_bytes_and_values() {
    let worker = Worker::new(&[]);
    let huge = worker.send(post(&["application/json"], vec![b' '; (1 << 20) + 1])).await;
    assert_eq!((huge.status, huge.text.contains("1048576 bytes")), (413, true), "{}", huge.text);
    let many = format!("[{}0]", r#"{"a":0},"#.repeat(5000));
    let many = worker.raw("POST", "/connectors", &many).await;
    assert_eq!((many.status, many.text.contains("8192 values")), (413, true), "{}", many.text);
    let mut options = config(&[]);
    for option in 0..1000 {
        options[format!("producer.override.x{option}")] = json!("");
    }
    let refused = worker.call("POST", "/connectors", json!({"name": "a", "config": options})).await;
    assert_eq!((refused.status, refused.text.contains("limit of 1000")), (400, true), "{}", refused.text);
    let long = worker.create(&"n".repeat(1025), &[], "STOPPED").await;
    assert_eq!((long.status, long.text.contains("limit of 1024 bytes")), (400, true), "{}", long.text);
}

#[tokio::test]
async fn a_foreign_page_can_neither_change_anything_nor_give_the_worker_its_name() {
    let worker = Worker::behind("http", "127.0.0.1", &[("access.control.allow.origin", "https://ui.example")]);
    worker.create("a", &[], "RUNNING").await;
    let pause = async |host: &str, origin: &str| {
        let request = Request::builder().method("PUT").uri("/connectors/a/pause").header("host", host);
        worker.send(request.header("origin", origin).body(Body::empty()).unwrap()).await.status
    };
    assert_eq!(pause("localhost:8083", "https://evil.example").await, 403);
    assert_eq!(pause("evil.example:8083", "http://evil.example:8083").await, 403);
    assert_eq!(worker.get("/connectors/a/status").await.json["connector"]["state"], "RUNNING");
    assert_eq!(pause("localhost:8083", "https://ui.example").await, 202);
    assert_eq!(pause("localhost:8083", "http://localhost:8083").await, 202);
    let asked = Request::builder().uri("/connectors").header("host", "evil.example").body(Body::empty());
    let refused = worker.send(asked.unwrap()).await;
    assert_eq!((refused.status, refused.text.contains("rest.allowed.hosts")), (403, true), "{}", refused.text);
    let worker = Worker::behind("http", "127.0.0.1", &[("rest.allowed.hosts", "connect.example")]);
    let asked = Request::builder().uri("/connectors").header("host", "connect.example:443").body(Body::empty());
    assert_eq!(worker.send(asked.unwrap()).await.status, 200);
}

#[tokio::test]
async fn listeners_of_admin_alone_know_no_other_origin() {
    let mut worker = Worker::new(&[("access.control.allow.origin", "https://ui.example")]);
    worker.router = rest::router(worker.api.clone(), Resources::AdminOnly);
    let request = |method: &str| {
        let request =
            Request::builder().method(method).uri("/admin/loggers/root").header("origin", "https://ui.example");
        let request = request.header("access-control-request-method", "PUT");
        request.header("content-type", "application/json").body(Body::from(r#"{"level":"INFO"}"#)).unwrap()
    };
    for (method, status) in [("GET", 200), ("OPTIONS", 200), ("PUT", 403)] {
        let answer = worker.send(request(method)).await;
        assert_eq!(answer.status, status, "{method}");
        assert_eq!(answer.headers.get("access-control-allow-origin"), None, "{method}");
    }
}

/// The status of a request with these credentials, or without any.
async fn status_for(worker: &Worker, path: &str, credentials: Option<&str>) -> u16 {
    let mut request = Request::builder().uri(path);
    if let Some(credentials) = credentials {
        request = request.header("authorization", format!("Basic {}", BASE64_STANDARD.encode(credentials)));
    }
    worker.send(request.body(Body::empty()).unwrap()).await.status
}

#[tokio::test]
async fn with_users_everything_but_health_wants_credentials() {
    let files = Worker::new(&[]).folder.with_extension("users");
    fs::create_dir_all(&files).unwrap();
    let path = |name: &str| files.join(name).display().to_string();
    let hash = bcrypt::hash_with_salt("hunter2", 4, *b"0123456789abcdef").unwrap();
    fs::write(path("users"), format!("# ours\nann:{hash}\n")).unwrap();
    fs::write(path("credentials"), "ann=hunter2\n").unwrap();
    let module = "org.apache.kafka.connect.rest.basic.auth.extension.PropertyFileLoginModule";
    let jaas = format!("KafkaConnect {{\n  {module} required\n  file=\"{}\";\n}};\n", path("credentials"));
    fs::write(path("jaas.conf"), jaas).unwrap();
    let extension = "org.apache.kafka.connect.rest.basic.auth.extension.BasicAuthSecurityRestExtension";
    for options in [
        vec![("rest.basic.auth.users.file", path("users"))],
        vec![("rest.extension.classes", extension.to_owned()), ("rest.basic.auth.jaas.file", path("jaas.conf"))],
    ] {
        let options: Vec<(&str, &str)> = options.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let worker = Worker::new(&options);
        for path in ["/", "/connectors", "/metrics", "/admin/loggers", "/nope"] {
            assert_eq!(status_for(&worker, path, None).await, 401, "{path}");
        }
        assert_eq!(status_for(&worker, "/connectors", Some("ann:hunter3")).await, 401);
        assert_eq!(status_for(&worker, "/connectors", Some("ann:hunter2")).await, 200);
        assert_eq!(status_for(&worker, "/health", None).await, 200);
        let refused = worker.get("/connectors").await;
        assert!(refused.headers["www-authenticate"].to_str().unwrap().starts_with("Basic "));
        assert_eq!(refused.json["message"], "User cannot access the resource.");
    }
    fs::remove_dir_all(&files).unwrap();
}

#[test]
fn a_worker_that_would_not_authenticate_does_not_start() {
    let folder = Worker::new(&[]);
    let file = |name: &str, text: &str| {
        let path = folder.folder.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let extension = "org.apache.kafka.connect.rest.basic.auth.extension.BasicAuthSecurityRestExtension";
    let hash = bcrypt::hash_with_salt("x", 4, *b"0123456789abcdef").unwrap().to_string();
    for (option, value, why) in [
        ("rest.extension.classes", "com.example.Audit", "com.example.Audit"),
        ("rest.extension.classes", extension, "there are no users"),
        ("rest.basic.auth.user.file", "/x", "does not have this option"),
        ("rest.basic.auth.users.file", "/dev/zero", "not a regular file"),
        ("rest.basic.auth.users.file", &file("empty", "# nobody\n"), "no user"),
        ("rest.basic.auth.users.file", &file("plain", "ann:hunter2\n"), "line 1 has no bcrypt hash"),
        (
            "rest.basic.auth.users.file",
            &file("dear", &format!("\nann:{}\n", hash.replace("$04$", "$13$"))),
            "line 2 has a hash",
        ),
        ("rest.basic.auth.jaas.file", &file("jaas", "KafkaClient { a.B required; };"), "no entry KafkaConnect"),
        ("authentication.method", "BASIC", "does not have this option"),
    ] {
        let errors = WorkerConfig::parse(&properties(&folder.folder, &[(option, value)])).unwrap_err();
        let reported = errors.iter().any(|error| error.message.contains(option) && error.message.contains(why));
        assert!(reported && !format!("{errors:?}").contains("hunter2"), "{option}={value}: {errors:?}");
    }
}

#[tokio::test]
async fn the_version_is_that_of_the_api() {
    let root = Worker::new(&[]).get("/").await.json;
    assert_eq!((&root["version"], &root["worker_version"]), (&json!("4.3.1"), &json!(env!("CARGO_PKG_VERSION"))));
    assert!(root["commit"].as_str().unwrap().len() > 6, "{root}");
}

#[tokio::test]
async fn broken_bodies_are_the_clients_fault() {
    let worker = Worker::new(&[]);
    for body in [
        "",
        "{",
        "null",
        "[]",
        r#"{"name":"x","foo":1}"#,
        r#"{"name":"x","config":{"a":{}}}"#,
        r#"{"name":"x","initial_state":"FOO"}"#,
    ] {
        let answer = worker.raw("POST", "/connectors", body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text);
        let message = answer.json["message"].as_str().unwrap();
        assert!(!message.is_empty() && !message.contains("serde"), "{body}: {message}");
    }
}

#[tokio::test]
async fn headers_and_origins_are_configured() {
    let worker = Worker::new(&[
        ("access.control.allow.origin", "https://ui.example"),
        ("access.control.allow.methods", "GET,PUT"),
        ("response.http.headers.config", "set X-Frame-Options: DENY"),
    ]);
    let request = |method: &str, origin: &str| {
        let request = Request::builder().method(method).uri("/connectors").header("origin", origin);
        request.header("access-control-request-method", "PUT").body(Body::empty()).unwrap()
    };
    let preflight = worker.send(request("OPTIONS", "https://ui.example")).await;
    assert_eq!(preflight.headers["access-control-allow-methods"], "GET,PUT");
    assert_eq!(preflight.headers["access-control-allow-origin"], "https://ui.example");
    let foreign = worker.send(request("GET", "https://evil.example")).await;
    assert_eq!(foreign.headers.get("access-control-allow-origin"), None);
    assert_eq!(foreign.headers["x-frame-options"], "DENY");
}

#[tokio::test]
async fn validation_tells_every_error_and_shows_no_secret() {
    let worker = Worker::new(&[]);
    let path = "/connector-plugins/WebSocketSource/config/validate";
    let sent = json!({"connector.class": "WebSocketSource", "websocket.url": "http://u:hunter2@x?k=hunter2",
        "websocket.auth.token": "hunter2", "websocket.message.queue.size": "abc", "tasks.max": "0",
        "producer.override.sasl.jaas.config": "hunter2", "name": null});
    let answer = worker.call("PUT", path, sent).await;
    assert_eq!(answer.status, 200);
    assert!(!answer.text.contains("hunter2"), "{}", answer.text);
    let infos = &answer.json;
    assert_eq!(
        value_of(infos, "tasks.max")["value"]["errors"][0],
        "Invalid value 0 for configuration tasks.max: Value must be at least 1"
    );
    assert_eq!(value_of(infos, "websocket.message.queue.size")["value"]["value"], Value::Null);
    assert_eq!(value_of(infos, "websocket.auth.token")["value"]["value"], "[hidden]");
    assert_eq!(
        value_of(infos, "name")["value"]["errors"],
        json!(["Null value can not be supplied as the configuration value."])
    );
    assert_eq!(value_of(infos, "value.converter")["value"]["value"], STRING);
    assert_eq!(value_of(infos, "tasks.max")["definition"]["order_in_group"], 4);
    let shown: usize =
        infos["configs"].as_array().unwrap().iter().map(|info| info["value"]["errors"].as_array().unwrap().len()).sum();
    assert!(shown >= 5 && infos["error_count"].as_u64().unwrap() >= 5, "{infos}");

    let mismatch = worker.call("PUT", path, json!({"connector.class": "no.such.Class"})).await;
    assert_eq!(
        mismatch.json["message"],
        "Included connector type no.such.Class does not match request type WebSocketSource"
    );
    let no_class = worker.call("PUT", path, json!({})).await;
    assert_eq!(
        (no_class.status, &no_class.json["message"]),
        (400, &json!("Connector config contains no connector type"))
    );
}

#[tokio::test]
async fn converters_and_overrides_are_checked_with_a_remedy() {
    let worker = Worker::new(&[("connector.client.config.override.policy", "None")]);
    for (option, value, remedy) in [
        ("value.converter", "io.confluent.connect.avro.AvroConverter", "StringConverter"),
        ("value.converter", "org.apache.kafka.connect.converters.DoubleConverter", "websocket.record.value=bytes"),
        ("transforms", "route", "remove transforms"),
        ("exactly.once.support", "required", "requested"),
        ("topic.creation.default.partitions", "many", "topic.creation.default.replication.factor"),
        ("producer.override.linger.ms", "5", "does not allow 'linger.ms'"),
    ] {
        let refused = worker.create("x", &[(option, value)], "STOPPED").await;
        assert_eq!(refused.status, 400, "{option}");
        let message = refused.json["message"].as_str().unwrap();
        assert!(message.contains(remedy) && message.contains("config/validate`"), "{option}: {message}");
    }
    let bytes = ("value.converter", "org.apache.kafka.connect.converters.ByteArrayConverter");
    let refused = worker.create("x", &[bytes, ("websocket.record.value", "string")], "STOPPED").await;
    assert!(refused.status == 400 && refused.text.contains("websocket.record.value=bytes"), "{}", refused.text);
    for (name, more) in [("x", ("websocket.frame.binary", "bytes")), ("y", ("websocket.record.value", "bytes"))] {
        let created = worker.create(name, &[bytes, more], "STOPPED").await;
        assert_eq!(created.status, 201, "{}", created.text);
    }
}

#[tokio::test]
async fn references_are_resolved_checked_and_never_shown_resolved() {
    let folder = Worker::new(&[]);
    let secrets = folder.folder.join("secrets.properties");
    fs::write(&secrets, "url=ftp://hunter2\ntoken=hunter2\n").unwrap();
    let worker = Worker::new(&[
        ("config.providers", "file"),
        ("config.providers.file.class", "org.apache.kafka.common.config.provider.FileConfigProvider"),
    ]);
    let reference = |key: &str| format!("${{file:{}:{key}}}", secrets.display());
    let (url, token) = (reference("url"), reference("token"));
    let refused = worker.create("x", &[("websocket.url", &url)], "STOPPED").await;
    assert_eq!(refused.status, 400);
    assert!(!refused.text.contains("hunter2"), "{}", refused.text);
    assert!(refused.text.contains("the value resolved from the config provider reference failed validation"));
    let infos = worker
        .call("PUT", "/connector-plugins/WebSocketSource/config/validate", config(&[("websocket.url", &url)]))
        .await;
    assert_eq!(value_of(&infos.json, "websocket.url")["value"]["value"], url);
    assert_eq!(worker.create("x", &[("websocket.auth.token", &token)], "STOPPED").await.status, 201);
    assert_eq!(worker.get("/connectors/x/config").await.json["websocket.auth.token"], token);
    let missing = worker.create("y", &[("websocket.auth.token", "${file:/no/such/file:k}")], "STOPPED").await;
    assert!(missing.status == 400 && missing.text.contains("/no/such/file"), "{}", missing.text);
}

#[tokio::test]
async fn a_deletion_removes_the_hand_over_file_though_a_secret_is_gone() {
    let worker = Worker::new(&[
        ("config.providers", "file"),
        ("config.providers.file.class", "org.apache.kafka.common.config.provider.FileConfigProvider"),
    ]);
    let (secrets, left) = (worker.folder.join("secrets.properties"), worker.folder.join("left"));
    fs::write(&secrets, "token=hunter2\n").unwrap();
    fs::DirBuilder::new().mode(0o700).create(&left).unwrap();
    let (own, other) = (left.join("x-0.handover"), left.join("y-0.handover"));
    for file in [&own, &other] {
        fs::write(file, "records").unwrap();
    }
    let token = format!("${{file:{}:token}}", secrets.display());
    let options = [("websocket.auth.token", token.as_str()), ("websocket.handover.dir", left.to_str().unwrap())];
    assert_eq!(worker.create("x", &options, "STOPPED").await.status, 201);
    fs::remove_file(&secrets).unwrap();
    assert_eq!(worker.raw("DELETE", "/connectors/x", "").await.status, 204);
    assert!(!own.exists() && other.exists());
}

#[tokio::test]
async fn hidden_passwords_can_be_sent_back() {
    let worker = Worker::new(&[("rest.config.passwords.hidden", "true")]);
    let created = worker
        .create("a", &[("websocket.auth.token", "hunter2"), ("websocket.url", "ws://h/?k=hunter2")], "STOPPED")
        .await;
    assert!(!created.text.contains("hunter2"), "{}", created.text);
    let mut shown = worker.get("/connectors/a/config").await.json;
    assert_eq!(shown["websocket.auth.token"], "[hidden]");
    shown["kafka.topic"] = json!("u");
    let changed = worker.call("PUT", "/connectors/a/config", shown.clone()).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let new = worker.call("PUT", "/connectors/b/config", {
        shown["name"] = json!("b");
        shown
    });
    let new = new.await;
    assert!(new.status == 400 && new.text.contains("the mark of a hidden value"), "{}", new.text);
}

#[tokio::test]
async fn hidden_passwords_go_to_no_new_place_and_come_back_in_no_answer() {
    let worker = Worker::new(&[("rest.config.passwords.hidden", "true")]);
    let jaas = "module required password=\"hunter2\";";
    let secrets = [("websocket.auth.token", "hunter2"), ("producer.override.sasl.jaas.config", jaas)];
    assert_eq!(worker.create("a", &secrets, "STOPPED").await.status, 201);
    let shown = worker.get("/connectors/a/config").await.json;
    for (option, value) in [("websocket.url", "ws://127.0.0.1:2/"), ("websocket.proxy.url", "http://127.0.0.1:3")] {
        let mut moved = shown.clone();
        moved[option] = json!(value);
        let put = worker.call("PUT", "/connectors/a/config", moved.clone()).await;
        assert!(put.status == 400 && put.text.contains(&format!("{option} changes")), "{}", put.text);
        let patched = worker.call("PATCH", "/connectors/a/config", json!({ option: value })).await;
        assert!(patched.status == 400 && patched.text.contains(&format!("{option} changes")), "{}", patched.text);
    }
    assert_eq!(worker.call("PATCH", "/connectors/a/config", json!({"kafka.topic": "u"})).await.status, 200);

    let mut wrong = shown.clone();
    wrong["producer.override.sasl.mechanism"] = json!("SCRAM-SHA-256");
    wrong["producer.override.security.protocol"] = json!("SASL_PLAINTEXT");
    wrong["websocket.proxy.username"] = json!("x");
    let validated = worker.call("PUT", "/connector-plugins/WebSocketSource/config/validate", wrong).await;
    assert_eq!(validated.status, 200, "{}", validated.text);
    assert!(!validated.text.contains("hunter2") && !validated.text.contains("module"), "{}", validated.text);
    assert_eq!(value_of(&validated.json, "websocket.auth.token")["value"]["value"], "[hidden]");

    let mut anew = shown;
    anew["websocket.url"] = json!("ws://127.0.0.1:2/");
    anew["websocket.auth.token"] = json!("another");
    anew["producer.override.sasl.jaas.config"] = json!(jaas);
    let moved = worker.call("PUT", "/connectors/a/config", anew).await;
    assert_eq!(moved.status, 200, "{}", moved.text);
}

#[tokio::test]
async fn offsets_are_altered_and_reset_while_stopped() {
    let worker = Worker::new(&[]);
    worker.create("a", &[], "RUNNING").await;
    let change =
        json!({"offsets": [{"partition": {"websocket_url": "ws://127.0.0.1:1/"}, "offset": {"sequence": 42}}]});
    let refused = worker.call("PATCH", "/connectors/a/offsets", change.clone()).await;
    assert!(refused.text.contains("Connectors must be in the STOPPED state"), "{}", refused.text);
    assert_eq!(worker.raw("PUT", "/connectors/a/stop", "").await.status, 204);
    assert_eq!(worker.get("/connectors/a/tasks").await.json, json!([]));
    let altered = worker.call("PATCH", "/connectors/a/offsets", change.clone()).await;
    assert_eq!(altered.json["message"], "The offsets for this connector have been altered successfully");
    assert_eq!(worker.get("/connectors/a/offsets").await.json, change);
    let stored = OffsetStore::open(worker.folder.join("connect.offsets")).unwrap();
    assert_eq!(stored.connector_offsets("a").len(), 1);
    for bad in [
        json!([]),
        json!({"offsets": {}}),
        json!({"offsets": [{"key": 1}]}),
        json!({"offsets": [{"partition": {"x": "y"}}]}),
    ] {
        assert_eq!(worker.call("PATCH", "/connectors/a/offsets", bad.clone()).await.status, 400, "{bad}");
    }
    assert_eq!(worker.raw("DELETE", "/connectors/a/offsets", "").await.status, 200);
    assert_eq!(worker.get("/connectors/a/offsets").await.json, json!({"offsets": []}));
}

#[tokio::test]
async fn log_levels_are_read_and_set() {
    let worker = Worker::new(&[]);
    assert_eq!(worker.get("/admin/loggers/root").await.json, json!({"level": "INFO", "last_modified": null}));
    let set = worker.call("PUT", "/admin/loggers/io.conduktor", json!({"level": "debug"})).await;
    assert_eq!(set.json, json!(["io.conduktor", "io.conduktor.connect.websocket"]));
    assert_eq!(worker.call("PUT", "/admin/loggers/root?scope=cluster", json!({"level": "WARN"})).await.status, 204);
    assert_eq!(worker.call("PUT", "/admin/loggers/root", json!({})).await.status, 400);
    assert_eq!(worker.call("PUT", "/admin/loggers/root", json!({"level": "LOUD"})).await.status, 404);
    assert_eq!(worker.get("/admin/loggers/none").await.json["message"], "Logger none not found.");
}

#[tokio::test]
async fn a_task_that_waits_for_kafka_to_create_its_topic_stops_at_once() {
    // It never answers, and a stop may take longer than the test waits.
    let kafka = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bootstrap = kafka.local_addr().unwrap().to_string();
    let worker = Worker::new(&[("bootstrap.servers", &bootstrap), ("task.shutdown.graceful.timeout.ms", "240000")]);
    let creation = [("topic.creation.default.partitions", "1"), ("topic.creation.default.replication.factor", "1")];
    assert_eq!(worker.create("a", &creation, "RUNNING").await.status, 201);
    let _asked = kafka.accept().await.unwrap();
    let stop = worker.raw("PUT", "/connectors/a/stop", "");
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), stop).await.unwrap().status, 204);
    assert_eq!(worker.get("/connectors/a/status").await.json["tasks"], json!([]));
}
