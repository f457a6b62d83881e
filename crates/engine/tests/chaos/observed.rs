//! Somebody who watches a session sees all that happens, in order.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use connect_websocket_engine::observer::{Observer, Sight};
use connect_websocket_engine::task::SourceTask;
use connect_websocket_testkit::{Play, Script, Server, Step};
use tokio::runtime::Handle;

use crate::harness::{DEADLINE, config};

/// Notes each sight in a few words.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Notes {
    fn saw(&self, sight: Sight<'_>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let note = match sight {
            Sight::Trying { whose, .. } => format!("trying {whose}"),
            Sight::Reached(_) => "reached".to_owned(),
            Sight::Handshake { status, .. } => format!("handshake {status}"),
            Sight::StepBegan { step } => format!("{step} begins"),
            Sight::StepDone { step } => format!("{step} done"),
            Sight::Sent { step, message } => format!("{step} sent {}", text(message.bytes())),
            Sight::Received(message) => format!("received {}", text(message.bytes())),
            Sight::Heard { step, is_record } => format!("{step} heard, record {is_record}"),
            Sight::Ping => "ping".to_owned(),
            Sight::Close { code, .. } => format!("close {code:?}"),
            Sight::Ended { cause, planned, .. } => format!("ended {cause}, planned {planned}"),
            Sight::Part(message) => format!("part {}", text(message.bytes())),
            Sight::Record { text, is_kept } => format!("record {}, kept {is_kept}", text.unwrap_or("binary")),
            Sight::Read(_) => return,
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(note);
    }
}

/// Watches a session until somebody has noted this.
async fn watch(server: &Server, options: &[(&str, &str)], last: &str) -> Vec<String> {
    let notes = Arc::new(Notes::default());
    let mut task = SourceTask::start_watched(config(server.url(), options), notes.clone(), &Handle::current()).unwrap();
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !notes.all().iter().any(|note| note == last) {
        assert!(tokio::time::Instant::now() < deadline, "no {last} in {:?}", notes.all());
        let _ = task.poll(Duration::from_millis(20)).await;
    }
    let all = notes.all();
    let end = all.iter().position(|note| note == last).unwrap();
    all[..=end].to_vec()
}

#[tokio::test]
async fn a_session_is_seen_from_its_address_to_its_close() {
    let steps = Play::accept().expect_text("login").send_text(r#"{"event":"login"}"#);
    let mut play = steps.send_text(r#"{"a":1}"#);
    play.steps.push(Step::Ping { count: 1, payload: String::new(), every_ms: 0 });
    let server = Server::start(Script::plays([play.close(1001)])).unwrap();
    let options = [
        ("websocket.session.steps", "connect,login"),
        ("websocket.session.login.send", "login please"),
        ("websocket.session.login.expect", "/event == 'login'"),
    ];
    let seen = watch(&server, &options, "ended server_close, planned false").await;
    assert_eq!(
        seen,
        [
            "connect begins",
            "trying 127.0.0.1",
            "reached",
            "handshake 101",
            "connect done",
            "login begins",
            "login sent login please",
            "received {\"event\":\"login\"}",
            "part {\"event\":\"login\"}",
            "login heard, record false",
            "login done",
            "received {\"a\":1}",
            "part {\"a\":1}",
            "record {\"a\":1}, kept true",
            "ping",
            "close Some(1001)",
            "ended server_close, planned false",
        ]
    );
}

#[tokio::test]
async fn what_becomes_of_a_message_is_seen_part_by_part_and_record_by_record() {
    let message = r#"[{"d":[1,2]},{"ack":true},{"e":3}]"#;
    let server = Server::start(Script::plays([Play::accept().send_text(message).close(1001)])).unwrap();
    let options = [
        ("websocket.frame.split", "json.array"),
        ("websocket.session.steps", "connect,ack"),
        ("websocket.session.ack.on", "/ack exists"),
        ("websocket.record.pointer", "/d/*"),
        ("websocket.record.filter", "index == 0"),
    ];
    let seen = watch(&server, &options, "close Some(1001)").await;
    let from = seen.iter().position(|note| note.starts_with("part")).unwrap();
    assert_eq!(
        seen[from..],
        [
            r#"part {"d":[1,2]}"#,
            "record 1, kept true",
            "record 2, kept false",
            r#"part {"ack":true}"#,
            "ack heard, record false",
            "ack done",
            r#"part {"e":3}"#,
            "close Some(1001)",
        ]
    );
}

#[tokio::test]
async fn a_refusal_is_seen_with_its_status_and_a_planned_end_as_planned() {
    let server = Server::start(Script::plays([Play::reject(403)])).unwrap();
    let seen = watch(&server, &[], "ended connect_failed, planned false").await;
    assert_eq!(
        seen,
        ["connect begins", "trying 127.0.0.1", "reached", "handshake 403", "ended connect_failed, planned false"]
    );

    let server = Server::start(Script::plays([Play::accept().send_text("move")])).unwrap();
    let options = [
        ("websocket.session.steps", "connect,bye"),
        ("websocket.session.bye.on", "text == 'move'"),
        ("websocket.session.bye.then", "reconnect"),
    ];
    let seen = watch(&server, &options, "ended step_reconnects, planned true").await;
    assert!(seen.contains(&"bye heard, record false".to_owned()), "{seen:?}");
}
