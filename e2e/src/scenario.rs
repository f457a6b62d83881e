//! Plays REST scenarios: files that list requests in order, with what must come back.
//!
//! ```json
//! {"about": "what the scenario shows",
//!  "steps": [{"id": "create", "method": "POST", "path": "/connectors", "body": {"name": "a", "config": {}},
//!             "expect": {"status": 201, "json": {"name": "a", "type": "<any>"}, "headers": {"location": "<contains:/a>"}},
//!             "connect": {"status": 500}}]}
//! ```
//!
//! | in a step | meaning |
//! |---|---|
//! | `headers` | headers of the request; an empty one is left out |
//! | `body`, `raw` | the body as JSON (with its `Content-Type`, unless `headers` names one) or byte for byte |
//! | `expect` | the answer of `connect-websocket` |
//! | `connect` | the answer of Apache Kafka Connect 4.3.1, standalone, where it is another |
//! | `wait` | `true`: the request is repeated until its answer is as expected, for half a minute at most |
//!
//! | in an expected answer | matches |
//! |---|---|
//! | `<any>` | anything, null included |
//! | `<string>`, `<number>` | any of that type |
//! | `<sentence>` | a text for people: not empty, no trace of Java |
//! | `<contains:x>`, `<regex:x>` | a text that contains x, or in which the expression is found |
//! | an object with the key `<others>` | may have other members |
//! | an object with the only key `<includes>` | an array that has at least these elements |
//! | anything else | itself |
//!
//! `{{name}}` is replaced by a variable everywhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::rest::{Answer, Rest};

const WAIT_WITHIN: Duration = Duration::from_secs(30);

/// Which worker answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// `connect-websocket`.
    Worker,
    /// Apache Kafka Connect, standalone.
    ApacheConnect,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    /// Read by people only.
    #[serde(rename = "about")]
    _about: String,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    id: String,
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "present")]
    body: Option<Value>,
    raw: Option<String>,
    expect: Expected,
    connect: Option<Expected>,
    #[serde(default)]
    wait: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    status: u16,
    #[serde(default, deserialize_with = "present")]
    json: Option<Value>,
    text: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// Distinguishes a JSON null, which is a body, from an absent member.
fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

/// What came of a scenario.
#[derive(Debug)]
pub struct Played {
    /// What was not as expected, one sentence for each step.
    pub wrong: Vec<String>,
    /// What came back.
    pub steps: Vec<PlayedStep>,
}

/// A request and its last answer.
#[derive(Debug, Clone)]
pub struct PlayedStep {
    pub id: String,
    /// Method and path.
    pub request: String,
    /// Whether the scenario says that Connect's answer is another one.
    pub differs: bool,
    pub answer: Answer,
}

/// Plays the scenario file at `path` to its end.
///
/// # Errors
/// If the file cannot be read or is no scenario.
pub fn play(path: &Path, rest: &Rest, host: Host, variables: &[(&str, &str)]) -> Result<Played, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
    let text = variables.iter().fold(text, |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value));
    let scenario: Scenario =
        serde_json::from_str(&text).map_err(|e| format!("{} is no scenario: {e}", path.display()))?;
    let mut played = Played { wrong: Vec::new(), steps: Vec::new() };
    for step in scenario.steps {
        let request = format!("{} {}", step.method, step.path);
        let (answer, result) = match step.play(rest, host) {
            Ok(answered) => answered,
            Err(e) => {
                played.wrong.push(format!("step \"{}\": {request}: no answer: {e}", step.id));
                continue;
            }
        };
        if let Err(difference) = result {
            let Answer { status, text, .. } = &answer;
            played.wrong.push(format!("step \"{}\": {request}: {difference}\n    answer {status}: {text}", step.id));
        }
        played.steps.push(PlayedStep { id: step.id, request, differs: step.connect.is_some(), answer });
    }
    Ok(played)
}

