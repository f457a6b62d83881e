//! A session in words: what is sent and awaited, in order. `feeds` and `validate` print it. It does not contain the
//! texts of messages, which may be secret.

use crate::config_def::Properties;

const CONNECT: &str = "connect";
const SUBSCRIBE: &str = "subscribe";
/// How long a step waits by default.
const TIMEOUT_MS: &str = "10000";

/// Returns a sentence for each step of the effective configuration.
pub fn session(options: &Properties) -> Vec<String> {
    let step = |name: &str| Step { options, name: name.to_owned() }.in_words();
    steps(options).iter().map(|name| step(name)).collect()
}

/// Whether a new connection continues where the last one stopped.
pub fn resumes(options: &Properties) -> &'static str {
    let given = |name| options.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
    match (given("websocket.cursor"), given("websocket.resume.variables")) {
        (None, None) => "no",
        // Secrets are not stored.
        (_, Some(variables)) if variables.split(',').any(|name| name.trim().starts_with("secret.")) => {
            "yes, except after a restart"
        }
        _ => "yes",
    }
}

/// Whether messages are acknowledged to the feed.
pub fn acknowledges(options: &Properties) -> &'static str {
    let has = |word: &str| options.keys().any(|key| key.starts_with("websocket.session.") && key.ends_with(word));
    if has(".on.commit") { "yes, when Kafka has them" } else { "no" }
}

/// Whether missing messages are counted.
pub fn counts_gaps(options: &Properties) -> &'static str {
    let is = |name, expected: &dyn Fn(&str) -> bool| options.get(name).is_some_and(|text| expected(text.trim()));
    match is("websocket.sequence", &|text| !text.is_empty()) {
        false => "no",
        true if is("websocket.sequence.holes", &|text| text == "legal") => {
            "no, only a number that goes back is reported"
        }
        true if is("websocket.sequence.holes", &|text| text == "reconnect") => "no, but they can be fetched",
        true if is("websocket.backfill.rate", &|text| !text.is_empty()) => "yes, and they can be fetched",
        true => "yes",
    }
}

fn steps(options: &Properties) -> Vec<String> {
    let listed = options.get("websocket.session.steps").map_or("", |steps| steps.trim());
    if !listed.is_empty() {
        return listed.split(',').map(|step| step.trim().to_owned()).collect();
    }
    let has_subscription = options.get("websocket.subscription.message").is_some_and(|message| !message.is_empty());
    [CONNECT, SUBSCRIBE].iter().take(if has_subscription { 2 } else { 1 }).map(|step| (*step).to_owned()).collect()
}

/// Returns a URL without what may be secret: user info, and values of the query that are not templates.
fn shown(url: &str) -> String {
    let (base, query) = url.split_once('?').map_or((url, None), |(base, query)| (base, Some(query)));
    let base = match base.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
        Some((scheme, host)) => format!("{scheme}://***@{host}"),
        None => base.to_owned(),
    };
    let Some(query) = query else { return base };
    let part = |part: &str| match part.split_once('=') {
        Some((_, value)) if value.contains("{{") => part.to_owned(),
        Some((name, _)) => format!("{name}=***"),
        None => "***".to_owned(),
    };
    format!("{base}?{}", query.split('&').map(part).collect::<Vec<_>>().join("&"))
}

struct Step<'a> {
    options: &'a Properties,
    name: String,
}

impl<'a> Step<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        let own = self.options.get(&format!("websocket.session.{}.{key}", self.name));
        let short =
            self.options.get("websocket.subscription.message").filter(|_| self.name == SUBSCRIBE && key == "send");
        own.or(short).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    fn in_words(&self) -> String {
        let parts = [self.connect(), self.request(), self.send(), self.expect(), self.keep(), self.then()];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let done = if parts.is_empty() { "write no record".to_owned() } else { parts.join(", ") };
        let when = [
            self.get("when").map(|condition| format!("if {condition}")),
            self.get("on").map(|condition| format!("whenever a message matches {condition}")),
            self.get("on.commit")
                .map(|condition| format!("when Kafka has the records of a message that matches {condition}")),
            self.get("every.ms").map(|interval| format!("every {}", time(interval))),
        ];
        let when: Vec<String> = when.into_iter().flatten().collect();
        let sentence = if when.is_empty() { done } else { format!("{}: {done}", when.join(", ")) };
        let refused = self.get("fail").map_or(String::new(), |condition| format!("; the attempt fails if {condition}"));
        let failed =
            self.get("fail.final").map_or(String::new(), |condition| format!("; the task fails if {condition}"));
        format!("{sentence}{refused}{failed}")
    }

    fn connect(&self) -> Option<String> {
        let url = self.options.get("websocket.url").map_or("the address in websocket.url", |url| url.trim());
        (self.name == CONNECT).then(|| format!("connect to {}", shown(url)))
    }

    fn request(&self) -> Option<String> {
        let request = self.get("http")?;
        let each = self.of_topics(&["http", "http.body", "http.headers"]);
        let cached = self.get("http.cache").map_or(String::new(), |time| format!(", once for {time}"));
        let captured = self.get("capture").map_or(String::new(), |captures| format!(" → {}", names(captures)));
        Some(format!("{each}{}{captured}{cached}", shown(request)))
    }

    fn send(&self) -> Option<String> {
        self.get("send")?;
        Some(format!("{}send a message", self.of_topics(&["send"])))
    }

    /// Returns how often a message is sent: once for each topic, or for several together.
    fn of_topics(&self, keys: &[&str]) -> &'static str {
        let texts = || keys.iter().filter_map(|key| self.get(key));
        if texts().any(|text| mentions(text, "topics")) {
            let batches = self.options.contains_key("websocket.subscription.batch.size");
            return if batches { "for each batch of topics " } else { "for all topics at once " };
        }
        if texts().any(|text| mentions(text, "topic")) { "for each topic " } else { "" }
    }

    fn expect(&self) -> Option<String> {
        let condition = self.get("expect")?;
        let limit = time(self.get("timeout.ms").unwrap_or(TIMEOUT_MS));
        let each = if self.get("count") == Some("topics") { " for each topic" } else { "" };
        Some(format!("wait up to {limit}{each} for {condition}"))
    }

    /// Returns what later steps use from a message. What they use from an HTTP response is shown with its request.
    fn keep(&self) -> Option<String> {
        let captures = self.get("capture").filter(|_| self.get("http").is_none())?;
        Some(format!("keep {}", names(captures)))
    }

    fn then(&self) -> Option<String> {
        let target = self.get("url").map_or(String::new(), |url| format!(" to {url}"));
        let action = match self.get("then")? {
            "reconnect" => "reconnect",
            "rotate" => "open the next connection, then close this one",
            "resubscribe" => "subscribe again",
            "fresh" => "forget the position and reconnect",
            "fail" => "fail the task",
            other => other,
        };
        Some(format!("{action}{target}"))
    }
}

