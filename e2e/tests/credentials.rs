//! After each kind of failure no credential is seen: none that was configured, given out by a server, or computed. The failures are in
//! [`connect_websocket_e2e::failures`].

use std::fs;
use std::path::PathBuf;

use connect_websocket_e2e::failures::{Failure, assert_silent};
use connect_websocket_e2e::{Connect, Host, Kafka, Worker, plugin_dir};
use serde_json::json;

/// Plays every failure on a host; `shown` is what it has to show beside log, offsets and answers.
fn every_failure_shows_nothing<H: Host>(host: &mut H, loggers: &[&str], shown: impl Fn(&H) -> Vec<(String, String)>) {
    for logger in loggers {
        let answer = host.rest().put_json(&format!("/admin/loggers/{logger}"), &json!({"level": "TRACE"}));
        assert_eq!(answer.status, 200, "{logger}: {}", answer.text);
    }
    let (failures, lasting) = (Failure::all(), Failure::lasting());
    failures.iter().chain([&lasting]).for_each(|failure| failure.create(host.rest()));
    failures.iter().for_each(|failure| failure.fails(host.rest()));
    let mut texts = shown(host);
    texts.extend(lasting.answers(host.rest()));
    texts.push(("all states".to_owned(), host.rest().get("/connectors?expand=status").text));
    texts.extend(failures.iter().flat_map(|failure| failure.answers(host.rest())));
    host.terminate();
    let offsets: PathBuf = host.offsets_file();
    let offsets = fs::read(&offsets).unwrap_or_else(|e| panic!("{} cannot be read: {e}", offsets.display()));
    texts.push(("the offsets".to_owned(), String::from_utf8_lossy(&offsets).into_owned()));
    texts.push(("the log".to_owned(), host.log()));
    assert!(host.log().contains("event=websocket_failure"), "nothing was logged");
    assert_silent(&texts);
}

#[test]
fn worker_shows_no_credential_after_any_failure() {
    let mut worker = Worker::builder(&Kafka::shared().bootstrap()).start();
    let loggers = ["root", "io.conduktor.connect.websocket", "org.apache.kafka.clients"];
    every_failure_shows_nothing(&mut worker, &loggers, |worker| {
        ["/metrics", "/health"].map(|path| (path.to_owned(), worker.rest().get(path).text)).to_vec()
    });
}

#[test]
fn plugin_shows_no_credential_after_any_failure() {
    plugin_dir();
    let mut connect =
        Connect::builder(&Kafka::shared().bootstrap()).jmx_exporter("rules:\n  - pattern: '.*'\n").start();
    every_failure_shows_nothing(&mut connect, &["io.conduktor.connect.websocket"], |connect| {
        let page = connect_websocket_e2e::Rest::new(&format!("http://{}", connect.exporter())).get("/metrics").text;
        assert!(page.contains("io_conduktor"), "the MBeans are not there: {page}");
        vec![("the MBeans".to_owned(), page)]
    });
}
