//! Compares two answers of the REST API field by field.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::rest::{Answer, Rest};

/// A field that is not the same in two answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Where: `status`, `header location`, or a path in the body such as `$.configs[tasks.max].value.errors`.
    pub at: String,
    /// The value in the first answer; `None`: it is not there.
    pub here: Option<Value>,
    /// The value in the second.
    pub there: Option<Value>,
}

/// Headers that are a part of the API.
const HEADERS: &[&str] = &["content-type", "location", "allow"];

/// Compares two answers, but for what is another with every process: its address, time stamps, stack traces.
pub fn compare(here: (&Answer, &Rest), there: (&Answer, &Rest)) -> Vec<Difference> {
    let [(here, here_text), (there, there_text)] = [here, there].map(|(answer, rest)| (answer, neutral(answer, rest)));
    let mut found = Vec::new();
    differ(&mut found, "status".to_owned(), Some(&here.status.into()), Some(&there.status.into()));
    for name in HEADERS {
        let [here, there] = [(here, &here_text.1), (there, &there_text.1)]
            .map(|(answer, address)| answer.header(name).map(|value| Value::from(value.replace(address, "<address>"))));
        differ(&mut found, format!("header {name}"), here.as_ref(), there.as_ref());
    }
    differ(&mut found, "$".to_owned(), Some(&here_text.0), Some(&there_text.0));
    found
}

/// The body without what is another with every process, and the address that was replaced in it.
fn neutral(answer: &Answer, rest: &Rest) -> (Value, String) {
    let address = rest.base().trim_start_matches("http://").to_owned();
    let text = answer.text.replace(&address, "<address>");
    let mut body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    neutralise(&mut body);
    (body, address)
}

fn neutralise(value: &mut Value) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(neutralise),
        Value::Object(members) => {
            for (key, value) in members.iter_mut() {
                match key.as_str() {
                    "trace" if value.is_string() => *value = "<trace>".into(),
                    "last_modified" if value.is_number() => *value = "<time>".into(),
                    "session_id" if value.is_string() => *value = "<session>".into(),
                    "at" if value.is_number() => *value = "<time>".into(),
                    "sequence" if value.is_number() => *value = "<sequence>".into(),
                    _ => neutralise(value),
                }
            }
        }
        _ => {}
    }
}

fn differ(found: &mut Vec<Difference>, at: String, here: Option<&Value>, there: Option<&Value>) {
    match (here, there) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                differ(found, format!("{at}.{key}"), a.get(key), b.get(key));
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => match (names(a), names(b)) {
            (Some(of_a), Some(of_b)) => {
                let element = |names: &[String], values: &[Value], name: &String| {
                    names.iter().position(|n| n == name).map(|i| values[i].clone())
                };
                for name in of_a.iter().chain(of_b.iter().filter(|name| !of_a.contains(name))) {
                    let [here, there] = [(&of_a, a), (&of_b, b)].map(|(names, values)| element(names, values, name));
                    differ(found, format!("{at}[{name}]"), here.as_ref(), there.as_ref());
                }
                let common = |names: &[String], others: &[String]| -> Value {
                    names.iter().filter(|name| others.contains(name)).cloned().collect()
                };
                differ_whole(found, format!("{at} order"), common(&of_a, &of_b), common(&of_b, &of_a));
            }
            _ if a.len() == b.len() => {
                for (i, (a, b)) in a.iter().zip(b).enumerate() {
                    differ(found, format!("{at}[{i}]"), Some(a), Some(b));
                }
            }
            _ => differ_whole(found, at, Value::from(a.clone()), Value::from(b.clone())),
        },
        _ if here == there => {}
        _ => found.push(Difference { at, here: here.cloned(), there: there.cloned() }),
    }
}

fn differ_whole(found: &mut Vec<Difference>, at: String, here: Value, there: Value) {
    if here != there {
        found.push(Difference { at, here: Some(here), there: Some(there) });
    }
}

/// What the elements of an array are called, if each has a name of its own.
fn names(elements: &[Value]) -> Option<Vec<String>> {
    let name = |element: &Value| {
        // Several types of plugin may be one class.
        if let (Some(class), Some(kind)) = (element["class"].as_str(), element["type"].as_str()) {
            return Some(format!("{class} {kind}"));
        }
        let named = ["/value/name", "/name"].iter().find_map(|at| element.pointer(at)?.as_str());
        named.or(element.as_str()).map(str::to_owned)
    };
    let names: Vec<String> = elements.iter().map(name).collect::<Option<_>>()?;
    (!names.is_empty() && names.iter().collect::<BTreeSet<_>>().len() == names.len()).then_some(names)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{differ, neutralise};

    fn places(here: &Value, there: &Value) -> Vec<String> {
        let mut found = Vec::new();
        differ(&mut found, "$".to_owned(), Some(here), Some(there));
        found.into_iter().map(|difference| difference.at).collect()
    }

    #[test]
    fn members_and_elements_that_differ_or_are_missing_are_named() {
        assert_eq!(
            places(&json!({"a": 1, "b": {"c": [1, 2]}}), &json!({"b": {"c": [1, 3]}, "d": 0})),
            ["$.a", "$.b.c[1]", "$.d"]
        );
        assert_eq!(places(&json!([1]), &json!([1, 2])), ["$"]);
        assert_eq!(places(&json!({"a": null}), &json!({})), ["$.a"]);
    }

    #[test]
    fn named_elements_are_compared_by_name_and_their_order_apart() {
        let here = json!([{"name": "x", "v": 1}, {"name": "y", "v": 2}]);
        let there = json!([{"name": "y", "v": 3}, {"name": "x", "v": 1}]);
        assert_eq!(places(&here, &there), ["$[y].v", "$ order"]);
        assert_eq!(places(&json!(["a", "b"]), &json!(["a"])), ["$[b]"]);
    }

    #[test]
    fn what_every_process_has_of_its_own_is_neutral_but_not_its_absence() {
        let mut value = json!({"trace": "x", "inner": [{"last_modified": 5}, {"last_modified": null}]});
        neutralise(&mut value);
        assert_eq!(value, json!({"trace": "<trace>", "inner": [{"last_modified": "<time>"}, {"last_modified": null}]}));
    }
}
