//! A small client of Kafka Connect's REST API.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::{Method, Request};

use crate::process::wait_until;

/// Connect itself gives up a request after 90 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(100);

/// The REST API at one address.
#[derive(Debug, Clone)]
pub struct Rest {
    agent: Agent,
    base: String,
    /// Held by the request that is under way, where there may be one only.
    turn: Option<Arc<Mutex<()>>>,
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// If it isn't JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|e| panic!("the answer with status {} is not JSON ({e}): {}", self.status, self.text))
    }

    /// The first header of this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl Rest {
    /// The API below `base`, such as `http://127.0.0.1:8083`.
    pub fn new(base: &str) -> Rest {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(ANSWER_WITHIN))
            // The worker may be another one by the next request.
            .max_idle_connections(0)
            .build()
            .new_agent();
        Rest { agent, base: base.trim_end_matches('/').to_owned(), turn: None }
    }

    /// Sends one request after another, whoever asks for them.
    #[must_use]
    pub fn one_at_a_time(mut self) -> Rest {
        self.turn = Some(Arc::default());
        self
    }

    /// The address this client was made for.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// GET `path`, which begins with `/`.
    ///
    /// # Panics
    /// If there is no answer, as for all requests.
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None)
    }

    /// PUT `path` without a body, as pause, resume and stop want it.
    pub fn put(&self, path: &str) -> Answer {
        self.send("PUT", path, &[], None)
    }

    /// PUT `path` with a JSON body.
    pub fn put_json(&self, path: &str, body: &Value) -> Answer {
        self.send_json("PUT", path, body)
    }

    /// POST `path` without a body, as restart wants it.
    pub fn post(&self, path: &str) -> Answer {
        self.send("POST", path, &[], None)
    }

    /// POST `path` with a JSON body.
    pub fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.send_json("POST", path, body)
    }

    /// PATCH `path` with a JSON body.
    pub fn patch_json(&self, path: &str, body: &Value) -> Answer {
        self.send_json("PATCH", path, body)
    }

    /// DELETE `path`.
    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], None)
    }

    /// Any request; the body goes out byte for byte.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Answer {
        self.try_send(method, path, headers, body)
            .unwrap_or_else(|e| panic!("{method} {}{path}: no answer: {e}", self.base))
    }

    /// As [`Rest::send`], for moments in which the worker may be away.
    ///
    /// # Errors
    /// If no answer came: refused, reset, timed out.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<Answer, ureq::Error> {
        let method =
            Method::from_bytes(method.as_bytes()).unwrap_or_else(|e| panic!("{method} is no HTTP method: {e}"));
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let _turn = self.turn.as_ref().map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner));
        let response = match body {
            Some(body) => self.agent.run(request.body(body.to_owned()).map_err(ureq::Error::Http)?)?,
            None => self.agent.run(request.body(()).map_err(ureq::Error::Http)?)?,
        };
        let (parts, mut body) = response.into_parts();
        let headers = parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        Ok(Answer { status: parts.status.as_u16(), headers: headers.collect(), text: body.read_to_string()? })
    }

    /// Creates or changes a connector by PUT and waits until it is RUNNING.
    ///
    /// # Panics
    /// If it is refused or doesn't get there within half a minute.
    pub fn put_connector(&self, name: &str, config: &Value) {
        let answer = self.put_json(&format!("/connectors/{name}/config"), config);
        assert!(
            matches!(answer.status, 200 | 201),
            "connector {name} was refused with {}: {}",
            answer.status,
            answer.text
        );
        self.wait_state(name, "RUNNING", Duration::from_secs(30));
    }

    /// Waits until the connector and all its tasks (at least one, except when STOPPED) are in `state`.
    ///
    /// # Panics
    /// If they aren't after `within`; the message shows the last status.
    pub fn wait_state(&self, connector: &str, state: &str, within: Duration) {
        let path = format!("/connectors/{connector}/status");
        let mut last = String::from("no answer");
        let reached = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(&format!("connector {connector} to be {state}"), within, || {
                let answer = self.try_send("GET", &path, &[], None).ok()?;
                last.clone_from(&answer.text);
                (answer.status == 200 && is_in_state(&answer.json(), state)).then_some(())
            });
        }));
        if reached.is_err() {
            panic!("connector {connector} was not {state} within {within:?}; its status was {last}");
        }
    }

    /// The sum of all samples of a Prometheus metric on `/metrics` whose labels include `labels`; `None` when there is
    /// no such sample.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let text = self.get("/metrics").text;
        let matching = text.lines().filter_map(|line| sample(line, name, labels));
        matching.reduce(|sum, value| sum + value)
    }

    fn send_json(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.send(method, path, &[("Content-Type", "application/json")], Some(&body.to_string()))
    }
}

fn is_in_state(status: &Value, state: &str) -> bool {
    let tasks = status["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let tasks_agree = if state == "STOPPED" {
        tasks.is_empty()
    } else {
        !tasks.is_empty() && tasks.iter().all(|task| task["state"] == state)
    };
    status["connector"]["state"] == state && tasks_agree
}

/// The value of one line of the Prometheus text format, if it is a sample of `name` with `labels`.
fn sample(line: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let (own, value) = match rest.strip_prefix('{') {
        Some(rest) => rest.rsplit_once("} ")?,
        None => ("", rest.strip_prefix(' ')?),
    };
    let own = format!(",{own}");
    let all = labels.iter().all(|(key, value)| own.contains(&format!(",{key}=\"{value}\"")));
    // A time stamp may follow the value.
    all.then(|| value.split(' ').next()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{is_in_state, sample};

    #[test]
    fn sample_is_found_by_name_and_labels() {
        let line = r#"gaps_total{connector="a",cause="restart"} 2"#;
        assert_eq!(sample(line, "gaps_total", &[("cause", "restart")]), Some(2.0));
        assert_eq!(sample(line, "gaps_total", &[("cause", "close")]), None);
        assert_eq!(sample(line, "gaps", &[]), None);
        assert_eq!(sample("up 1 1700000000000", "up", &[]), Some(1.0));
    }

    #[test]
    fn running_needs_a_task_and_stopped_needs_none() {
        let status = |state: &str, tasks: serde_json::Value| json!({"connector": {"state": state}, "tasks": tasks});
        assert!(is_in_state(&status("RUNNING", json!([{"state": "RUNNING"}])), "RUNNING"));
        assert!(!is_in_state(&status("RUNNING", json!([])), "RUNNING"));
        assert!(!is_in_state(&status("RUNNING", json!([{"state": "FAILED"}])), "RUNNING"));
        assert!(is_in_state(&status("STOPPED", json!([])), "STOPPED"));
    }
}
