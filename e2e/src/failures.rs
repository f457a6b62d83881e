//! Every kind of failure of a session that has credentials: a feed that refuses, and repeats what it received. [`Failure::all`] has
//! them; a test plays them on a host and looks for the secrets in what it shows.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use connect_websocket_testkit::{Close, Handshake, Play, Reject, Script, Server, Step};
use serde_json::{Value, json};

use crate::process::wait_until;
use crate::rest::Rest;
use crate::secrets::assert_absent;
use crate::source::source_config;

const WITHIN: Duration = Duration::from_secs(120);

const CLIENT: &str = "c1ient/hush1+5a0c93e1";
const KEY: &str = "k3y/hush2+8d27b64f==";
const SIGN: &str = "sign-hush3-4f9c1d27ab";
/// Given out by the token's server.
const TOKEN: &str = "t0ken/hush4+c60e19d8==";
/// HMAC-SHA256 of `GET/verify` with the key for signatures, as openssl computes it.
const SIGNATURE: &str = "QO3NlZI9a54oPVfgBEviI90+2+x8LCwYvuv4XR83wpM=";
const SECRETS: [&str; 5] = [CLIENT, KEY, SIGN, TOKEN, SIGNATURE];

/// A connector that will fail, and what it talks to.
pub struct Failure {
    /// The connector's name, and its topic.
    pub name: &'static str,
    config: Value,
    /// What its error says beside the server's words.
    words: &'static str,
    tokens: Server,
    feed: Server,
    /// Whether the session comes as far as the log-in.
    logs_in: bool,
}

/// What a server says about one secret in one form.
fn echoes() -> Vec<String> {
    let forms = |secret: &str| [secret.to_owned(), percent_encoded(secret), BASE64.encode(secret)];
    SECRETS.iter().flat_map(|secret| forms(secret)).map(|form| format!("no: {form}")).collect()
}

fn percent_encoded(secret: &str) -> String {
    let encoded = |byte: u8| match byte {
        b'/' | b'+' | b'=' => format!("%{byte:02X}"),
        byte => char::from(byte).to_string(),
    };
    secret.bytes().map(encoded).collect()
}

fn serve(plays: impl IntoIterator<Item = Play>) -> Server {
    Server::start(Script::cycle(plays)).unwrap_or_else(|e| panic!("no server: {e}"))
}

fn answer(status: u16, body: String) -> Play {
    let headers = vec![("X-Told".to_owned(), body.clone())];
    Play::handshake(Handshake::Reject(Reject { status, headers, body }))
}

