//! Options of backfill: missing messages are requested over HTTP.

use super::connection::URL;
use super::headers::parse_headers;
use super::resume::{CURSOR, SEQUENCE_ACTION};
use super::values::Values;
use crate::backfill::plan::{BODY, HEADERS, HTTP, NEXT, RECORD, RECORDS};
use crate::backfill::{Plan, Settings};
use crate::config_def::{ConfigError, ConfigKey, Default, Importance, Kind, Width, hide};
use crate::dialogue::{Names, rate};
use crate::endpoint::mask_url;
use crate::feeds::FEED;

const RATE: &str = "websocket.backfill.rate";
const HOLD_MS: &str = "websocket.backfill.hold.ms";

const BASE: ConfigKey = ConfigKey { group: "Backfill", width: Width::Long, ..ConfigKey::BASE };

pub(super) const OPTIONS: &[ConfigKey] = &[
    ConfigKey {
        name: HTTP,
        has_expressions: true,
        importance: Importance::Medium,
        display_name: "Request",
        documentation: "The request that fetches missing records. A template: GET https://…?symbol={{key}}&fromId={{page ?? from}}. It can use key, \
                        from and to of the gap, since (when the message before it was received, in ms), and page.",
        mask: Some(mask_url),
        ..BASE
    },
    ConfigKey {
        name: HEADERS,
        has_expressions: true,
        display_name: "Headers of the request",
        documentation: "Headers of the request, in the form of websocket.headers.",
        mask: Some(hide),
        ..BASE
    },
    ConfigKey {
        name: BODY,
        has_expressions: true,
        display_name: "Body of the request",
        documentation: "Body of the request. A template.",
        mask: Some(hide),
        ..BASE
    },
    ConfigKey {
        name: RECORDS,
        display_name: "Records of an answer",
        documentation: "Where the array of records is in the response: a JSON Pointer, such as /result/trades. An object there is a single record. \
                        Not set: the response is the array.",
        ..BASE
    },
    ConfigKey {
        name: RECORD,
        has_expressions: true,
        display_name: "Form of a record",
        documentation: "A template that makes a live record (after websocket.record.pointer) of a record of the response. It can use the names of \
                        the request. Not set: both have the same form.",
        ..BASE
    },
    ConfigKey {
        name: NEXT,
        has_expressions: true,
        display_name: "Next page",
        documentation: "The page of the next request: an expression over the response, such as header('cb-after') or add(/-1/id, 1). If it has no \
                        value, there is no next request.",
        ..BASE
    },
    ConfigKey {
        name: RATE,
        default: Default::Value("1/1s"),
        width: Width::Medium,
        display_name: "Rate of requests",
        documentation: "How many requests the feed accepts, in the form of websocket.send.rate. A response with status 429 is always obeyed.",
        check: Some(|text| rate::parse(text).map(drop)),
        ..BASE
    },
    ConfigKey {
        name: HOLD_MS,
        kind: Kind::Long,
        default: Default::Value("5000"),
        width: Width::Short,
        display_name: "Wait for the repair (ms)",
        documentation: "How long the records after a gap wait for the missing ones, in milliseconds, so that all are in order. Missing records that \
                        come later are written later. 0: no wait.",
        at_least: Some(0),
        ..BASE
    },
];

/// Compiles the options. Returns `None` if there is no request.
pub(super) fn plan(values: &Values<'_>, names: &Names) -> Result<Option<Plan>, Vec<ConfigError>> {
    let Some(http) = values.non_empty(HTTP) else { return Ok(None) };
    let text = |name| values.non_empty(name).map(str::to_owned);
    let settings = Settings {
        http: http.to_owned(),
        headers: parse_headers(values.text(HEADERS).unwrap_or_default())
            .map_err(|why| vec![values.refuse(HEADERS, why)])?,
        body: text(BODY),
        records: text(RECORDS).unwrap_or_default(),
        record: text(RECORD),
        next: text(NEXT),
        rate: rate::parse(values.text(RATE).unwrap_or_default()).unwrap_or_default(),
        hold: values.millis(HOLD_MS),
    };
    match Plan::compile(&settings, names) {
        Ok(plan) => Ok(Some(plan)),
        Err(problems) => Err(problems.into_iter().map(|(name, problem)| values.refuse(&name, problem)).collect()),
    }
}

/// Checks for options that need another one, or exclude it.
pub(super) fn problems(values: &Values<'_>) -> Vec<ConfigError> {
    let is_set = |name: &str| values.given(name).is_some_and(|text| !text.is_empty());
    let mut errors = Vec::new();
    let mut refuse = |name: &str, why: String| errors.push(values.refuse(name, why));
    // A profile has the request, but only the user knows the server.
    let own = [HEADERS, BODY, RECORDS, RECORD, NEXT, RATE, HOLD_MS];
    for name in own.iter().filter(|name| is_set(name) && values.non_empty(FEED).is_none()) {
        if values.non_empty(HTTP).is_none() {
            refuse(name, format!("{HTTP} must be given too"));
        }
    }
    if values.text(SEQUENCE_ACTION) != Some("backfill") {
        return errors;
    }
    if values.non_empty(HTTP).is_none() {
        refuse(SEQUENCE_ACTION, format!("{HTTP} must be given too"));
    }
    if is_set(CURSOR) {
        let why = "a feed that goes on from a cursor is asked for what is missing by its next connection";
        refuse(SEQUENCE_ACTION, format!("{CURSOR} excludes backfill: {why}"));
    }
    let leaves_tls = values.text(URL).is_some_and(|url| url.starts_with("wss://"))
        && values.text(HTTP).is_some_and(|http| http.contains(" http://"));
    if leaves_tls {
        refuse(HTTP, "its URL would leave TLS, which websocket.url has".to_owned());
    }
    errors
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::config::tests::{errors, properties};

    const REPAIRS: [(&str, &str); 3] = [
        ("websocket.sequence", "{{/n}}"),
        ("websocket.sequence.action", "backfill"),
        ("websocket.backfill.http", "GET https://host/{{key}}?from={{from}}"),
    ];

    #[test]
    fn a_repair_wants_numbers_and_a_request_and_has_defaults() {
        let plan = Config::parse(&properties(&REPAIRS)).unwrap().backfill.unwrap();
        assert_eq!((plan.hold.as_millis(), plan.rate.len()), (5000, 1));
        for (without, words) in [
            ("websocket.sequence", "websocket.sequence must be given too"),
            ("websocket.backfill.http", "websocket.backfill.http must be given too"),
        ] {
            let rest: Vec<_> = REPAIRS.into_iter().filter(|(name, _)| *name != without).collect();
            assert!(errors(&rest).iter().any(|error| error.contains(words)), "{:?}", errors(&rest));
        }
    }

    #[test]
    fn what_cannot_go_together_and_what_does_not_compile_is_refused() {
        for (option, value, words) in [
            ("websocket.cursor", "{{/n}}", "websocket.cursor excludes backfill"),
            ("websocket.backfill.http", "GET http://host/", "would leave TLS"),
            ("websocket.backfill.next", "/next ==", "websocket.backfill.next: column"),
            ("websocket.backfill.rate", "5", "such as 5/1s"),
            ("websocket.backfill.headers", "no colon", "websocket.backfill.headers"),
        ] {
            let errors = errors(&[&REPAIRS[..], &[(option, value)]].concat());
            assert!(errors.iter().any(|error| error.contains(words)), "{option}: {errors:?}");
        }
    }
}
