//! Finds messages with which the feed says that something is wrong, although the connection stays open.

use serde_json::{Map, Value};

use super::condition::{KIND_NAMES, bare};

/// Fields that only such messages have, if they are not empty. In lower case, without punctuation.
const ERRORS: [&str; 8] = ["error", "errors", "err", "errmsg", "errormsg", "errormessage", "errcode", "errorcode"];
/// Fields that say how a request went.
const STATES: [&str; 3] = ["status", "state", "result"];
/// Fields with a number for that,
const CODES: [&str; 3] = ["code", "retcode", "statuscode"];
/// and with its explanation.
const MESSAGES: [&str; 6] = ["msg", "message", "reason", "retmsg", "description", "detail"];
/// Parts of words in explanations of what is wrong.
const WORDS: [&str; 14] = [
    "denied",
    "error",
    "exceed",
    "expired",
    "fail",
    "forbidden",
    "invalid",
    "limit",
    "missing",
    "not ",
    "reject",
    "unauthorized",
    "unknown",
    "wrong",
];
/// Texts that say that nothing is wrong.
const NONE: [&str; 6] = ["", "false", "no", "none", "null", "ok"];
/// How many elements of an array are looked at.
const MAX_ELEMENTS: usize = 8;
/// The longest text that is compared.
const MAX_TEXT: usize = 1000;

/// The messages that look like errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors {
    pub count: usize,
    /// How many messages were looked at.
    pub of: usize,
    pub first: String,
}

/// Whether a message looks like an error. `value` is its JSON.
pub(super) fn is_error(text: &str, value: Option<&Value>) -> bool {
    match value {
        Some(Value::Object(members)) => is_object_error(members),
        Some(Value::Array(elements)) => {
            elements.iter().take(MAX_ELEMENTS).filter_map(Value::as_object).any(is_object_error)
        }
        Some(_) => false,
        None => text.trim_start().get(..5).is_some_and(|begin| begin.eq_ignore_ascii_case("error")),
    }
}

fn is_object_error(members: &Map<String, Value>) -> bool {
    let explanation = members.iter().find(|(name, _)| MESSAGES.contains(&&*word(name))).and_then(|(_, it)| it.as_str());
    members.iter().any(|(name, value)| {
        let own = word(name);
        let is_named = |names: &[&str]| names.contains(&&*own);
        if is_named(&ERRORS) {
            return is_something(value);
        }
        let text = value.as_str().filter(|text| text.len() <= MAX_TEXT);
        if KIND_NAMES.contains(&name.as_str()) || is_named(&STATES) {
            return text.is_some_and(|text| word(text).contains("error"));
        }
        let is_wrong = |text: &str| WORDS.iter().any(|part| text.to_lowercase().contains(part));
        match (is_named(&CODES), explanation) {
            (true, Some(explanation)) => match code(value) {
                None | Some(0 | 200..300) => false,
                Some(..0 | 400..600 | 4000..5000) => true,
                Some(_) => explanation.len() <= MAX_TEXT && is_wrong(explanation),
            },
            (false, Some(_)) => name == "success" && *value == Value::Bool(false),
            (_, None) => false,
        }
    })
}

/// Whether the value of a field that is named after errors says that there is one.
fn is_something(value: &Value) -> bool {
    match value {
        Value::String(text) => !NONE.contains(&&*text.to_lowercase()) && text.parse::<f64>().is_err(),
        Value::Object(members) => !members.is_empty(),
        Value::Array(elements) => !elements.is_empty(),
        // It may be a measure, such as the error of a sensor.
        Value::Null | Value::Bool(_) | Value::Number(_) => *value == Value::Bool(true),
    }
}

fn code(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn word(name: &str) -> String {
    bare(name).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn is_json_error(value: &Value) -> bool {
        is_error(&value.to_string(), Some(value))
    }

    #[test]
    fn feeds_say_in_many_forms_that_something_is_wrong() {
        for error in [
            json!({"type": "error", "message": "Failed to subscribe", "reason": "X is not a valid product"}),
            json!({"event": "error", "code": "60012", "msg": "Invalid request"}),
            json!({"event": "pusher:error", "data": {"code": 4001}}),
            json!({"type": "subscription_error"}),
            json!({"code": 401, "msg": "who are you?"}),
            json!({"code": "4004", "reason": "gone"}),
            json!({"code": 2, "msg": "Invalid request: unknown variant", "id": 1}),
            json!({"id": 1, "error": {"code": -32602, "message": "Invalid params"}}),
            json!({"error": "no such channel"}),
            json!({"status": "error", "err-code": "bad-request", "err-msg": "invalid topic"}),
            json!({"success": false, "ret_msg": "args error", "op": "subscribe"}),
            json!([{"T": "error", "code": 406, "msg": "connection limit exceeded"}]),
            json!([null, "1", "room", "phx_reply", {"response": {}, "status": "error"}]),
        ] {
            assert!(is_json_error(&error), "{error}");
        }
        assert!(is_error("ERROR: unknown symbol", None) && is_error("error", None));
    }

    #[test]
    fn data_and_acknowledgements_are_no_errors() {
        for data in [
            json!({"type": "trade", "price": 1}),
            json!({"code": 0, "msg": "success", "id": "1"}),
            json!({"code": "200", "message": "ok"}),
            json!({"code": "KRW-BTC", "message": "x"}),
            json!({"code": 7, "message": "a new block"}),
            json!({"code": 404}),
            json!({"error": null, "id": 1, "result": []}),
            json!({"error": 0.02, "errors": [], "temperature": 20.5}),
            json!({"error": "", "err_msg": "OK", "err-code": 0}),
            json!({"error": "0.02", "value": "20.5"}),
            json!({"success": true, "ret_msg": "", "op": "subscribe"}),
            json!({"status": "rejected", "reason": "no funds", "order": 5}),
            json!([[1, 2], "error"]),
            json!("error"),
        ] {
            assert!(!is_json_error(&data), "{data}");
        }
        assert!(!is_error("pong", None) && !is_error("éééé", None));
    }
}
