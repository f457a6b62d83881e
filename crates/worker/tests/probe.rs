//! `probe`, `record` and `replay`, as a user runs them: the binary, without Kafka, against servers of the test kit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use connect_websocket_engine::config::Config;
use connect_websocket_engine::config_def::Properties;
use connect_websocket_engine::feeds::Profile;
use connect_websocket_testkit::{
    Accept, Close, Deflate, Handshake, Messages, Play, SIMULATORS, Script, Server, Simulation, Simulator, Step,
    TestPki, TlsProfile, secret_forms,
};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_connect-websocket");
const LIMIT: Duration = Duration::from_secs(60);
/// No case needs more; on a busy machine none may get less.
const PATIENCE: &str = "60s";

struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("connect-websocket-probe-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn file(&self, name: &str, content: &str) -> String {
        fs::write(self.0.join(name), content).unwrap();
        self.path(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A command that has ended.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Ran {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The lines of `--json` with this event.
    fn events(&self, event: &str) -> Vec<Value> {
        let lines =
            self.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{line}: {e}")));
        lines.filter(|line| line["event"] == event).collect()
    }

    fn event(&self, event: &str) -> Value {
        self.events(event).into_iter().next().unwrap_or_else(|| panic!("no {event} in {}", self.out))
    }
}

fn run(arguments: &[&str]) -> Ran {
    Ran::of(Command::new(BINARY).args(arguments).output().unwrap())
}

fn serve(steps: Vec<Step>) -> Server {
    Server::start(Script::plays([Play { steps, ..Play::default() }])).unwrap()
}

fn text(text: &str) -> Step {
    Step::SendText { text: text.to_owned(), fragments: 1, ping_between: false }
}

fn trades(count: u64) -> Step {
    Step::Send(Messages::count(count))
}

// --- what is shown ---------------------------------------------------------------------------------------------------

#[test]
fn a_url_is_enough_to_see_address_handshake_samples_and_summary() {
    let server = serve(vec![text(r#"{"symbol":"BTC-USD","price":1.5}"#), text(r#"{"symbol":"ETH-USD","price":2.5}"#)]);
    let ran = run(&["probe", server.url(), "--messages", "2", "--for", PATIENCE]);
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    let address = server.addr();
    for shown in [
        format!("address     {address} of 127.0.0.1: trying"),
        format!("address     {address} connected"),
        "handshake   status 101, subprotocol none, compression none".to_owned(),
        "message 1, text, 32 bytes".to_owned(),
        "\"symbol\": \"BTC-USD\",\n".to_owned(),
        "message 2, text".to_owned(),
        "messages          2 (2 text, 0 binary)".to_owned(),
        "p50 32, p99 32, max 32 bytes".to_owned(),
        "2 messages came".to_owned(),
    ] {
        assert!(ran.out.contains(&shown), "{shown} is not in\n{}", ran.out);
    }
    assert_eq!(ran.err, "");
    let stats = server.wait_until(|stats| stats.open == 0, LIMIT).unwrap();
    assert_eq!(stats.connections[0].close_received.as_ref().and_then(|close| close.code), Some(1000));
}

#[test]
fn what_comes_at_once_with_the_last_message_counts_too_and_is_not_shown() {
    let server = serve(vec![trades(500)]);
    let ran = run(&["probe", server.url(), "--messages", "2", "--json", "--for", PATIENCE]);
    let (summary, result) = (ran.event("summary"), ran.event("result"));
    assert!(summary["messages"].as_u64() >= Some(2), "{summary}");
    assert_eq!(summary["records"], summary["messages"], "{summary}");
    assert_eq!(result["reason"], format!("{} messages came", summary["messages"]));
    assert_eq!(ran.events("sample").len(), 2);
}

#[test]
fn json_is_one_object_a_line_with_the_same_facts() {
    let accept = Accept { deflate: Some(Deflate::default()), ..Accept::default() };
    let steps = vec![
        Step::Ping { count: 2, payload: String::new(), every_ms: 0 },
        text(&format!(r#"{{"a":"{}"}}"#, "x".repeat(1000))),
        Step::SendBinary { base64: "AP8=".to_owned() },
    ];
    let play = Play { handshake: Handshake::Accept(accept), steps, ..Play::default() };
    let server = Server::start(Script::plays([play])).unwrap();
    let ran = run(&["probe", server.url(), "--messages", "2", "--json", "--for", PATIENCE]);
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    let states: Vec<Value> = ran.events("address").iter().map(|line| line["state"].clone()).collect();
    assert_eq!(states, ["trying", "connected"]);
    let handshake = ran.event("handshake");
    assert_eq!((&handshake["status"], &handshake["compression"]), (&101.into(), &true.into()));
    let samples = ran.events("sample");
    assert_eq!((&samples[0]["kind"], &samples[0]["bytes"]), (&"text".into(), &1008.into()));
    assert_eq!((&samples[1]["kind"], &samples[1]["base64"]), (&"binary".into(), &"AP8=".into()));
    let summary = ran.event("summary");
    assert_eq!((&summary["messages"], &summary["server_pings"]), (&2.into(), &2.into()));
    assert_eq!((&summary["size_p50"], &summary["size_max"]), (&2.into(), &1008.into()));
    assert!(summary["compression_saved_percent"].as_f64().unwrap() > 50.0, "{summary}");
    assert_eq!(ran.event("result")["exit_code"], 0);
    assert!(ran.out.lines().all(|line| line.starts_with("{\"seconds\":")), "{}", ran.out);
}

#[test]
fn a_subscription_is_sent_and_its_step_is_shown() {
    let server = serve(vec![Step::ExpectText { contains: "trades".to_owned(), timeout_ms: 60_000 }, text("{\"a\":1}")]);
    let subscribe = r#"{"op":"subscribe","channel":"trades"}"#;
    let ran = run(&["probe", server.url(), "--subscribe", subscribe, "--messages", "1", "--for", PATIENCE]);
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    assert!(
        ran.out.contains(&format!("sent        subscribe, text, {} bytes: {subscribe}", subscribe.len())),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("step        subscribe is done after "), "{}", ran.out);
}

#[test]
fn what_it_learned_can_be_pasted_into_a_connectors_file() {
    let trade = |n: u64| {
        let (symbol, at) = (["BTC-USD", "ETH-USD", "SOL-USD"][n as usize % 3], 1_795_738_518_437 + 250 * n);
        text(&format!(r#"{{"symbol":"{symbol}","price":"{}.5","time":{at},"sequence":{}}}"#, 100 + n % 7, 5_000 + n))
    };
    let server = serve((0..600).map(trade).collect());
    let arguments = ["probe", server.url(), "--messages", "600", "--for", PATIENCE, "--samples", "1"];
    let ran = run(&arguments);
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    // All after the summary is a piece of a properties file, up to the last line.
    let learned = ran.out.split("longest silence").nth(1).unwrap().split_once('\n').unwrap().1;
    let pasted: String =
        learned.lines().filter(|line| *line != "600 messages came").map(|line| format!("{line}\n")).collect();
    assert!(pasted.lines().all(|line| line.is_empty() || line.starts_with(['#', 'w'])), "{pasted}");
    let folder = Folder::new();
    let file = folder.file("pasted.properties", &format!("name=x\nwebsocket.url={}\n{pasted}", server.url()));
    let ran = run(&["probe", &file, "--messages", "600", "--for", PATIENCE, "--samples", "1", "--json"]);
    assert_eq!(ran.code, 0, "{pasted}: {} {}", ran.out, ran.err);
    let sample = ran.event("sample");
    assert_eq!((&sample["key"], &sample["timestamp"]), (&"BTC-USD".into(), &1_795_738_518_437_i64.into()), "{pasted}");
    assert!(ran.events("gap").is_empty(), "{}", ran.out);
    assert!(pasted.contains("websocket.sequence="), "{pasted}");
}

#[test]
fn errors_among_the_messages_are_counted_and_one_is_shown_without_secrets() {
    let error = r#"{"event":"error","code":"60012","msg":"Invalid request: {\"key\":\"swordfish-1\"}"}"#;
    let trade = |n: u64| text(&format!(r#"{{"symbol":"BTC","price":{n}}}"#));
    let server = serve((0..9).map(trade).chain([text(error), text(error)]).collect());
    let set = ["--set", "websocket.secret.key=swordfish-1"];
    let arguments = ["probe", server.url(), "--messages", "11", "--for", PATIENCE, set[0], set[1]];
    let ran = run(&arguments);
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    let row = r#"errors            2 messages look like errors, first: {"event":"error","code":"60012","msg":"Invalid"#;
    assert!(ran.out.contains(row), "{}", ran.out);
    assert!(ran.out.ends_with("\n11 messages came\n") && !ran.out.contains("swordfish"), "{}", ran.out);
    let ran = run(&[&arguments[..], &["--json"]].concat());
    let summary = ran.event("summary");
    assert_eq!(summary["errors"], 2, "{summary}");
    assert!(summary["first_error"].as_str().unwrap().contains("***"), "{summary}");
}

#[test]
fn a_feed_that_accepts_the_connection_and_says_only_errors_is_told() {
    let server = serve(vec![text(r#"{"type":"error","message":"no such channel"}"#), Step::Mute { ms: None }]);
    let ran = run(&["probe", server.url(), "--messages", "1", "--for", PATIENCE]);
    assert!(ran.out.contains(r#"1 message looks like an error: {"type":"error""#), "{}", ran.out);
    assert!(ran.out.ends_with("\n1 message came, and nothing but what looks like errors\n"), "{}", ran.out);
}

#[test]
fn what_it_learned_fits_the_pointer_and_the_steps_that_are_set() {
    // Every message is numbered; heartbeats are answered by a step, and the symbol stands around the records.
    let message = |n: u64| match n % 3 {
        0 => text(&format!(r#"{{"type":"heartbeat","seq":{}}}"#, n + 40)),
        _ => text(&format!(
            r#"{{"type":"data","seq":{},"symbol":"{}","rows":[{{"price":"1.5"}},{{"price":"2.5"}}]}}"#,
            n + 40,
            ["BTC", "ETH"][n as usize / 3 % 2],
        )),
    };
    let server = serve((0..90).map(message).collect());
    let set = [
        "websocket.session.steps=connect,beat",
        "websocket.session.beat.on=/type == 'heartbeat'",
        "websocket.record.pointer=/rows/*",
        "websocket.record.key={{envelope(/symbol)}}",
    ];
    let set: Vec<&str> = set.iter().flat_map(|option| ["--set", *option]).collect();
    let arguments = ["probe", server.url(), "--messages", "120", "--for", PATIENCE, "--json"];
    let ran = run(&[&arguments[..], &set].concat());
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    let finding = |about: &str| ran.events("finding").into_iter().find(|finding| finding["about"] == about).unwrap();
    let lines = finding("sequence")["lines"].clone();
    assert_eq!(lines[0]["value"], "{{envelope(/seq)}}", "{lines}");
    assert!(finding("sequence")["says"].as_str().unwrap().contains(" 0 did not"), "{}", ran.out);
    let key = finding("key");
    assert!(key["lines"].as_array().unwrap().is_empty(), "it is set already: {key}");
    assert!(key["says"].as_str().unwrap().contains("The configuration says so already"), "{key}");
    assert!(!ran.events("finding").iter().any(|finding| finding["about"] == "record"), "{}", ran.out);
    // Pasted, it holds.
    let sequence = format!("websocket.sequence={}", lines[0]["value"].as_str().unwrap());
    let ran = run(&[&arguments[..], &set, &["--set", &sequence]].concat());
    assert_eq!((ran.code, ran.events("gap").len()), (0, 0), "{}", ran.out);
}

#[test]
fn what_a_step_hears_in_a_packed_message_is_shown() {
    // {"ping":1}
    let gzip = "H4sIAAAAAAACA6tWKsjMS1eyMqwFAC3smCEKAAAA";
    let server = serve(vec![Step::SendBinary { base64: gzip.to_owned() }, Step::Mute { ms: None }]);
    let set = [
        "websocket.frame.decode=gzip",
        "websocket.session.steps=connect,beat",
        "websocket.session.beat.on=/ping exists",
    ];
    let set: Vec<&str> = set.iter().flat_map(|option| ["--set", *option]).collect();
    let ran = run(&[&["probe", server.url(), "--for", "1s"][..], &set].concat());
    assert_eq!(ran.code, 3, "{} {}", ran.out, ran.err);
    assert!(ran.out.contains(r#"heard       beat: {"ping":1}"#), "{}", ran.out);
}

#[test]
fn what_is_hardly_meant_is_warned_of() {
    let server = serve(vec![text("{}")]);
    let arguments = ["probe", server.url(), "--messages", "1", "--for", PATIENCE, "--set", "websocket.subscribe=x"];
    let ran = run(&arguments);
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    assert!(ran.err.starts_with("warning: websocket.subscribe is not an option"), "{}", ran.err);
}

#[test]
fn output_that_cannot_be_written_is_2_and_a_reader_who_has_enough_is_not() {
    let server = serve(vec![trades(3)]);
    let into = |target: &str| {
        let probe = format!("{BINARY} probe {} --messages 3 --for {PATIENCE} {target}", server.url());
        Ran::of(Command::new("bash").args(["-c", &probe]).output().unwrap())
    };
    let full = into("> /dev/full");
    assert_eq!(full.code, 2, "{}", full.err);
    assert!(full.err.contains("the output cannot be written"), "{}", full.err);
    let enough = into("| head -n 1; exit ${PIPESTATUS[0]}");
    assert_eq!((enough.code, enough.err.as_str()), (0, ""), "{}", enough.out);
    assert!(enough.out.starts_with("probing "), "{}", enough.out);
}

#[test]
fn no_command_succeeds_if_its_output_cannot_be_written() {
    let folder = Folder::new();
    let tape = folder.file("tape.jsonl", "{\"tape\":1,\"recorded\":\"\",\"url\":\"\",\"by\":\"\"}\n");
    let class = "connector.class=io.conduktor.connect.websocket.WebSocketSourceConnector";
    let connector = format!("name=x\n{class}\nkafka.topic=x\nwebsocket.url=ws://127.0.0.1:1/\n");
    let connector = folder.file("c.properties", &connector);
    for (command, code) in [
        ("--help", 1),
        ("--version", 1),
        ("probe --help", 2),
        ("feeds", 1),
        ("feeds kucoin", 1),
        (&*format!("validate {connector}"), 2),
        (&*format!("validate --json {connector}"), 2),
        (&*format!("replay {tape}"), 2),
        ("demo --for 2s", 1),
    ] {
        let into = |target: &str| {
            let run = format!("timeout 60 {BINARY} {command} {target}");
            Ran::of(Command::new("bash").args(["-c", &run]).output().unwrap())
        };
        let full = into("> /dev/full");
        assert_eq!(full.code, code, "{command}: {}", full.err);
        assert!(full.err.contains("the output cannot be written"), "{command}: {}", full.err);
        assert_eq!(full.err.lines().count(), 1, "{command}: {}", full.err);
        if !command.starts_with("replay") && !command.starts_with("demo") {
            let enough = into("| true; exit ${PIPESTATUS[0]}");
            assert_eq!((enough.code, enough.err.as_str()), (0, ""), "{command}");
        }
    }
}

#[test]
fn colours_are_for_terminals_and_no_color_forbids_them() {
    let server = serve(vec![text(r#"{"symbol":"BTC-USD"}"#)]);
    let url = server.url();
    let ran = run(&["probe", url, "--messages", "1", "--for", PATIENCE]);
    assert!(!ran.out.contains('\u{1b}'), "{:?}", ran.out);
    let on_terminal = |no_color: &str| {
        let probe = format!("stty cols 60; {BINARY} probe {url} --messages 1 --for {PATIENCE}");
        let mut script = Command::new("script");
        script.args(["-qec", &probe, "/dev/null"]).env("NO_COLOR", no_color).env("TERM", "xterm");
        let ran = Ran::of(script.stdin(Stdio::null()).output().unwrap());
        assert_eq!(ran.code, 0, "{}", ran.out);
        ran.out.replace('\r', "")
    };
    let coloured = on_terminal("");
    assert!(coloured.contains("\u{1b}[36m\"symbol\"\u{1b}[0m"), "{coloured:?}");
    let plain = on_terminal("1");
    assert!(!plain.contains('\u{1b}') && plain.contains("\"symbol\""), "{plain:?}");
    let widest = plain.lines().take_while(|line| *line != "summary").map(|line| line.chars().count()).max();
    assert!(widest <= Some(60), "{plain}");
}

#[test]
fn a_server_cannot_reach_the_terminal() {
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}";
    let json = serde_json::to_string(&serde_json::json!({ evil: evil })).unwrap();
    let close = Close { code: Some(1000), reason: evil.to_owned(), ..Close::default() };
    let server = serve(vec![text(evil), text(&json.replace("\\u001b", "\u{1b}")), text(&json), Step::Close(close)]);
    for more in [&["--messages", "3"][..], &["--json", "--messages", "3"]] {
        let ran = run(&[&["probe", server.url(), "--for", PATIENCE], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.out);
        let harmful = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!ran.out.contains(harmful), "{:?}", ran.out);
        assert!(ran.out.contains("owned"), "{:?}", ran.out);
    }
}

#[test]
fn a_flood_of_large_messages_takes_little_memory_and_is_shown_cut() {
    let server = serve(vec![Step::Send(Messages::count(400).size(1 << 20))]);
    let probe =
        format!("ulimit -v 700000; exec {BINARY} probe {} --messages 400 --for {PATIENCE} --json", server.url());
    let ran = Ran::of(Command::new("sh").args(["-c", &probe]).output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let sample = ran.event("sample");
    assert_eq!((&sample["cut"], &sample["bytes"]), (&true.into(), &(1 << 20).into()));
    assert!(sample["text"].as_str().unwrap().len() <= 64 << 10);
    assert_eq!(ran.event("summary")["records"], 400);
}

#[test]
fn an_interrupt_ends_it_with_the_summary() {
    let server = serve(vec![trades(3)]);
    let arguments = ["probe", server.url(), "--for", "1h"];
    let mut probe = Command::new(BINARY).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(probe.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("message 3")));
    signal(&probe, "INT");
    let rest: Vec<String> = lines.collect();
    assert_eq!(probe.wait().unwrap().code(), Some(0));
    assert!(rest.iter().any(|line| line.contains("messages          3 (3 text")), "{rest:?}");
}

fn signal(process: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &process.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

// --- exit codes ------------------------------------------------------------------------------------------------------

#[test]
fn a_refused_handshake_is_1_with_the_servers_words() {
    let reject = Play { handshake: Handshake::Reject(reject(401, "who are you?")), ..Play::default() };
    let server = Server::start(Script::plays([reject])).unwrap();
    let ran = run(&["probe", server.url(), "--for", PATIENCE]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(ran.out.contains("status 401"), "{}", ran.out);
    assert!(ran.out.contains("who are you?"), "{}", ran.out);
    assert_eq!(server.stats().connections.len(), 1, "it tries once");
}

fn reject(status: u16, body: &str) -> connect_websocket_testkit::Reject {
    connect_websocket_testkit::Reject { status, body: body.to_owned(), ..Default::default() }
}

#[test]
fn a_close_before_any_message_is_1_and_after_one_it_is_0() {
    let close = || Step::Close(Close { code: Some(4001), reason: "bad token".to_owned(), ..Close::default() });
    let server = serve(vec![close()]);
    let ran = run(&["probe", server.url(), "--for", PATIENCE]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(ran.out.contains("close       of the server: 4001 bad token"), "{}", ran.out);
    let server = serve(vec![text("{}"), close()]);
    let ran = run(&["probe", server.url(), "--for", "2s"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains("next attempt in "), "{}", ran.out);
}

#[test]
fn a_tape_of_a_feed_that_was_never_open_is_not_in_the_way_of_the_next() {
    let folder = Folder::new();
    let tape = folder.path("tape.jsonl");
    let closed = { std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap() };
    let ran = run(&["record", &format!("ws://{closed}/"), &tape, "--for", PATIENCE]);
    assert_eq!(ran.code, 1, "{} {}", ran.out, ran.err);
    assert!(!ran.out.contains("tape.jsonl") && !PathBuf::from(&tape).exists(), "{}", ran.out);
    let server = serve(vec![text("one")]);
    let ran = run(&["record", server.url(), &tape, "--messages", "1", "--for", PATIENCE]);
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    assert!(ran.out.contains(&format!("tape        {tape}: 1 message, ")), "{}", ran.out);
}

#[test]
fn an_address_where_nobody_listens_is_1() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran = run(&["probe", &format!("ws://{closed}/"), "--for", PATIENCE]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(ran.out.contains(&format!("address     {closed} failed: ")), "{}", ran.out);
    assert!(ran.out.contains("refused: no connection to 127.0.0.1"), "{}", ran.out);
    assert!(!ran.out.contains("summary"), "there is nothing to sum up: {}", ran.out);
}

#[test]
fn silence_is_3() {
    let server = serve(vec![Step::Mute { ms: None }]);
    let ran = run(&["probe", server.url(), "--for", "1s"]);
    assert_eq!(ran.code, 3, "{}", ran.out);
    assert!(ran.out.contains("--subscribe"), "{}", ran.out);
}

#[test]
fn a_server_that_never_answers_is_1_and_the_reason_says_what_was_waited_for() {
    let hang = Play { handshake: Handshake::Hang { before_request: false }, ..Play::default() };
    let server = Server::start(Script::plays([hang])).unwrap();
    let ran = run(&["probe", server.url(), "--for", "1s"]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    let why = format!("no connection was open at the end: {} is connected, and has not answered", server.addr());
    assert!(ran.out.contains(&why), "{}", ran.out);
}

#[test]
fn a_step_that_waits_until_the_end_is_named() {
    let server = serve(vec![Step::Mute { ms: None }]);
    let expect = "websocket.session.subscribe.expect=/event == 'subscribed'";
    let ran = run(&["probe", server.url(), "--for", "1s", "--subscribe", "trades", "--set", expect]);
    assert_eq!(ran.code, 3, "{}", ran.out);
    assert!(ran.out.contains("no message came; the step subscribe is not done"), "{}", ran.out);
}

#[test]
fn answers_to_steps_are_no_messages() {
    let server = serve(vec![text(r#"{"event":"welcome"}"#)]);
    let ran = run(&[
        "probe",
        server.url(),
        "--for",
        "1s",
        "--set",
        "websocket.session.steps=connect,welcome",
        "--set",
        "websocket.session.welcome.expect=/event == 'welcome'",
    ]);
    assert_eq!(ran.code, 3, "{}", ran.out);
    assert!(ran.out.contains(r#"heard       welcome: {"event":"welcome"}"#), "{}", ran.out);
    assert!(ran.out.contains("1 message came, and nothing of it would be in Kafka"), "{}", ran.out);
}

#[test]
fn what_is_configured_wrong_is_2_with_every_error() {
    let folder = Folder::new();
    let wrong = folder.file("wrong.properties", "name=x\nwebsocket.url=http://x\nwebsocket.idle.timeout.ms=soon\n");
    let ran = run(&["probe", &wrong]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    for option in ["websocket.url", "websocket.idle.timeout.ms"] {
        assert!(ran.err.contains(option), "{}", ran.err);
    }
    for (arguments, words) in [
        (&["probe"][..], "name a feed"),
        (&["probe", "missing.json"], "ws:// or wss://"),
        (&["probe", "wss//feed.example/?token=swordfish"], "wss//feed.example/?*** cannot be read"),
        (&["probe", "--feed", "nosuchfeed"], "no such feed"),
        (&["probe", "ws://127.0.0.1:1/", "--set", "websocket.url"], "OPTION=VALUE"),
        (&["probe", "ws://127.0.0.1:1/", "--for", "soon"], "such as 20s"),
        (&["probe", "ws://127.0.0.1:1/", "--for", "0"], "such as 20s"),
        (&["probe", "ws://127.0.0.1:1/", "--messages", "0"], "0 is not in 1.."),
        (&["probe", "ws://127.0.0.1:1/", "--set", "=x"], "OPTION=VALUE"),
        (&["probe", "ws://127.0.0.1:1/", "--topics", "a"], "--topics has no effect"),
        (&["probe", "https://127.0.0.1:1/"], "websocket.url"),
        (&["probe", "ws://127.0.0.1:1/", "--nonsense"], "unexpected argument"),
        (
            &["record", "ws://127.0.0.1:1/", "/nosuchfolder/tape.jsonl", "--max-bytes", "9"],
            "no room for its first line",
        ),
        (&["record", "ws://127.0.0.1:1/", "/nosuchfolder/tape.jsonl"], "cannot be created"),
        (&["record", "ws://127.0.0.1:1/"], "the tape's name after it"),
        (&["record", "ws://127.0.0.1:1/", "--for", "1s", "tape.jsonl", "more"], "unexpected argument"),
        (&["replay", "/nosuchfolder/tape.jsonl"], "cannot be read"),
    ] {
        let ran = run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(words), "{arguments:?}: {}", ran.err);
    }
}

// --- TLS -------------------------------------------------------------------------------------------------------------

#[test]
fn tls_is_shown_with_issuer_and_end_and_a_stranger_is_refused_with_the_remedy() {
    let pki = TestPki::new().unwrap();
    let folder = Folder::new();
    let play = || Script::plays([Play { steps: vec![text("{}")], ..Play::default() }]);
    let server = Server::start_tls(play(), &pki, TlsProfile::SelfSigned).unwrap();
    let ran = run(&["probe", server.url(), "--for", PATIENCE]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(ran.out.contains("websocket.ssl.ca.location"), "{}", ran.out);
    assert!(ran.out.contains("certificate of ") && ran.out.contains("valid until 2044-"), "{}", ran.out);

    let trusted = folder.file("own.pem", pki.self_signed_pem(TlsProfile::SelfSigned).unwrap());
    let ca = format!("websocket.ssl.ca.location={trusted}");
    let ran = run(&["probe", server.url(), "--for", PATIENCE, "--messages", "1", "--json", "--set", &ca]);
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    assert_eq!(ran.event("tls")["version"], "TLSv1.3");
    let certificate = ran.event("certificate");
    assert!(certificate["issuer"].as_str().is_some_and(|issuer| !issuer.is_empty()), "{certificate}");
    assert!(certificate["valid_until"].as_str().unwrap().starts_with("2044-"), "{certificate}");
    assert!(certificate["days_left"].as_i64().unwrap() > 365, "{certificate}");
}

#[test]
fn a_redirect_is_shown_and_so_is_a_gap_by_the_feeds_numbers() {
    let server = serve(vec![text(r#"{"n":1}"#), text(r#"{"n":2}"#), text(r#"{"n":7}"#)]);
    let location = format!("{}?token=in-the-query-4711", server.url());
    let redirect = Handshake::Redirect { location, status: 302 };
    let first = Server::start(Script::plays([Play { handshake: redirect, ..Play::default() }])).unwrap();
    let arguments = ["probe", first.url(), "--messages", "3", "--json", "--for", PATIENCE];
    let ran = run(&[&arguments[..], &["--set", "websocket.sequence={{/n}}"]].concat());
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    assert!(ran.event("redirect")["url"].as_str().unwrap().contains(&server.addr().to_string()), "{}", ran.out);
    assert!(!ran.out.contains("in-the-query-4711"), "{}", ran.out);
    let gap = ran.event("gap");
    assert_eq!((&gap["missed"], &gap["from"], &gap["to"]), (&4.into(), &"3".into(), &"6".into()), "{gap}");
}

// --- secrets ---------------------------------------------------------------------------------------------------------

const SECRETS: [(&str, &str); 5] = [
    ("websocket.auth.token", "tok/en+one~7f3a9c"),
    ("websocket.headers", "X-Api-Key:header-secret-55aa"),
    ("websocket.secret.pass", "captured&pass=11ff"),
    (
        "websocket.session.login.send",
        r#"{"op":"login","args":["literal-hunter2","{{secret.pass}}","{{hex(hmac_sha256(secret.pass, 'x'))}}"]}"#,
    ),
    ("websocket.subscription.message", r#"{"op":"subscribe","token":"subscribed-swordfish"}"#),
];

/// All of [`SECRETS`], and what is made of them.
fn secrets() -> Vec<String> {
    let known = [
        "tok/en+one~7f3a9c",
        "header-secret-55aa",
        "captured&pass=11ff",
        "literal-hunter2",
        "subscribed-swordfish",
        "query-secret-0099",
    ];
    let hmac = hmac_in_hex("captured&pass=11ff", "x");
    known.iter().map(|secret| (*secret).to_owned()).chain([hmac]).collect()
}

fn hmac_in_hex(key: &str, text: &str) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.as_bytes());
    ring::hmac::sign(&key, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn no_secret_is_in_any_output_whatever_the_server_repeats() {
    let folder = Folder::new();
    // In every form that a server might give them: messages, binary ones too, and the reason of the Close.
    let mut steps = vec![Step::ExpectText { contains: "subscribe".to_owned(), timeout_ms: 60_000 }];
    let mut echoes = 0;
    for secret in secrets() {
        for form in secret_forms(&secret) {
            steps.push(text(
                &serde_json::json!({ "echo": form, "deep": [{ "again": format!("x{form}y") }] }).to_string(),
            ));
            steps.push(Step::SendBinary { base64: BASE64.encode(format!("\0{form}")) });
            echoes += 2;
        }
    }
    let reason = format!("bad {}", secrets()[0]);
    steps.push(Step::Close(Close { code: Some(4001), reason, ..Close::default() }));
    let server = serve(steps);
    let mut file = format!(
        "name=x\nwebsocket.url={}?apikey=query-secret-0099\nwebsocket.session.steps=connect,login,subscribe\n",
        server.url()
    );
    SECRETS.iter().for_each(|(option, value)| file.push_str(&format!("{option}={value}\n")));
    let file = folder.file("connector.properties", &file);
    let count = echoes.to_string();
    for (name, json) in [("text", None), ("json", Some("--json"))] {
        let tape = folder.path(&format!("{name}.jsonl"));
        let common = ["probe", &file, "--samples", "1000", "--for", "20s", "--messages", &count, "--save", &tape];
        let ran = run(&common.into_iter().chain(json).collect::<Vec<_>>());
        assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
        assert!(ran.out.contains("***"), "{}", ran.out);
        let tape = fs::read_to_string(&tape).unwrap();
        assert!(tape.lines().count() > echoes, "{tape}");
        for secret in secrets() {
            for form in secret_forms(&secret) {
                for (what, text) in [("output", &ran.out), ("errors", &ran.err), ("tape", &tape)] {
                    assert!(!text.contains(&form), "{form} ({secret}) is in the {what} of {name}:\n{text}");
                }
            }
        }
    }
    // What the server was told: the probe has sent the real ones.
    let stats = server.stats();
    assert!(stats.connections[0].texts.iter().any(|text| text.contains("literal-hunter2")), "{stats:?}");
}

#[test]
fn a_secret_that_a_message_brings_is_hidden_in_that_very_message() {
    let folder = Folder::new();
    let server = serve(vec![
        text(r#"{"event":"welcome","token":"captured-8812-brought"}"#),
        Step::ExpectText { contains: "captured-8812-brought".to_owned(), timeout_ms: 60_000 },
        text(r#"{"a":1}"#),
    ]);
    let tape = folder.path("tape.jsonl");
    let steps = [
        "websocket.session.steps=connect,welcome,hello",
        "websocket.session.welcome.expect=/event == 'welcome'",
        "websocket.session.welcome.capture=secret.token=/token",
        "websocket.session.hello.send=hello {{secret.token}}",
    ];
    let mut arguments = vec!["probe", server.url(), "--messages", "1", "--for", PATIENCE, "--save", &tape];
    steps.iter().for_each(|step| arguments.extend(["--set", *step]));
    let ran = run(&arguments);
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    let tape = fs::read_to_string(&tape).unwrap();
    for text in [&ran.out, &tape] {
        assert!(!text.contains("8812"), "{text}");
    }
    assert!(ran.out.contains(r#"heard       welcome: {"event":"welcome","token":"***"}"#), "{}", ran.out);
    let kinds: Vec<bool> = tape.lines().skip(2).map(|line| line.contains("received")).collect();
    assert_eq!(kinds, [true, false, true], "in the order in which they went: {tape}");
}

#[test]
fn a_secret_that_a_redirect_makes_a_host_of_is_hidden() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let redirect = Handshake::Redirect { location: format!("ws://localhost:{}/", closed.port()), status: 302 };
    let server = Server::start(Script::plays([Play { handshake: redirect, ..Play::default() }])).unwrap();
    for more in [&[][..], &["--json"]] {
        let set = ["probe", server.url(), "--for", PATIENCE, "--set", "websocket.headers=X-Api-Key:localhost"];
        let ran = run(&[&set[..], more].concat());
        assert_eq!(ran.code, 1, "{}", ran.out);
        assert!(ran.out.contains("***") && !ran.out.contains("localhost"), "{}", ran.out);
    }
}

#[test]
fn a_value_of_a_config_provider_is_replaced_and_never_shown() {
    let server = serve(vec![text("{\"echo\":\"from-the-environment-77\"}")]);
    let set = ["--set", "websocket.auth.token=${env:PROBE_TOKEN}"];
    let probe = Command::new(BINARY)
        .args(["probe", server.url(), "--messages", "1", "--for", PATIENCE])
        .args(set)
        .env("PROBE_TOKEN", "from-the-environment-77")
        .output();
    let ran = Ran::of(probe.unwrap());
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    assert!(!ran.out.contains("from-the-environment-77"), "{}", ran.out);
    let request = server.stats().connections[0].request.clone().unwrap();
    assert!(request.headers.iter().any(|(_, value)| value == "Bearer from-the-environment-77"), "{request:?}");
    let ran = Ran::of(
        Command::new(BINARY)
            .args(["probe", server.url(), "--set", "websocket.idle.timeout.ms=${env:PROBE_TOKEN}"])
            .env("PROBE_TOKEN", "from-the-environment-77")
            .output()
            .unwrap(),
    );
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.err.contains("websocket.idle.timeout.ms") && !ran.err.contains("environment-77"), "{}", ran.err);
}

// --- log-ins ---------------------------------------------------------------------------------------------------------

fn simulator(feed: &str) -> &'static Simulator {
    SIMULATORS.iter().find(|simulator| simulator.feed == feed).unwrap()
}

/// The options that meet a simulator, as a connector's file.
fn connector(folder: &Folder, simulator: &Simulator, simulation: &Simulation, changed: &[(&str, &str)]) -> String {
    let profile = Profile::named(simulator.feed).unwrap();
    let given = profile.options.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let mut options: BTreeMap<String, String> = simulator.settings(given, &simulation.host(), 5).into_iter().collect();
    options.insert("name".to_owned(), "probe".to_owned());
    options.insert("websocket.feed".to_owned(), simulator.feed.to_owned());
    options.extend(changed.iter().map(|(key, value)| ((*key).to_owned(), Simulator::at(value, &simulation.host()))));
    folder.file(&format!("connector-{}.json", simulator.feed), &serde_json::to_string(&options).unwrap())
}

#[test]
fn a_right_log_in_is_shown_step_by_step_and_a_wrong_one_with_the_servers_words() {
    let (folder, simulator) = (Folder::new(), simulator("okx-private"));
    let simulation = Simulation::start(simulator, 5).unwrap();
    let right = connector(&folder, simulator, &simulation, &[]);
    let ran = run(&["probe", &right, "--messages", "5", "--for", PATIENCE, "--json"]);
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    let done: Vec<String> = ran
        .events("step")
        .iter()
        .filter(|step| step["state"] == "done")
        .map(|step| step["step"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(done[..3], ["connect", "login", "subscribe"], "{}", ran.out);
    assert!(ran.events("heard")[0]["text"].as_str().unwrap().contains("login"), "{}", ran.out);
    assert!(ran.event("sample")["key"].is_string(), "{}", ran.out);
    for wrong in simulator.wrong {
        let file = connector(&folder, simulator, &simulation, wrong.set);
        let ran = run(&["probe", &file, "--for", PATIENCE]);
        assert_eq!(ran.code, 1, "{}: {}", wrong.what, ran.out);
        assert!(ran.out.contains("refused: the step login: the server answered"), "{}: {}", wrong.what, ran.out);
        assert!(ran.out.contains(wrong.words), "{}: {}", wrong.what, ran.out);
        for (option, secret) in
            simulator.right.iter().chain(wrong.set).filter(|(key, _)| key.starts_with("websocket.secret."))
        {
            assert!(!secret_forms(secret).iter().any(|form| ran.out.contains(form)), "{option}: {}", ran.out);
        }
    }
}

#[test]
fn every_profile_is_shown_step_by_step_with_times() {
    let folder = Folder::new();
    with_every_simulator(|simulator| {
        let (simulation, profile) = (Simulation::start(simulator, 5).unwrap(), Profile::named(simulator.feed).unwrap());
        let has = |step: &str, option| profile.options.contains_key(&format!("websocket.session.{step}.{option}"));
        // Other steps wait for something that may not happen here.
        let is_log_in = |step: &&str| !["on", "on.commit", "every.ms", "when"].iter().any(|option| has(step, option));
        let mut left: BTreeSet<&str> =
            profile.options["websocket.session.steps"].split(',').filter(is_log_in).collect();
        let file = connector(&folder, simulator, &simulation, &[]);
        let arguments = ["probe", &file, "--for", PATIENCE, "--json"];
        let mut probe = Command::new(BINARY).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let (mut lines, mut shown) = (BufReader::new(probe.stdout.take().unwrap()).lines(), String::new());
        while let Some(line) = lines.next().map(Result::unwrap).filter(|_| !left.is_empty()) {
            let step: Value = serde_json::from_str(&line).unwrap();
            if step["state"] == "done" && left.remove(step["step"].as_str().unwrap()) {
                assert!(step["milliseconds"].is_f64(), "{}: {line}", simulator.feed);
            }
            shown.push_str(&format!("{line}\n"));
        }
        signal(&probe, "INT");
        lines.map(Result::unwrap).for_each(drop);
        assert!(left.is_empty(), "{} has not done {left:?}: {shown}", simulator.feed);
        // Some simulators wait for a test to publish something.
        assert!([Some(0), Some(3)].contains(&probe.wait().unwrap().code()), "{}: {shown}", simulator.feed);
    });
}

#[test]
fn every_refusal_of_a_feed_is_1_with_the_servers_words_and_without_secrets() {
    let folder = Folder::new();
    with_every_simulator(|simulator| {
        let simulation = Simulation::start(simulator, 5).unwrap();
        for wrong in simulator.wrong {
            let file = connector(&folder, simulator, &simulation, wrong.set);
            let ran = run(&["probe", &file, "--for", PATIENCE]);
            let case = format!("{}, {}: {}", simulator.feed, wrong.what, ran.out);
            assert_eq!(ran.code, 1, "{case}");
            assert!(ran.out.contains(wrong.words), "{case}");
            let given = simulator.right.iter().chain(wrong.set);
            for (option, secret) in given.filter(|(option, _)| option.starts_with("websocket.secret.")) {
                assert!(!secret_forms(secret).iter().any(|form| ran.out.contains(form)), "{option}: {case}");
            }
        }
    });
}

/// Looks at all of them, several at a time.
fn with_every_simulator(look: impl Fn(&'static Simulator) + Sync) {
    std::thread::scope(|scope| {
        for part in SIMULATORS.chunks(SIMULATORS.len().div_ceil(8)) {
            scope.spawn(|| part.iter().copied().for_each(&look));
        }
    });
}

#[test]
fn a_token_over_http_is_shown_as_a_request_and_is_secret() {
    let (folder, simulator) = (Folder::new(), simulator("kucoin"));
    let simulation = Simulation::start(simulator, 5).unwrap();
    let file = connector(&folder, simulator, &simulation, &[]);
    let tape = folder.path("tape.jsonl");
    let ran = run(&["probe", &file, "--messages", "5", "--for", PATIENCE, "--save", &tape]);
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    assert!(ran.out.contains("request     token: POST http://"), "{}", ran.out);
    assert!(ran.out.contains("answer      token: status 200, "), "{}", ran.out);
    let tape = fs::read_to_string(&tape).unwrap();
    for secret in simulation.issued() {
        for form in secret_forms(&secret) {
            assert!(!ran.out.contains(&form) && !tape.contains(&form), "{form}: {}", ran.out);
        }
    }
    assert!(!simulation.issued().is_empty());
}

#[test]
fn what_is_learned_beside_a_profile_replaces_nothing_and_is_accepted() {
    let (folder, profiles) = (Folder::new(), Profile::all().collect::<Vec<_>>());
    let looked_at = AtomicU32::new(0);
    let probe = |simulator: &'static Simulator| {
        let Some(profile) = profiles.iter().find(|profile| profile.name == simulator.feed) else { return };
        let simulation = Simulation::start(simulator, 5).unwrap();
        let file = connector(&folder, simulator, &simulation, &[]);
        let ran = run(&["probe", &file, "--messages", "10", "--for", "3s", "--json"]);
        // Some simulators wait for a test to publish something.
        if ran.code != 0 {
            return;
        }
        looked_at.fetch_add(1, Ordering::Relaxed);
        let mut options: Properties = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        for finding in ran.events("finding").iter().filter(|finding| finding["certainty"] != "possible") {
            for line in finding["lines"].as_array().unwrap() {
                let (key, value) = (line["key"].as_str().unwrap(), line["value"].as_str().unwrap());
                let is_set = profile.options.contains_key(key) && finding["about"] != "control";
                assert!(!is_set, "{}: {key} is set: {finding}", simulator.feed);
                options.insert(key.to_owned(), value.to_owned());
            }
        }
        options.insert("kafka.topic".to_owned(), "feed".to_owned());
        Config::parse(&options).unwrap_or_else(|errors| panic!("{}: {errors:?}: {}", simulator.feed, ran.out));
    };
    with_every_simulator(probe);
    assert!(looked_at.load(Ordering::Relaxed) >= 5, "{looked_at:?} simulators had messages");
}

// --- tapes -----------------------------------------------------------------------------------------------------------

/// A running replay, and where it serves.
struct Replay {
    child: Child,
    url: String,
    said: Vec<String>,
}

impl Replay {
    fn start(arguments: &[&str]) -> Replay {
        let child = Command::new(BINARY).arg("replay").args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut replay = Replay { child, url: String::new(), said: Vec::new() };
        for line in BufReader::new(replay.child.stdout.take().unwrap()).lines().map(Result::unwrap) {
            replay.said.push(line.clone());
            if let Some(url) = line.strip_prefix("serving it at ") {
                replay.url = url.to_owned();
                return replay;
            }
        }
        panic!("it serves nothing: {:?}", replay.said);
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn texts(ran: &Ran) -> Vec<Value> {
    ran.events("sample")
        .iter()
        .map(|sample| serde_json::json!([sample["kind"], sample["text"], sample["base64"]]))
        .collect()
}

#[test]
fn what_was_recorded_is_replayed_the_same() {
    let folder = Folder::new();
    let subscribe = r#"{"op":"subscribe"}"#;
    let expect = || Step::ExpectText { contains: "subscribe".to_owned(), timeout_ms: 60_000 };
    let steps = vec![
        expect(),
        text("{\"ack\":true}"),
        text("[1,2,{\"é\":\"\\u001b世\"}]"),
        Step::SendBinary { base64: "AAH/gA==".to_owned() },
        Step::Wait { ms: 100 },
        text("plain"),
        text(&"x".repeat(200_000)),
    ];
    let server = serve(steps);
    let tape = folder.path("tape.jsonl");
    let ran = run(&["record", server.url(), &tape, "--subscribe", subscribe, "--messages", "5", "--for", PATIENCE]);
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    assert!(ran.out.contains(&format!("tape        {tape}: 5 messages, ")), "{}", ran.out);
    let probe =
        |url: &str| run(&["probe", url, "--subscribe", subscribe, "--messages", "5", "--for", PATIENCE, "--json"]);
    let live = probe(server.url());
    let replay = Replay::start(&[&tape, "--speed", "10"]);
    assert!(replay.said[0].contains("5 messages of ws://127.0.0.1:"), "{:?}", replay.said);
    // A second client gets the same.
    for _ in 0..2 {
        let replayed = probe(&replay.url);
        assert_eq!(replayed.code, 0, "{} {}", replayed.out, replayed.err);
        assert_eq!(texts(&replayed), texts(&live));
        assert_eq!(texts(&replayed).len(), 5);
    }
    // A client that says nothing is not waited for without end; then the end of the tape is reached.
    let silent = run(&["probe", &replay.url, "--for", "4s", "--json"]);
    assert_eq!(texts(&silent)[..5], texts(&live)[..]);
    assert!(
        silent.events("close")[0]["reason"].as_str().unwrap().contains("the end of the tape is reached"),
        "{}",
        silent.out
    );
}

#[test]
fn a_tape_that_was_cut_is_replayed_up_to_there_and_a_loop_goes_on() {
    let folder = Folder::new();
    let server = serve(vec![text("one"), text("two"), text("three")]);
    let tape = folder.path("tape.jsonl");
    let ran = run(&["record", server.url(), &tape, "--messages", "3", "--for", PATIENCE, "--json"]);
    assert_eq!(ran.event("tape")["messages"], 3);
    let whole = fs::read_to_string(&tape).unwrap();
    let cut = folder.file("cut.jsonl", &whole[..whole.find("three").unwrap()]);
    let replay = Replay::start(&[&cut, "--loop"]);
    assert!(replay.said.iter().any(|line| line.contains("the tape was cut off")), "{:?}", replay.said);
    let ran = run(&["probe", &replay.url, "--messages", "5", "--for", PATIENCE, "--json"]);
    let got: Vec<Value> = ran.events("sample").iter().map(|sample| sample["text"].clone()).collect();
    assert_eq!(got, ["one", "two", "one", "two", "one"]);
    assert_eq!(ran.event("summary")["connections"], 1);
}

#[test]
fn a_tape_ends_at_its_bound_and_says_so() {
    let folder = Folder::new();
    let server = serve(vec![trades(100_000)]);
    let tape = folder.path("tape.jsonl");
    let ran = run(&["record", server.url(), "--max-bytes", "10K", "--for", PATIENCE, &tape]); // options may come first
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    assert!(ran.out.contains("it is full (--max-bytes)"), "{}", ran.out);
    let bytes = fs::metadata(&tape).unwrap().len();
    assert!((8_000..=10_240).contains(&bytes), "{bytes}");
    let again = run(&["record", server.url(), &tape, "--for", "1s"]);
    assert_eq!(again.code, 2, "a tape that is there is kept: {}", again.out);
    let probed = run(&["probe", &tape]);
    assert!(probed.code == 2 && probed.err.contains("is a tape; serve it"), "{}", probed.err);
    assert_eq!(fs::metadata(&tape).unwrap().len(), bytes);
}

#[test]
fn a_web_page_may_not_read_a_tape() {
    let folder = Folder::new();
    let server = serve(vec![text("one")]);
    let tape = folder.path("tape.jsonl");
    assert_eq!(run(&["record", server.url(), &tape, "--messages", "1", "--for", PATIENCE]).code, 0);
    let replay = Replay::start(&[&tape]);
    let origin = "websocket.headers=Origin:https://page.example";
    let ran = run(&["probe", &replay.url, "--for", PATIENCE, "--set", origin]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(ran.out.contains("status 403") && ran.out.contains("web pages may not read here"), "{}", ran.out);
    assert_eq!(run(&["probe", &replay.url, "--messages", "1", "--for", PATIENCE]).code, 0);
    // Nor what clients say, for which a page whose name leads here needs no Origin.
    let mut page = TcpStream::connect(replay.url.strip_prefix("ws://").unwrap().trim_end_matches('/')).unwrap();
    page.write_all(b"GET /_stats HTTP/1.1\r\nHost: page.example\r\n\r\n").unwrap();
    let mut answer = String::new();
    page.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 ") && !answer.contains("User-Agent"), "{answer}");
}

#[test]
fn clients_of_a_replay_share_its_tape() {
    let folder = Folder::new();
    let large = "x".repeat(1 << 20);
    let lines: String = (0..30).map(|n| format!("{{\"ms\":{n}.0,\"received\":{{\"text\":\"{large}\"}}}}\n")).collect();
    let head = r#"{"tape":1,"recorded":"","url":"","by":""}"#;
    let tape = folder.file("tape.jsonl", &format!("{head}\n{lines}"));
    let replay = Replay::start(&[&tape, "--speed", "1000"]);
    let address = replay.url.strip_prefix("ws://").unwrap().trim_end_matches('/').to_owned();
    // Clients that read no more than the answer.
    let clients: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut client = TcpStream::connect(&address).unwrap();
            let handshake = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
            client.write_all(handshake.as_bytes()).unwrap();
            client.read_exact(&mut [0; 12]).unwrap();
            client
        })
        .collect();
    let status = fs::read_to_string(format!("/proc/{}/status", replay.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 500 << 10, "{kib} KiB for {} clients of 30 MiB", clients.len());
}