impl Failure {
    /// Each of them.
    ///
    /// # Panics
    /// If no port can be had.
    pub fn all() -> Vec<Failure> {
        let each = |play: fn(String) -> Play| echoes().into_iter().map(play).collect::<Vec<_>>();
        let logged_in = || Play::accept().expect_text(SIGNATURE).send_text(r#"{"ok":1}"#);
        let all = json!({"told": echoes()}).to_string();
        let refused_token = Failure {
            tokens: serve(each(|told| answer(401, told))),
            logs_in: false,
            ..Failure::new("refused-token", "401", [Play::accept()], &[])
        };
        let refused_handshake =
            Failure { logs_in: false, ..Failure::new("refused-handshake", "403", each(|told| answer(403, told)), &[]) };
        let refused_login =
            each(|told| Play::accept().expect_text(SIGNATURE).send_text(json!({"error": told}).to_string()));
        let closed = each(|reason| {
            let close = Close { code: Some(1008), reason, ..Close::default() };
            Play::accept()
                .expect_text(SIGNATURE)
                .send_text(r#"{"ok":1}"#)
                .send_text(r#"{"data":1}"#)
                .step(Step::Close(close))
        });
        let quick = ("websocket.session.login.timeout.ms", "200");
        let few = ("websocket.reconnect.max.attempts", "2");
        vec![
            refused_token,
            refused_handshake,
            Failure::new("refused-login", "login", refused_login, &[]),
            Failure::new("closed", "1008", closed, &[]),
            Failure::new(
                "wrong-message",
                "websocket.record.pointer",
                [logged_in().send_text(all.clone())],
                &[("websocket.record.pointer.missing", "fail")],
            ),
            Failure::new("no-answer", "no answer came", [Play::accept().send_text(all)], &[quick, few]),
        ]
    }

    /// One that is tried again for ever, so that its task lives on.
    ///
    /// # Panics
    /// If no port can be had.
    pub fn lasting() -> Failure {
        let told = json!({"told": echoes()}).to_string();
        let more = [("websocket.session.login.timeout.ms", "200"), ("websocket.reconnect.max.attempts", "-1")];
        Failure::new("lasting", "", [Play::accept().send_text(told)], &more)
    }

    fn new(
        name: &'static str,
        words: &'static str,
        plays: impl IntoIterator<Item = Play>,
        more: &[(&str, &str)],
    ) -> Failure {
        let tokens = serve([answer(200, json!({"access_token": TOKEN}).to_string())]);
        let feed = serve(plays);
        let attempts = echoes().len().to_string();
        let url = format!("{}?token={{{{secret.token}}}}", feed.url());
        let options = [
            ("websocket.session.steps", "token,connect,login"),
            ("websocket.session.token.http.headers", "Authorization:Basic {{base64('id:' + secret.client)}}"),
            ("websocket.session.token.http.body", r#"{"client_secret":"{{secret.client}}"}"#),
            ("websocket.session.token.capture", "secret.token=/access_token"),
            (
                "websocket.session.login.send",
                r#"{"key":"{{secret.key}}","sign":"{{base64(hmac_sha256(secret.sign, 'GET/verify'))}}"}"#,
            ),
            ("websocket.session.login.expect", "/ok exists"),
            ("websocket.session.login.fail", "/error exists"),
            ("websocket.secret.client", CLIENT),
            ("websocket.secret.key", KEY),
            ("websocket.secret.sign", SIGN),
            ("websocket.record.pointer", "/data"),
            ("websocket.reconnect.interval.ms", "5"),
            ("websocket.reconnect.max.attempts", attempts.as_str()),
            ("websocket.handover.dir", ""),
        ];
        let config = source_config(&url, name, &[&options[..], more].concat());
        Failure { name, config, words, tokens, feed, logs_in: true }
    }

    /// Creates the connector.
    ///
    /// # Panics
    /// If it is refused.
    pub fn create(&self, rest: &Rest) {
        let mut config = self.config.clone();
        config["websocket.session.token.http"] = format!("POST http://{}/token", self.tokens.addr()).into();
        let answer = rest.put_json(&format!("/connectors/{}/config", self.name), &config);
        assert_eq!(answer.status, 201, "{}: {}", self.name, answer.text);
    }

    /// Waits until it has failed, with the credentials having reached the feed.
    ///
    /// # Panics
    /// If it does not, or for another reason.
    pub fn fails(&self, rest: &Rest) {
        let trace = wait_until(&format!("{} to fail", self.name), WITHIN, || {
            let status = rest.get(&format!("/connectors/{}/status", self.name)).json();
            let task = &status["tasks"][0];
            (task["state"] == "FAILED").then(|| task["trace"].as_str().unwrap_or_default().to_owned())
        });
        assert!(trace.contains(self.words), "{} failed without \"{}\": {trace}", self.name, self.words);
        let stats = self.feed.stats();
        let texts: Vec<&String> = stats.connections.iter().flat_map(|connection| &connection.texts).collect();
        let has_all = |text: &&String| text.contains(KEY) && text.contains(SIGNATURE);
        assert_eq!(texts.iter().any(has_all), self.logs_in, "{}: {texts:?}", self.name);
        let asked = stats.requests().any(|request| request.line.contains(&percent_encoded(TOKEN)));
        assert_eq!(asked, self.name != "refused-token", "{}", self.name);
    }

    /// What people see of the connector, beside its configuration.
    pub fn answers(&self, rest: &Rest) -> Vec<(String, String)> {
        let paths =
            ["status", "tasks/0/status", "topics", "offsets"].map(|path| format!("/connectors/{}/{path}", self.name));
        paths.into_iter().map(|path| (path.clone(), rest.get(&path).text)).collect()
    }
}

/// No secret is in these texts, in whatever form.
///
/// # Panics
/// If one is.
pub fn assert_silent(texts: &[(String, String)]) {
    for (place, text) in texts {
        for secret in SECRETS {
            assert_absent(place, text, secret);
        }
    }
}