/// Whether a template uses this variable.
fn mentions(template: &str, variable: &str) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    template
        .split("{{")
        .skip(1)
        .filter_map(|rest| rest.split("}}").next())
        .any(|expression| expression.split(|c| !is_of_name(c)).any(|word| word == variable))
}

/// Returns the names in a list of captures.
fn names(captures: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for part in captures.split(',') {
        let name = part.split_once('=').map_or("", |(name, _)| name.trim());
        if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.') {
            names.push(name);
        }
    }
    names.join(", ")
}

/// Returns milliseconds in words. A template stays as it is.
fn time(ms: &str) -> String {
    match ms.parse::<u64>() {
        Ok(ms) if ms >= 1000 && ms.is_multiple_of(1000) => format!("{} s", ms / 1000),
        _ => format!("{ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn of(pairs: &[(&str, &str)]) -> Vec<String> {
        session(&options(pairs))
    }

    #[test]
    fn what_a_feed_resumes_by_may_be_stored_or_not() {
        let resumes_of = |pairs: &[(&str, &str)]| resumes(&options(pairs));
        assert_eq!(resumes_of(&[("websocket.cursor", "")]), "no");
        assert_eq!(resumes_of(&[("websocket.cursor", "{{/s}}"), ("websocket.resume.variables", "sid,url")]), "yes");
        assert_eq!(resumes_of(&[("websocket.resume.variables", "a, secret.key")]), "yes, except after a restart");
    }

    #[test]
    fn missing_messages_are_counted_where_numbers_have_no_holes() {
        let counts = |pairs: &[(&str, &str)]| counts_gaps(&options(pairs));
        let sequence = ("websocket.sequence", "{{/s}}");
        assert_eq!((counts(&[]), counts(&[sequence])), ("no", "yes"));
        assert_eq!(
            counts(&[sequence, ("websocket.sequence.holes", "legal")]),
            "no, only a number that goes back is reported"
        );
        let history = ("websocket.backfill.rate", "1/1s");
        assert_eq!(counts(&[sequence, history]), "yes, and they can be fetched");
        let leaves_out = ("websocket.sequence.holes", "reconnect");
        assert_eq!(counts(&[sequence, history, leaves_out]), "no, but they can be fetched");
    }

    #[test]
    fn a_plain_configuration_connects_and_subscribes() {
        let url = ("websocket.url", "wss://host/feed?key=secret");
        assert_eq!(of(&[url]), ["connect to wss://host/feed?key=***"]);
        assert_eq!(of(&[url, ("websocket.subscription.message", "hello")])[1], "send a message");
    }

    #[test]
    fn steps_say_when_they_run_what_they_do_and_what_they_wait_for() {
        let words = session(&super::super::Profile::named("kucoin").unwrap().options);
        assert_eq!(
            words,
            [
                "POST https://api.kucoin.com/api/v1/bullet-public → endpoint, secret.token, interval, \
                 wait up to 10 s for status == 200 && /code == '200000'",
                "connect to {{endpoint}}?token={{secret.token}}&connectId={{uuid()}}",
                "wait up to 10 s for /type == 'welcome'; the attempt fails if /type == 'error'",
                "for each topic send a message, wait up to 10 s for /type == 'ack'; the attempt fails if /type == 'error'",
                "every {{interval}} ms: send a message, wait up to 10 s for /type == 'pong'",
            ]
        );
    }

    #[test]
    fn what_happens_whenever_something_comes_is_said_too() {
        let words = session(&super::super::Profile::named("okx").unwrap().options);
        assert_eq!(
            words[1],
            "for each batch of topics send a message, wait up to 10 s for each topic for /event == 'subscribe'; \
                              the attempt fails if /event == 'error'"
        );
        assert_eq!(words[3], "whenever a message matches /event == 'notice' && /code == '64008': reconnect");
        let words = session(&super::super::Profile::named("htx").unwrap().options);
        assert_eq!(words[2], "whenever a message matches /ping exists: send a message");
    }

    #[test]
    fn no_message_is_shown() {
        let words = of(&[
            ("websocket.session.steps", "connect,login"),
            ("websocket.session.login.send", r#"{"key":"hunter2"}"#),
        ]);
        assert!(!words.concat().contains("hunter2"), "{words:?}");
    }

    #[test]
    fn an_address_shows_no_secret() {
        assert_eq!(
            shown("wss://u:p@host/x?token=abc&k={{secret.k}}&lone"),
            "wss://***@host/x?token=***&k={{secret.k}}&***"
        );
        assert_eq!(shown("GET https://api.test/x"), "GET https://api.test/x");
    }
}