impl Step {
    /// The answer, and whether it was as expected.
    fn play(&self, rest: &Rest, host: Host) -> Result<(Answer, Result<(), String>), ureq::Error> {
        let expected = match (&self.connect, host) {
            (Some(connect), Host::ApacheConnect) => connect,
            _ => &self.expect,
        };
        let body = self.raw.clone().or_else(|| self.body.as_ref().map(Value::to_string));
        let mut headers: Vec<(&str, &str)> = self.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        if body.is_some() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            headers.push(("Content-Type", "application/json"));
        }
        headers.retain(|(_, value)| !value.is_empty());
        let start = Instant::now();
        loop {
            let answer = rest.try_send(&self.method, &self.path, &headers, body.as_deref())?;
            let result = expected.compare(&answer);
            if result.is_ok() || !self.wait || start.elapsed() > WAIT_WITHIN {
                return Ok((answer, result));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Expected {
    fn compare(&self, answer: &Answer) -> Result<(), String> {
        if answer.status != self.status {
            return Err(format!("status {} instead of {}", answer.status, self.status));
        }
        for (name, expected) in &self.headers {
            let actual = answer.header(name).map_or(Value::Null, Value::from);
            matches(&Value::from(expected.as_str()), &actual, &format!("header {name}"))?;
        }
        if let Some(expected) = &self.text {
            matches(&Value::from(expected.as_str()), &Value::from(answer.text.as_str()), "text")?;
        }
        if let Some(expected) = &self.json {
            let actual: Value = serde_json::from_str(&answer.text).map_err(|e| format!("no JSON ({e})"))?;
            matches(expected, &actual, "$")?;
        }
        Ok(())
    }
}

/// Compares a value with what is expected at `at`; the error names the first place that differs.
fn matches(expected: &Value, actual: &Value, at: &str) -> Result<(), String> {
    let differs = || Err(format!("{at} is {actual} instead of {expected}"));
    match (expected, actual) {
        (Value::String(matcher), _) if is_matched(matcher, actual)? => Ok(()),
        (Value::Object(expected), _) if expected.len() == 1 && expected.contains_key(INCLUDES) => {
            let (Some(wanted), Some(elements)) = (expected[INCLUDES].as_array(), actual.as_array()) else {
                return differs();
            };
            let absent = wanted.iter().find(|wanted| !elements.iter().any(|e| matches(wanted, e, at).is_ok()));
            absent.map_or(Ok(()), |absent| Err(format!("{at} has no element like {absent}")))
        }
        (Value::Object(expected), Value::Object(members)) => {
            let open = expected.contains_key(OTHERS);
            for (key, value) in expected.iter().filter(|(key, _)| *key != OTHERS) {
                let actual = members.get(key).ok_or_else(|| format!("{at}.{key} is missing"))?;
                matches(value, actual, &format!("{at}.{key}"))?;
            }
            match members.keys().find(|key| !expected.contains_key(*key)) {
                Some(key) if !open => Err(format!("{at}.{key} is not expected")),
                _ => Ok(()),
            }
        }
        (Value::Array(expected), Value::Array(elements)) if expected.len() == elements.len() => expected
            .iter()
            .zip(elements)
            .enumerate()
            .try_for_each(|(i, (expected, actual))| matches(expected, actual, &format!("{at}[{i}]"))),
        _ if expected == actual => Ok(()),
        _ => differs(),
    }
}

const OTHERS: &str = "<others>";
const INCLUDES: &str = "<includes>";

/// Whether `matcher`, if it is one, accepts `actual`. A text that is no matcher accepts nothing here.
fn is_matched(matcher: &str, actual: &Value) -> Result<bool, String> {
    let text = actual.as_str();
    let argument = |prefix: &str| matcher.strip_prefix(prefix)?.strip_suffix('>');
    Ok(match matcher {
        "<any>" => true,
        "<string>" => actual.is_string(),
        "<number>" => actual.is_number(),
        "<sentence>" => text.is_some_and(is_sentence),
        _ => {
            if let Some(part) = argument("<contains:") {
                text.is_some_and(|text| text.contains(part))
            } else if let Some(expression) = argument("<regex:") {
                let regex = Regex::new(expression).map_err(|e| format!("the scenario has a bad expression: {e}"))?;
                text.is_some_and(|text| regex.is_match(text))
            } else {
                false
            }
        }
    })
}

fn is_sentence(text: &str) -> bool {
    !text.trim().is_empty() && !["java", "org.apache", "Exception", "jackson"].iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Scenario, matches};

    fn differs(expected: Value, actual: Value) -> String {
        matches(&expected, &actual, "$").expect_err("they should differ")
    }

    #[test]
    fn objects_match_whatever_their_order_but_not_with_more_or_fewer_members() {
        assert_eq!(matches(&json!({"a": 1, "b": [2]}), &json!({"b": [2], "a": 1}), "$"), Ok(()));
        assert_eq!(differs(json!({"a": 1}), json!({"a": 1, "b": 2})), "$.b is not expected");
        assert_eq!(differs(json!({"a": 1}), json!({})), "$.a is missing");
        assert_eq!(differs(json!({"a": [1, {"b": 2}]}), json!({"a": [1, {"b": 3}]})), "$.a[1].b is 3 instead of 2");
        assert_eq!(matches(&json!({"a": 1, "<others>": true}), &json!({"a": 1, "b": 2}), "$"), Ok(()));
    }

    #[test]
    fn matchers_accept_their_kind_only() {
        for (expected, good, bad) in [
            ("<string>", json!("x"), json!(1)),
            ("<number>", json!(1.5), json!("1.5")),
            ("<contains:ab>", json!("cabd"), json!("acb")),
            ("<regex:^a+$>", json!("aaa"), json!("aab")),
            ("<sentence>", json!("name is missing"), json!("java.lang.NullPointerException")),
            ("<sentence>", json!("name is missing"), json!("")),
        ] {
            assert_eq!(matches(&json!(expected), &good, "$"), Ok(()), "{expected}");
            assert!(matches(&json!(expected), &bad, "$").is_err(), "{expected}");
        }
        assert_eq!(matches(&json!("<any>"), &Value::Null, "$"), Ok(()));
    }

    #[test]
    fn array_that_includes_elements_may_have_others() {
        let expected = json!({"<includes>": [{"a": "<any>"}, 3]});
        assert_eq!(matches(&expected, &json!([3, {"a": 1}, 4]), "$"), Ok(()));
        assert!(differs(expected, json!([{"a": 1}])).contains("no element like 3"));
    }

    #[test]
    fn null_body_is_a_body() {
        let text = r#"{"about": "", "steps": [{"id": "", "method": "POST", "path": "/", "body": null, "expect": {"status": 400}}]}"#;
        let scenario: Scenario = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(scenario.steps[0].body, Some(Value::Null));
    }
}
