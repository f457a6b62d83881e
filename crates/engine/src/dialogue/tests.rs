//! The rules of steps, by their words: who waits for what, what is kept, what comes then.

use super::*;
use crate::config::Config;
use crate::config_def::Properties;
use crate::intake::memory::Memory;
use crate::json::Found;
use crate::json::Scanner;

/// A session that is played without a connection.
struct Session {
    dialogue: Dialogue,
    scanner: Option<Scanner>,
    now: Instant,
}

const SECOND: Duration = Duration::from_secs(1);

fn properties(options: &[(&str, &str)]) -> Properties {
    let base = [("websocket.url", "ws://host/"), ("kafka.topic", "t")];
    base.iter().chain(options).map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// `s.x` is short for `websocket.session.s.x`.
fn options<'a>(steps: &'a str, keys: &[(&str, &'a str)]) -> Vec<(String, &'a str)> {
    let long =
        |key: &str| if key.starts_with("websocket.") { key.to_owned() } else { format!("websocket.session.{key}") };
    let mut all = vec![("websocket.session.steps".to_owned(), steps)];
    all.extend(keys.iter().map(|(key, value)| (long(key), *value)));
    all
}

fn config(steps: &str, keys: &[(&str, &str)]) -> Config {
    let all = options(steps, keys);
    let all: Vec<(&str, &str)> = all.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    Config::parse(&properties(&all)).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn problems(steps: &str, keys: &[(&str, &str)]) -> Vec<String> {
    let all = options(steps, keys);
    let all: Vec<(&str, &str)> = all.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    Config::parse(&properties(&all)).err().unwrap_or_default().into_iter().map(|error| error.message).collect()
}

impl Session {
    /// Up to the opening handshake and through it.
    fn open(steps: &str, keys: &[(&str, &str)]) -> Session {
        let mut session = Session::begin(steps, keys);
        assert!(matches!(session.next(), Some(Action::Connect(_))));
        session.opened().unwrap();
        session
    }

    fn begin(steps: &str, keys: &[(&str, &str)]) -> Session {
        Session::begin_with(&config(steps, keys), Carried::default())
    }

    fn begin_with(config: &Config, carried: Carried) -> Session {
        let dialogue = Dialogue::begin(config.plan.clone(), config.redactor.clone(), carried, &Memory::default());
        let mut session = Session {
            dialogue,
            scanner: config.plan.listens().then(|| config.plan.scanner.clone()),
            now: Instant::now(),
        };
        session.proceed().unwrap();
        session
    }

    fn moment(now: Instant) -> Moment<'static> {
        Moment { now, at: SystemTime::UNIX_EPOCH + Duration::from_millis(1500), chance: &|bytes| bytes.fill(0x80) }
    }

    fn proceed(&mut self) -> Result<(), End> {
        self.dialogue.proceed(&Session::moment(self.now), true)
    }

    fn opened(&mut self) -> Result<(), End> {
        self.dialogue.opened(&[("X-Hello".to_owned(), "you".to_owned())], &Session::moment(self.now))
    }

    fn after(&mut self, time: Duration) -> Result<(), End> {
        self.now += time;
        self.proceed()
    }

    fn next(&mut self) -> Option<Action> {
        self.dialogue.next_action()
    }

    /// All messages that are due.
    fn said(&mut self) -> Vec<String> {
        let text = |action| match action {
            Action::Text(text) => String::from_utf8(text).unwrap(),
            other => panic!("{other:?}"),
        };
        std::iter::from_fn(|| self.dialogue.next_action()).map(text).collect()
    }

    fn request(&mut self) -> HttpRequest {
        match self.next() {
            Some(Action::Http(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    /// Whether the message becomes a record.
    fn hear(&mut self, message: &str) -> Result<bool, End> {
        let mut found = Found::default();
        let Some(scanner) = &self.scanner else { return Ok(true) };
        scanner.scan(message, &mut found);
        let (is_record, end) = self.dialogue.message(Some(Scanned::new(message, &found)), &Session::moment(self.now));
        end.map_or(Ok(is_record), Err)
    }

    fn answered(&mut self, status: u16, body: &str) -> Result<(), End> {
        let headers = [("X-Limit".to_owned(), "7".to_owned())];
        self.dialogue.answered(&HttpAnswer { status, headers: &headers, body }, &Session::moment(self.now))
    }
}

fn failed(result: Result<impl std::fmt::Debug, End>) -> String {
    match result {
        Err(End::Failed(why) | End::Outage(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_options_a_session_is_the_handshake_and_every_message_a_record() {
    let config = Config::parse(&properties(&[])).unwrap();
    assert!(!config.plan.listens());
    let mut session = Session::begin_with(&config, Carried::default());
    assert_eq!(session.next(), Some(Action::Connect(Handshake::default())));
    session.opened().unwrap();
    assert!(session.dialogue.is_ready() && session.next().is_none());
}

#[test]
fn a_subscription_message_is_a_step_of_its_own() {
    let config = Config::parse(&properties(&[("websocket.subscription.message", "{\"op\":\"sub\"}")])).unwrap();
    let mut session = Session::begin_with(&config, Carried::default());
    session.next();
    session.opened().unwrap();
    assert_eq!(session.said(), ["{\"op\":\"sub\"}"]);
    assert!(session.dialogue.is_ready());
}

#[test]
fn an_ordered_step_holds_up_the_next_until_its_answer() {
    let keys = [
        ("login.send", "{\"op\":\"login\"}"),
        ("login.expect", "/event == 'login'"),
        ("websocket.subscription.message", "subscribe"),
    ];
    let mut session = Session::open("connect,login,subscribe", &keys);
    assert_eq!(session.said(), ["{\"op\":\"login\"}"]);
    assert!(session.hear("{\"event\":\"info\"}").unwrap(), "what no step matches is a record");
    assert!(session.said().is_empty() && !session.dialogue.is_ready());
    assert!(!session.hear("{\"event\":\"login\"}").unwrap(), "an answer is no record");
    assert_eq!(session.said(), ["subscribe"]);
    assert!(session.dialogue.is_ready());
}

#[test]
fn drop_false_keeps_an_answer_as_a_record() {
    let keys = [("hello.expect", "/op == 10"), ("hello.drop", "false")];
    let mut session = Session::open("connect,hello", &keys);
    assert!(session.hear("{\"op\":10}").unwrap());
    assert!(session.dialogue.is_ready());
}

#[test]
fn a_step_without_its_answer_in_time_fails_since_its_last_message() {
    let keys = [("login.send", "x"), ("login.expect", "/ok exists"), ("login.timeout.ms", "3000")];
    let mut session = Session::open("connect,login", &keys);
    assert_eq!(session.dialogue.next_wake(session.now, true), Some(session.now + 3 * SECOND));
    session.after(2 * SECOND).unwrap();
    assert!(failed(session.after(SECOND)).contains("login"));
}

#[test]
fn fail_comes_before_expect_and_has_the_servers_words() {
    let keys = [("login.send", "x"), ("login.expect", "/event exists"), ("login.fail", "/event == 'error'")];
    let mut session = Session::open("connect,login", &keys);
    let why = failed(session.hear("{\"event\":\"error\",\"msg\":\"bad key\"}"));
    assert!(why.contains("login") && why.contains("bad key"), "{why}");
}

#[test]
fn fail_is_looked_at_only_while_its_step_waits() {
    let keys = [("login.send", "x"), ("login.expect", "/event == 'login'"), ("login.fail", "/event == 'error'")];
    let mut session = Session::open("connect,login", &keys);
    session.hear("{\"event\":\"login\"}").unwrap();
    assert!(session.hear("{\"event\":\"error\"}").unwrap());
}

#[test]
fn fail_final_fails_the_task_at_once() {
    let keys = [("login.send", "x"), ("login.expect", "/ok exists"), ("login.fail.final", "/code == 402")];
    let mut session = Session::open("connect,login", &keys);
    assert!(matches!(session.hear("{\"code\":402}"), Err(End::Final(why)) if why.contains("402")));
}

const TOPICS: (&str, &str) = ("websocket.subscription.topics", "a,b,c");

#[test]
fn a_message_that_names_topic_is_sent_for_each_and_awaited_once_for_each() {
    let keys = [TOPICS, ("sub.send", "{\"sub\":\"{{topic}}\"}"), ("sub.expect", "/subbed == topic")];
    let mut session = Session::open("connect,sub", &keys);
    assert_eq!(session.said(), ["{\"sub\":\"a\"}", "{\"sub\":\"b\"}", "{\"sub\":\"c\"}"]);
    for topic in ["b", "a"] {
        session.hear(&format!("{{\"subbed\":\"{topic}\"}}")).unwrap();
        assert!(!session.dialogue.is_ready());
    }
    assert!(session.hear("{\"subbed\":\"a\"}").unwrap(), "a was answered already");
    session.hear("{\"subbed\":\"c\"}").unwrap();
    assert!(session.dialogue.is_ready());
}

#[test]
fn a_message_that_names_topics_is_sent_for_each_batch_with_each_item_as_configured() {
    let keys = [
        TOPICS,
        ("websocket.subscription.batch.size", "2"),
        ("websocket.subscription.item", "{\"inst\":\"{{topic}}\"}"),
        ("sub.send", "[{{topics}}]"),
        ("sub.expect", "/event == 'subscribe'"),
    ];
    let mut session = Session::open("connect,sub", &keys);
    assert_eq!(session.said(), ["[{\"inst\":\"a\"},{\"inst\":\"b\"}]", "[{\"inst\":\"c\"}]"]);
    session.hear("{\"event\":\"subscribe\"}").unwrap();
    session.hear("{\"event\":\"subscribe\"}").unwrap();
    assert!(session.dialogue.is_ready(), "one answer for each message");
}

#[test]
fn count_topics_awaits_an_answer_for_each_topic_of_a_message() {
    let keys = [TOPICS, ("sub.send", "[{{topics}}]"), ("sub.expect", "/ack exists"), ("sub.count", "topics")];
    let mut session = Session::open("connect,sub", &keys);
    assert_eq!(session.said(), ["[\"a\",\"b\",\"c\"]"]);
    for left in [2, 1, 0] {
        session.hear("{\"ack\":true}").unwrap();
        assert_eq!(session.dialogue.is_ready(), left == 0);
    }
}

#[test]
fn an_on_step_acts_from_the_handshake_on_whatever_its_place() {
    let keys = [
        ("login.send", "x"),
        ("login.expect", "/ok exists"),
        ("ping.on", "/ping exists"),
        ("ping.send", "{\"pong\":{{/ping}}}"),
    ];
    let mut session = Session::open("connect,login,ping", &keys);
    session.said();
    assert!(!session.hear("{\"ping\":123456789012345678901234567}").unwrap());
    assert_eq!(session.said(), ["{\"pong\":123456789012345678901234567}"], "the number is exact");
}

#[test]
fn several_on_steps_act_in_order() {
    let keys = [("one.on", "/x exists"), ("one.send", "1"), ("two.on", "/x == 5"), ("two.send", "2")];
    let mut session = Session::open("connect,one,two", &keys);
    session.hear("{\"x\":5}").unwrap();
    assert_eq!(session.said(), ["1", "2"]);
}

#[test]
fn conditions_see_the_values_from_before_the_message_and_sends_those_after_it() {
    let keys = [("id.on", "/id exists && !(/id == last)"), ("id.capture", "last=/id"), ("id.send", "new {{last}}")];
    let mut session = Session::open("connect,id", &keys);
    for id in ["1", "1", "2", "2"] {
        session.hear(&format!("{{\"id\":{id}}}")).unwrap();
    }
    assert_eq!(session.said(), ["new 1", "new 2"]);
}

#[test]
fn a_heartbeat_begins_at_its_place_and_is_skipped_while_it_is_unanswered() {
    let keys = [
        ("hello.expect", "/interval exists"),
        ("hello.capture", "ms=/interval"),
        ("beat.every.ms", "{{ms}}"),
        ("beat.send", "ping"),
        ("beat.expect", "text == 'pong'"),
        ("beat.timeout.ms", "5000"),
    ];
    let mut session = Session::open("connect,hello,beat", &keys);
    session.hear("{\"interval\":2000}").unwrap();
    assert!(session.dialogue.is_ready(), "a heartbeat holds up nothing");
    assert!(session.said().is_empty());
    session.after(2 * SECOND).unwrap();
    session.after(2 * SECOND).unwrap();
    assert_eq!(session.said(), ["ping"], "the second tick was skipped");
    session.hear("pong").unwrap();
    session.after(2 * SECOND).unwrap();
    assert_eq!(session.said(), ["ping"]);
    session.after(4 * SECOND).unwrap();
    assert!(failed(session.after(SECOND)).contains("beat"), "its answer is missing");
}

#[test]
fn jitter_is_of_the_first_interval() {
    let keys = [("beat.every.ms", "1000"), ("beat.every.jitter", "1"), ("beat.send", "x")];
    let mut session = Session::open("connect,beat", &keys);
    let first = session.dialogue.next_wake(session.now, true).unwrap() - session.now;
    assert!(first > Duration::from_millis(490) && first < Duration::from_millis(510), "{first:?}");
    session.after(first).unwrap();
    assert_eq!(session.said(), ["x"]);
    assert_eq!(session.dialogue.next_wake(session.now, true), Some(session.now + SECOND));
}

#[test]
fn when_decides_over_variables_at_the_steps_place() {
    let keys = [
        ("hello.expect", "/kind exists"),
        ("hello.capture", "kind=/kind"),
        ("a.when", "kind == 'a'"),
        ("a.send", "A"),
        ("b.when", "kind == 'b'"),
        ("b.send", "B"),
    ];
    let mut session = Session::open("connect,hello,a,b", &keys);
    session.hear("{\"kind\":\"b\"}").unwrap();
    assert_eq!(session.said(), ["B"]);
}

#[test]
fn an_http_step_before_the_handshake_gives_its_url() {
    let keys = [
        ("token.http", "POST https://api.test/token"),
        ("token.http.headers", "X-Key:{{secret.key}}"),
        ("token.http.body", "{\"n\":{{n()}}}"),
        ("token.capture", "endpoint=/url,secret.token=/token,limit=header('x-limit')"),
        ("websocket.secret.key", "k3y"),
        ("websocket.url", "{{endpoint}}?token={{secret.token}}&l={{limit}}"),
    ];
    let mut session = Session::begin("token,connect", &keys);
    let request = session.request();
    assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", "https://api.test/token"));
    assert_eq!(request.headers, [("X-Key".to_owned(), "k3y".to_owned())]);
    assert_eq!(request.body.as_deref(), Some("{\"n\":1}"));
    session.answered(200, "{\"url\":\"wss://feed.test/ws\",\"token\":\"a b\"}").unwrap();
    let Some(Action::Connect(handshake)) = session.next() else { panic!() };
    assert_eq!(handshake.url.as_deref(), Some("wss://feed.test/ws?token=a%20b&l=7"));
}

#[test]
fn an_http_answer_without_expect_is_good_at_2xx() {
    let keys = [("token.http", "GET https://api.test/"), ("token.capture", "t=/t")];
    for (status, good) in [(200, true), (204, true), (301, false), (401, false), (500, false)] {
        let mut session = Session::begin("token,connect", &keys);
        session.request();
        let answered = session.answered(status, "{\"message\":\"no such key\"}");
        assert_eq!(answered.is_ok(), good, "{status}");
        if !good {
            let why = failed(answered);
            assert!(why.contains(&status.to_string()) && why.contains("no such key"), "{why}");
        }
    }
}

#[test]
fn conditions_of_an_http_step_see_status_and_body() {
    let keys = [
        ("token.http", "GET https://api.test/"),
        ("token.expect", "status == 200 && /code == '200000'"),
        ("token.fail.final", "status == 401"),
    ];
    let mut session = Session::begin("token,connect", &keys);
    session.request();
    assert!(failed(session.answered(200, "{\"code\":\"400\"}")).contains("status 200"));
    let mut session = Session::begin("token,connect", &keys);
    session.request();
    assert!(matches!(session.answered(401, ""), Err(End::Final(_))));
}

#[test]
fn a_cached_answer_serves_the_next_connections_and_is_discarded_when_an_attempt_fails() {
    let keys = [
        ("token.http", "GET https://api.test/"),
        ("token.http.cache", "3600s"),
        ("token.capture", "t=/t"),
        ("hi.send", "{{t}}"),
    ];
    let config = config("token,connect,hi", &keys);
    let mut session = Session::begin_with(&config, Carried::default());
    session.request();
    session.answered(200, "{\"t\":\"one\"}").unwrap();
    session.next();
    session.opened().unwrap();
    assert_eq!(session.said(), ["one"]);
    let mut session = Session::begin_with(&config, session.dialogue.end(true));
    assert!(matches!(session.next(), Some(Action::Connect(_))), "no request is made");
    let mut session = Session::begin_with(&config, session.dialogue.end(false));
    session.request();
}

#[test]
fn a_cached_answer_is_renewed_a_tenth_before_its_end() {
    let keys = [
        ("token.http", "GET https://api.test/"),
        ("token.http.cache", "{{life}}"),
        ("token.capture", "life=/expires_in"),
    ];
    let config = config("token,connect", &keys);
    for (after, cached) in [(899, true), (901, false)] {
        let mut session = Session::begin_with(&config, Carried::default());
        session.request();
        session.answered(200, "{\"expires_in\":1000}").unwrap();
        session.next();
        session.opened().unwrap();
        let now = session.now + Duration::from_secs(after);
        let mut dialogue = Dialogue::begin(
            config.plan.clone(),
            config.redactor.clone(),
            session.dialogue.end(true),
            &Memory::default(),
        );
        dialogue.proceed(&Session::moment(now), true).unwrap();
        assert_eq!(matches!(dialogue.next_action(), Some(Action::Connect(_))), cached, "{after}");
    }
}

#[test]
fn a_missing_value_fails_the_attempt_and_names_the_variable() {
    let keys = [("hello.expect", "/a exists"), ("hello.capture", "b=/b"), ("say.send", "{{b}}")];
    let mut session = Session::open("connect,hello,say", &keys);
    let why = failed(session.hear("{\"a\":1}"));
    assert!(why.contains("say") && why.contains("b has no value"), "{why}");
}

#[test]
fn a_declared_variable_is_made_once_for_each_message_that_uses_it() {
    let keys = [("websocket.var.id", "{{n()}}"), TOPICS, ("sub.send", "{{id}}-{{id}} {{topic}}")];
    let mut session = Session::open("connect,sub", &keys);
    assert_eq!(session.said(), ["1-1 a", "2-2 b", "3-3 c"]);
}

#[test]
fn conditions_mean_the_declared_variable_that_was_sent_for_their_topic() {
    let keys = [
        ("websocket.var.id", "{{n()}}"),
        TOPICS,
        ("sub.send", "{\"id\":{{id}},\"t\":\"{{topic}}\"}"),
        ("sub.expect", "/id == id"),
        ("sub.capture", "number=/result"),
        ("tick.on", "/sub exists"),
        ("tick.send", "{{topic_of(number, /sub)}}"),
    ];
    let mut session = Session::open("connect,sub,tick", &keys);
    session.said();
    session.hear("{\"id\":2,\"result\":\"0xb\"}").unwrap();
    session.hear("{\"id\":1,\"result\":\"0xa\"}").unwrap();
    session.hear("{\"id\":3,\"result\":\"0xc\"}").unwrap();
    assert!(session.dialogue.is_ready());
    session.hear("{\"sub\":\"0xb\"}").unwrap();
    assert_eq!(session.said(), ["b"], "each answer's number is kept for its topic");
}

#[test]
fn the_rate_holds_messages_back_and_the_timeout_runs_from_the_last_one() {
    let keys = [
        TOPICS,
        ("websocket.send.rate", "2/1s"),
        ("sub.send", "{{topic}}"),
        ("sub.expect", "text == topic"),
        ("sub.timeout.ms", "1500"),
    ];
    let mut session = Session::open("connect,sub", &keys);
    assert_eq!(session.said(), ["a", "b"]);
    let until = rate::parse("2/1s").unwrap()[0].kept_for();
    assert_eq!(session.dialogue.next_wake(session.now, true), Some(session.now + until));
    session.after(until).unwrap();
    assert_eq!(session.said(), ["c"]);
    session.after(SECOND).unwrap();
    assert!(failed(session.after(SECOND)).contains("sub"));
}

#[test]
fn then_reconnect_goes_where_url_says_until_an_attempt_there_fails() {
    let keys = [
        ("move.on", "/type == 'reconnect'"),
        ("move.then", "reconnect"),
        ("move.url", "{{/url}}"),
        ("sub.when", "!moved"),
        ("sub.send", "subscribe"),
    ];
    let config = config("connect,sub,move", &keys);
    let mut session = Session::begin_with(&config, Carried::default());
    session.next();
    session.opened().unwrap();
    assert_eq!(session.said(), ["subscribe"]);
    let end = session.hear("{\"type\":\"reconnect\",\"url\":\"wss://other.test/x?y=1\"}");
    assert!(matches!(end, Err(End::Reconnect(_))), "{end:?}");
    let mut session = Session::begin_with(&config, session.dialogue.end(true));
    let Some(Action::Connect(handshake)) = session.next() else { panic!() };
    assert_eq!(handshake.url.as_deref(), Some("wss://other.test/x?y=1"));
    let mut failing = Session::begin_with(&config, session.dialogue.end(false));
    assert_eq!(failing.next(), Some(Action::Connect(Handshake::default())), "the attempt there has failed");
}

#[test]
fn then_fail_fails_the_task_with_the_servers_words() {
    let keys = [("gone.on", "/type == 'revoked'"), ("gone.then", "fail")];
    let mut session = Session::open("connect,gone", &keys);
    assert!(
        matches!(session.hear("{\"type\":\"revoked\",\"why\":\"paid?\"}"), Err(End::Final(why)) if why.contains("paid?"))
    );
}

#[test]
fn then_resubscribe_unsubscribes_and_goes_on_from_the_first_step_that_names_topics() {
    let keys = [
        TOPICS,
        ("login.send", "login"),
        ("sub.send", "sub {{topic}}"),
        ("websocket.subscription.unsubscribe.message", "unsub [{{topics}}]"),
        ("again.on", "/resub exists"),
        ("again.then", "resubscribe"),
    ];
    let mut session = Session::open("connect,login,sub,again", &keys);
    assert_eq!(session.said(), ["login", "sub a", "sub b", "sub c"]);
    session.hear("{\"resub\":1}").unwrap();
    assert_eq!(session.said(), ["unsub [\"a\",\"b\",\"c\"]", "sub a", "sub b", "sub c"]);
}

#[test]
fn a_binary_message_is_given_as_base64() {
    let mut session = Session::open("connect,hi", &[("hi.send", "AQID"), ("hi.send.binary", "true")]);
    assert_eq!(session.next(), Some(Action::Binary(vec![1, 2, 3])));
}

#[test]
fn connect_keeps_headers_of_the_handshakes_answer() {
    let keys = [("connect.capture", "hello=header('x-hello')"), ("hi.send", "{{hello}}")];
    let mut session = Session::open("connect,hi", &keys);
    assert_eq!(session.said(), ["you"]);
}

#[test]
fn headers_and_subprotocols_are_rendered_for_each_handshake() {
    let keys = [
        ("websocket.headers", "X-Fix:1,X-Time:{{now_s()}}"),
        ("websocket.subprotocols", "v1,{{secret.p}}"),
        ("websocket.secret.p", "token"),
    ];
    let mut session = Session::begin("connect", &keys);
    let Some(Action::Connect(handshake)) = session.next() else { panic!() };
    assert_eq!(handshake.headers, [("X-Time".to_owned(), "1".to_owned())]);
    assert_eq!(handshake.subprotocols, Some(vec!["v1".to_owned(), "token".to_owned()]));
}

#[test]
fn every_mistake_is_told_at_once_with_its_option() {
    let keys = [
        ("login.send", "{{nothing}}"),
        ("login.expect", "/event = 'x'"),
        ("login.expct", "/a exists"),
        ("websocket.var.bad", "{{frobnicate(1)}}"),
        ("sub.send", "{{topic}}"),
    ];
    let all = problems("login,connect,sub", &keys);
    let has = |option: &str, why: &str| {
        assert!(all.iter().any(|error| error.contains(option) && error.contains(why)), "{option} {why}: {all:#?}");
    };
    has("websocket.session.login.send", "nothing");
    has("websocket.session.login.send", "after the step connect");
    has("websocket.session.login.expct", "not an option");
    has("websocket.var.bad", "frobnicate");
    has("websocket.subscription.topics", "it is empty, and websocket.session.sub.send names topics");
    assert!(problems("login", &[]).iter().any(|error| error.contains("connect")), "connect is missing");
}

#[test]
fn no_mistake_shows_a_secret() {
    let keys = [("login.send", "hunter2 {{nothing}}"), ("websocket.secret.a b", "hunter2")];
    let all = problems("connect,login", &keys);
    assert!(all.len() >= 2 && all.iter().all(|error| !error.contains("hunter2")), "{all:?}");
}

#[test]
fn heartbeats_and_replies_wait_behind_no_subscription() {
    let keys = [
        TOPICS,
        ("websocket.send.rate", "1/1s"),
        ("sub.send", "{{topic}}"),
        ("ping.on", "/ping exists"),
        ("ping.send", "pong"),
    ];
    let mut session = Session::open("connect,sub,ping", &keys);
    assert_eq!(session.said(), ["a"]);
    session.hear("{\"ping\":1}").unwrap();
    session.after(2 * SECOND).unwrap();
    assert_eq!(session.said(), ["pong"]);
    session.after(2 * SECOND).unwrap();
    assert_eq!(session.said(), ["b"]);
}

#[test]
fn a_request_under_way_holds_no_message_back() {
    let keys = [
        ("fetch.on", "/fetch exists"),
        ("fetch.http", "GET https://api.test/"),
        ("ping.on", "/ping exists"),
        ("ping.send", "pong"),
    ];
    let mut session = Session::open("connect,fetch,ping", &keys);
    session.hear("{\"fetch\":1}").unwrap();
    session.request();
    session.hear("{\"ping\":1}").unwrap();
    assert_eq!(session.said(), ["pong"]);
}

#[test]
fn while_nothing_is_read_heartbeats_go_on_and_no_answer_is_late() {
    let keys = [
        ("beat.every.ms", "1000"),
        ("beat.send", "beat"),
        ("ask.send", "ask"),
        ("ask.expect", "/ok exists"),
        ("ask.timeout.ms", "2500"),
    ];
    let mut session = Session::open("connect,beat,ask", &keys);
    assert_eq!(session.said(), ["ask"]);
    for _ in 0..3 {
        session.now += SECOND;
        session.dialogue.proceed(&Session::moment(session.now), false).unwrap();
        assert_eq!(session.said(), ["beat"]);
    }
    session.dialogue.shift(3 * SECOND);
    session.after(SECOND).unwrap();
    assert!(!session.hear("{\"ok\":1}").unwrap());
}

#[test]
fn a_record_that_asks_for_a_new_connection_is_still_a_record() {
    let keys = [("move.on", "/last exists"), ("move.then", "reconnect"), ("move.drop", "false")];
    let mut session = Session::open("connect,move", &keys);
    let mut found = Found::default();
    let message = "{\"last\":1}";
    session.scanner.as_ref().unwrap().scan(message, &mut found);
    let heard = session.dialogue.message(Some(Scanned::new(message, &found)), &Session::moment(session.now));
    assert!(matches!(heard, (true, Some(End::Reconnect(_)))), "{heard:?}");
}

#[test]
fn a_server_error_of_a_request_is_an_outage() {
    for status in [429, 500, 503] {
        let mut session = Session::begin("token,connect", &[("token.http", "GET https://api.test/")]);
        session.request();
        assert!(matches!(session.answered(status, ""), Err(End::Outage(_))), "{status}");
    }
}

#[test]
fn no_server_leads_out_of_tls() {
    let keys = [("token.http", "GET https://api.test/"), ("token.capture", "url=/url"), ("websocket.url", "{{url}}/x")];
    let mut session = Session::begin("token,connect", &keys);
    session.request();
    assert!(failed(session.answered(200, "{\"url\":\"ws://feed.test\"}")).contains("leave TLS"));
}

#[test]
fn what_an_answer_holds_is_hidden_although_the_answer_is_no_good() {
    let keys = [
        ("token.http", "GET https://api.test/"),
        ("token.expect", "/good exists"),
        ("token.capture", "secret.t=/token"),
        ("login.send", "x"),
        ("login.expect", "/good exists"),
        ("login.fail", "/bad exists"),
        ("login.capture", "secret.u=/token"),
    ];
    let mut session = Session::begin("token,connect", &keys[..3]);
    session.request();
    let why = failed(session.answered(200, "{\"token\":\"swordfish1\"}"));
    assert!(!why.contains("swordfish1") && why.contains("***"), "{why}");
    let mut session = Session::open("connect,login", &keys[3..]);
    let why = failed(session.hear("{\"bad\":1,\"token\":\"swordfish2\"}"));
    assert!(!why.contains("swordfish2") && why.contains("***"), "{why}");
}

#[test]
fn a_signature_that_a_server_repeats_is_hidden() {
    let keys = [
        ("websocket.secret.key", "k3yk3yk3y"),
        ("login.send", "{\"sign\":\"{{hex(hmac_sha256(secret.key, 'x'))}}\"}"),
        ("login.expect", "/ok exists"),
        ("login.fail", "/sign exists"),
    ];
    let mut session = Session::open("connect,login", &keys);
    let sent = session.said().remove(0);
    let why = failed(session.hear(&sent));
    let signature = sent.split('"').nth(3).unwrap();
    assert!(signature.len() == 64 && !why.contains(&signature[..20]), "{why}");
}

#[test]
fn resubscribing_wants_something_to_subscribe_and_a_reason() {
    let all = problems("connect,a", &[("a.send", "x"), ("a.then", "resubscribe")]);
    assert!(all.iter().any(|error| error.contains("websocket.session.a.then") && error.contains(".on")), "{all:?}");
    let all = problems("connect", &[("websocket.idle.action", "resubscribe")]);
    assert!(all.iter().any(|error| error.contains("websocket.idle.action")), "{all:?}");
}

#[test]
fn when_is_asked_for_each_topic_of_a_step_that_names_topic() {
    let keys = [
        TOPICS,
        ("sub.when", "topic != 'b' && !(id exists)"),
        ("sub.send", "{{topic}}"),
        ("sub.expect", "/ack == topic"),
        ("sub.capture", "id=/id"),
        ("sub.timeout.ms", "60000"),
        ("again.on", "/again exists"),
        ("again.then", "resubscribe"),
        ("each.on", "/each exists"),
        ("each.when", "topic == 'c'"),
        ("each.send", "each {{topic}}"),
    ];
    let mut session = Session::open("connect,sub,again,each", &keys);
    assert_eq!(session.said(), ["a", "c"]);
    session.hear("{\"ack\":\"a\",\"id\":1}").unwrap();
    session.hear("{\"again\":1}").unwrap();
    assert_eq!(session.said(), ["c"], "a has its id");
    session.hear("{\"each\":1}").unwrap();
    assert_eq!(session.said(), ["each c"]);
}

#[test]
fn a_step_whose_when_holds_for_no_topic_matches_no_message() {
    let keys = [TOPICS, ("each.on", "/each exists"), ("each.when", "topic == 'd'"), ("each.send", "{{topic}}")];
    let mut session = Session::open("connect,each", &keys);
    assert!(session.hear("{\"each\":1}").unwrap());
}

#[test]
fn then_follows_what_was_sent_without_an_answer() {
    let keys = [TOPICS, ("bye.send", "bye {{topic}}"), ("bye.then", "reconnect")];
    let mut session = Session::begin("connect,bye", &keys);
    session.next();
    assert!(matches!(session.opened(), Err(End::Reconnect(_))));
    assert_eq!(session.said(), ["bye a", "bye b", "bye c"], "all of it is said before");
    let keys =
        [("move.on", "/url exists"), ("move.send", "thanks"), ("move.then", "reconnect"), ("move.url", "{{/url}}")];
    let mut session = Session::open("connect,move", &keys);
    assert!(matches!(session.hear("{\"url\":\"wss://other.test/\"}"), Err(End::Reconnect(_))));
    assert_eq!(session.said(), ["thanks"]);
    assert_eq!(session.dialogue.end(true).moved.as_deref(), Some("wss://other.test/"));
}

#[test]
fn then_follows_the_last_answer_and_url_is_of_the_message_that_began_the_step() {
    let keys = [
        TOPICS,
        ("move.on", "/url exists"),
        ("move.send", "leave {{topic}}"),
        ("move.expect", "/left == topic"),
        ("move.then", "reconnect"),
        ("move.url", "{{/url}}"),
    ];
    let mut session = Session::open("connect,move", &keys);
    session.hear("{\"url\":\"wss://other.test/\"}").unwrap();
    assert_eq!(session.said().len(), 3);
    session.hear("{\"left\":\"b\"}").unwrap();
    session.hear("{\"left\":\"a\"}").unwrap();
    assert!(matches!(session.hear("{\"left\":\"c\"}"), Err(End::Reconnect(_))));
    assert_eq!(session.dialogue.end(true).moved.as_deref(), Some("wss://other.test/"));
}

#[test]
fn then_follows_the_answer_of_a_request_and_url_may_read_it() {
    let keys = [("move.http", "GET https://api.test/"), ("move.then", "reconnect"), ("move.url", "{{/url}}")];
    let mut session = Session::open("connect,move", &keys);
    session.request();
    assert!(matches!(session.answered(200, "{\"url\":\"wss://other.test/\"}"), Err(End::Reconnect(_))));
    assert_eq!(session.dialogue.end(true).moved.as_deref(), Some("wss://other.test/"));
}

#[test]
fn an_on_step_that_sends_nothing_may_wait_for_what_comes_next() {
    let keys = [("pause.on", "/pause exists"), ("pause.expect", "/resume exists"), ("pause.timeout.ms", "3000")];
    let mut session = Session::open("connect,pause", &keys);
    session.hear("{\"pause\":1}").unwrap();
    assert!(session.dialogue.is_ready(), "it holds up nothing");
    session.after(2 * SECOND).unwrap();
    assert!(!session.hear("{\"resume\":1}").unwrap());
    session.after(9 * SECOND).unwrap();
    session.hear("{\"pause\":1}").unwrap();
    assert!(failed(session.after(3 * SECOND)).contains("pause"));
}

#[test]
fn the_handshakes_answer_is_looked_at_as_that_of_a_request() {
    for (key, condition) in [("connect.expect", "status == 200"), ("connect.fail", "header('x-hello') == 'you'")] {
        let mut session = Session::begin("connect", &[(key, condition)]);
        session.next();
        assert!(failed(session.opened()).contains("the step connect"), "{key}");
    }
    let keys = [("connect.fail", "status == 409"), ("connect.fail.final", "/code == 7")];
    let mut session = Session::begin("connect", &keys);
    let mut refusal = |status, body| {
        let answer = HttpAnswer { status, headers: &[], body };
        session.dialogue.refusal(&answer, &Session::moment(session.now))
    };
    assert!(matches!(refusal(409, "taken"), Some(End::Failed(why)) if why.contains("taken")));
    assert!(matches!(refusal(409, "{\"code\":7}"), Some(End::Final(_))));
    assert_eq!(refusal(503, ""), None);
}

#[test]
fn what_the_handshake_cannot_have_is_refused_with_what_to_do() {
    for (key, value, remedy) in [
        ("connect.timeout.ms", "5", "websocket.connection.timeout.ms"),
        ("connect.when", "resuming", "another step"),
        ("connect.send", "x", "another step"),
        ("connect.then", "fail", "another step"),
        ("connect.every.ms", "1000", "another step"),
    ] {
        let all = problems("connect", &[(key, value)]);
        assert!(all.len() == 1 && all[0].contains(key) && all[0].contains(remedy), "{key}: {all:?}");
    }
}

#[test]
fn the_users_keys_of_a_step_that_is_not_in_the_session_are_an_error_and_a_profiles_are_not() {
    let all =
        problems("connect", &[("login.send", "hunter2"), ("websocket.subscription.message", "x"), ("beat.send", "")]);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all.iter().all(|why| why.contains("is not in websocket.session.steps") && !why.contains("hunter2")));
    let given = [("websocket.feed", "kucoin"), ("websocket.session.steps", "token,connect,welcome,subscribe")];
    let given = properties(&[&given[..], &[("websocket.subscription.topics", "/market/ticker:BTC-USDT")]].concat());
    Config::parse(&given).unwrap_or_else(|errors| panic!("beat is the profile's: {errors:?}"));
}

#[test]
fn braces_where_no_template_is_rendered_are_an_error() {
    let all =
        problems("connect", &[("websocket.subscription.topics", "{{secret.t}}"), ("websocket.send.rate", "{{n()}}")]);
    assert_eq!(all.iter().filter(|why| why.contains("cannot be a template")).count(), 2, "{all:?}");
    config("connect", &[("websocket.secret.t", "{{"), ("websocket.auth.token", "{{")]);
}

#[test]
fn captured_variables_live_for_one_connection() {
    let keys = [
        ("hello.expect", "/id exists"),
        ("hello.capture", "id=/id"),
        ("old.when", "id exists"),
        ("old.send", "{{id}}"),
    ];
    let config = config("connect,old,hello", &keys);
    let mut carried = Carried::default();
    for _ in 0..2 {
        let mut session = Session::begin_with(&config, carried);
        session.next();
        session.opened().unwrap();
        assert!(session.said().is_empty(), "id is of another connection");
        session.hear("{\"id\":1}").unwrap();
        carried = session.dialogue.end(true);
    }
}

#[test]
fn what_is_sent_again_is_made_anew() {
    let keys = [
        TOPICS,
        ("websocket.var.id", "{{n()}}"),
        ("sub.send", "{{id}} [{{topics}}]"),
        ("again.on", "/again exists"),
        ("again.then", "resubscribe"),
    ];
    let mut session = Session::open("connect,sub,again", &keys);
    session.hear("{\"again\":1}").unwrap();
    let said = session.said();
    assert!(said[0].starts_with("1 ") && said[1].starts_with("2 "), "{said:?}");
}

#[test]
fn a_declared_variable_is_made_once_for_a_request_and_once_for_a_handshake() {
    let keys = [
        ("websocket.var.id", "{{n()}}"),
        ("token.http", "POST https://api.test/{{id}}"),
        ("token.http.headers", "X-Id:{{id}}"),
        ("token.http.body", "{{id}}"),
        ("websocket.url", "wss://feed.test/?a={{id}}&b={{id}}"),
        ("websocket.headers", "X-Id:{{id}}"),
    ];
    let mut session = Session::begin("token,connect", &keys);
    let request = session.request();
    assert_eq!((request.url.as_str(), request.body.as_deref()), ("https://api.test/1", Some("1")));
    assert_eq!(request.headers[0].1, "1");
    session.answered(200, "").unwrap();
    let Some(Action::Connect(handshake)) = session.next() else { panic!() };
    assert_eq!(handshake.url.as_deref(), Some("wss://feed.test/?a=2&b=2"));
    assert_eq!(handshake.headers[0].1, "2");
}

#[test]
fn a_capture_that_is_missing_leaves_the_variable_unset() {
    let keys = [("see.on", "/see exists"), ("see.capture", "id=/id"), ("see.send", "{{id ?? 'none'}}")];
    let mut session = Session::open("connect,see", &keys);
    session.hear("{\"see\":1,\"id\":7}").unwrap();
    session.hear("{\"see\":1}").unwrap();
    session.hear("{\"see\":1,\"id\":null}").unwrap();
    assert_eq!(session.said(), ["7", "none", "none"]);
}

#[test]
fn the_unsubscription_sees_the_variables_of_its_topic() {
    let keys = [
        TOPICS,
        ("sub.send", "sub {{topic}}"),
        ("sub.expect", "/symbol == topic"),
        ("sub.capture", "chan=/chan"),
        ("websocket.subscription.unsubscribe.message", "unsub {{chan}}"),
        ("again.on", "/again exists"),
        ("again.then", "resubscribe"),
    ];
    let mut session = Session::open("connect,sub,again", &keys);
    session.said();
    for (symbol, chan) in [("b", 2), ("a", 1), ("c", 3)] {
        session.hear(&format!("{{\"symbol\":\"{symbol}\",\"chan\":{chan}}}")).unwrap();
    }
    session.hear("{\"again\":1}").unwrap();
    assert_eq!(session.said()[..3], ["unsub 1", "unsub 2", "unsub 3"]);
}

#[test]
fn an_answer_counts_for_the_oldest_message_that_it_satisfies() {
    let keys = [
        TOPICS,
        ("sub.send", "{{topic}}"),
        ("sub.expect", "/ack exists"),
        ("sub.capture", "id=/ack"),
        ("who.on", "/who exists"),
        ("who.send", "{{topic_of(id, /who)}}"),
    ];
    let mut session = Session::open("connect,sub,who", &keys);
    session.said();
    for ack in 1..=3 {
        session.hear(&format!("{{\"ack\":{ack}}}")).unwrap();
    }
    session.hear("{\"who\":2}").unwrap();
    assert_eq!(session.said(), ["b"]);
}

#[test]
fn answers_that_are_not_sent_are_limited() {
    let mut session = Session::open("connect,pong", &[("pong.on", "/ping exists"), ("pong.send", "{{/ping}}")]);
    for _ in 0..2 {
        (0..MAX_JOBS).for_each(|_| assert_eq!(session.hear(r#"{"ping":1}"#), Ok(false)));
        assert_eq!(session.said().len(), MAX_JOBS);
    }
    (0..MAX_JOBS).for_each(|_| assert_eq!(session.hear(r#"{"ping":1}"#), Ok(false)));
    assert_eq!(failed(session.hear(r#"{"ping":1}"#)), "the step pong: 10000 answers wait to be sent");
    session.said();
    let long = format!(r#"{{"ping":"{}"}}"#, "x".repeat(60_000));
    let heard = (0..100).take_while(|_| session.hear(&long).is_ok()).count();
    assert_eq!(heard, MAX_JOBS_BYTES / 60_000);
}
