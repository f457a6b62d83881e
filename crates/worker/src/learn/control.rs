//! Finds messages without data: acknowledgements, heartbeats, welcome messages. Their own words say what they are.

use std::collections::BTreeMap;

use super::condition::{Side, bare, names_kind, telling_apart};
use super::field::{Origin, literal};
use super::table::{Column, EMPTY, Table};
use super::{About, Certainty, Finding, in_of};

/// The words of such messages, in lower case and without punctuation.
const WORDS: [&str; 34] = [
    "ack",
    "auth",
    "authenticated",
    "authok",
    "authrequired",
    "authsuccess",
    "confirmsubscription",
    "connected",
    "connectionack",
    "connectionestablished",
    "error",
    "heartbeat",
    "heartbeats",
    "hb",
    "hello",
    "info",
    "keepalive",
    "login",
    "phxreply",
    "ping",
    "pong",
    "ready",
    "sessionkeepalive",
    "sessionwelcome",
    "status",
    "subscribe",
    "subscribed",
    "subscription",
    "subscriptions",
    "subscriptionstatus",
    "subscriptionsucceeded",
    "success",
    "systemstatus",
    "welcome",
];
/// Fields that only such messages have.
const FIELDS: [&str; 9] =
    ["ping", "pong", "subbed", "unsubbed", "heartbeat", "connect", "subscribe", "subscribed", "unsubscribe"];
/// The longest text that is such a message, if other messages are JSON.
const MAX_TEXT: usize = 32;
/// The most kinds of messages that a condition names.
const MAX_NAMED: usize = 8;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Data,
    /// An acknowledgement, a heartbeat or the like.
    Control,
    /// The configuration makes no record of it.
    Out,
}

/// What each row is, and how control messages are recognised.
pub(super) struct Controls {
    pub(super) roles: Vec<Role>,
    named: BTreeMap<String, usize>,
}

impl Controls {
    /// Finds them among the messages that are records or contain some.
    pub(super) fn find(messages: &Table, are_records: &[bool]) -> Controls {
        let role = |is_record: &bool| if *is_record { Role::Data } else { Role::Out };
        let outside = Controls { roles: are_records.iter().map(role).collect(), named: BTreeMap::new() };
        let mut controls = Controls { roles: outside.roles.clone(), named: BTreeMap::new() };
        for column in &messages.columns {
            controls.look(column);
        }
        controls.answers(messages);
        for (row, shape) in messages.shapes.iter().enumerate() {
            if *shape == EMPTY {
                controls.add(row, || "a message without fields".to_owned());
            }
        }
        if controls.data() == 0 {
            // If a feed has no other messages, these are its data.
            return Controls { named: controls.named, ..outside };
        }
        controls
    }

    fn look(&mut self, column: &Column) {
        let field = &column.field;
        let is_kind = field.depth <= 2 && (names_kind(field) || field.place.is_some() && field.depth == 1);
        let is_field = field.depth == 1 && FIELDS.contains(&field.name.as_str());
        let is_odd_text = field.origin == Origin::Text && column.values.len() * 2 < self.roles.len();
        for (row, datum) in &column.values {
            let says = match datum.text() {
                Some(text) if is_odd_text => (text.len() <= MAX_TEXT).then_some(text),
                // A notification of JSON-RPC.
                Some("subscription") if field.name == "method" => None,
                Some(text) if is_kind => is_control(text).then_some(text),
                _ => None,
            };
            match says {
                Some(text) => {
                    self.add(*row, || literal(text).map_or_else(|| field.to_string(), |text| format!("{field} {text}")))
                }
                None if is_field => self.add(*row, || field.to_string()),
                None => {}
            }
        }
    }

    /// Whether it is an answer like those of JSON-RPC: `id` with `result` or `error`, and no method.
    fn answers(&mut self, messages: &Table) {
        let of = |name: &str| {
            let column = messages.columns.iter().find(|column| column.field.depth == 1 && column.field.name == name);
            column.map_or_else(|| vec![None; messages.rows()], |column| column.by_row(messages.rows()))
        };
        let (ids, results, errors, methods) = (of("id"), of("result"), of("error"), of("method"));
        for row in 0..messages.rows() {
            let is_answer = results[row].is_some() || errors[row].is_some();
            if ids[row].is_some() && is_answer && methods[row].is_none() {
                self.add(row, || "an answer with /id".to_owned());
            }
        }
    }

    fn add(&mut self, row: usize, name: impl FnOnce() -> String) {
        if self.roles[row] != Role::Data {
            return;
        }
        self.roles[row] = Role::Control;
        let name = name();
        if self.named.len() < MAX_NAMED || self.named.contains_key(&name) {
            *self.named.entry(name).or_default() += 1;
        }
    }

    fn count(&self, role: Role) -> usize {
        self.roles.iter().filter(|own| **own == role).count()
    }

    /// Returns how many messages have data.
    pub(super) fn data(&self) -> usize {
        self.count(Role::Data)
    }

    /// Returns for each message whether it has no data.
    pub(super) fn are_no_data(&self) -> Vec<bool> {
        self.roles.iter().map(|role| *role != Role::Data).collect()
    }

    /// Returns whether there are some, and data too.
    pub(super) fn are_some(&self) -> bool {
        self.count(Role::Control) > 0
    }

    /// Returns the finding: how to keep them out of the topic. `are_skipped`: they have no record at the configured
    /// pointer.
    pub(super) fn finding(&self, messages: &Table, are_skipped: bool, in_envelope: bool) -> Option<Finding> {
        if self.named.is_empty() {
            return None;
        }
        let (controls, data) = (self.count(Role::Control), self.data());
        let named: Vec<String> =
            self.named.iter().map(|(name, count)| format!("{name} ({})", super::count(*count))).collect();
        let named = named.join(", ");
        if controls == 0 {
            let says = format!(
                "All messages look like acknowledgements, heartbeats and the like, {}: {named}. Many feeds send nothing \
                 else without a subscription (--subscribe).",
                in_of(data, data, "messages")
            );
            return Some(Finding::new(About::Control, Certainty::Possible, says));
        }
        let says = format!(
            "Acknowledgements, heartbeats and the like {}: {named}.",
            in_of(controls, controls + data, "messages"),
        );
        if are_skipped {
            let says =
                format!("{says} They have nothing where websocket.record.pointer looks, so they are not records.");
            return Some(Finding::new(About::Control, Certainty::Likely, says));
        }
        let side = |role: &Role| match role {
            Role::Data => Side::Wanted,
            Role::Control => Side::Unwanted,
            Role::Out => Side::Either,
        };
        let sides: Vec<Side> = self.roles.iter().map(side).collect();
        let finding = Finding::new(About::Control, Certainty::Likely, says);
        Some(match telling_apart(messages, &sides) {
            Some(condition) if in_envelope => {
                finding.line("websocket.record.filter", condition.of_envelope().to_string())
            }
            Some(condition) => finding.line("websocket.record.filter", condition.to_string()),
            None => {
                finding.caveat("no simple condition tells them from data; websocket.record.filter takes a longer one")
            }
        })
    }
}

/// Whether a text is a word of such messages. In `spot.pong` and `pusher:pong`, the last part counts.
fn is_control(text: &str) -> bool {
    let last = text.rsplit(['.', ':']).next().unwrap_or(text);
    let word: String = bare(last).take(40).collect();
    WORDS.contains(&word.as_str()) || word.starts_with("unsubscribe")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn table(messages: &[Value]) -> Table {
        let mut table = Table::default();
        messages.iter().for_each(|message| table.message(Duration::ZERO, message, false));
        table.finish()
    }

    fn controls(messages: &[Value]) -> Vec<bool> {
        let table = table(messages);
        Controls::find(&table, &vec![true; table.rows()]).are_no_data()
    }

    #[test]
    fn feeds_say_themselves_what_is_no_data() {
        let trade = json!({"type": "trade", "p": 1});
        for control in [
            json!({"event": "subscriptionStatus", "pair": "XBT/USD"}),
            json!({"channel": "spot.pong"}),
            json!({"event": "pusher:connection_established"}),
            json!({"result": null, "id": 1}),
            json!({"ping": 1}),
            json!({"metadata": {"message_type": "session_keepalive"}}),
            json!({}),
        ] {
            assert_eq!(controls(&[trade.clone(), control.clone()]), [false, true], "{control}");
        }
        assert_eq!(controls(&[trade, json!(2)]), [false, true]);
        let notification = json!({"jsonrpc": "2.0", "method": "subscription", "params": {}});
        assert_eq!(controls(&[notification, json!({"id": 1, "result": []})]), [false, true]);
        assert_eq!(controls(&[json!([5, "hb"]), json!([5, [1]])]), [true, false]);
    }

    #[test]
    fn a_feed_of_nothing_else_is_a_feed_of_that() {
        let table = table(&[json!({"type": "status"}), json!({"type": "status"})]);
        let controls = Controls::find(&table, &[true, true]);
        assert_eq!(controls.are_no_data(), [false, false]);
        let finding = controls.finding(&table, false, false).unwrap();
        assert_eq!((finding.certainty, finding.lines.len()), (Certainty::Possible, 0));
        assert!(finding.says.contains("in 2 of 2 messages: /type 'status' (2)"), "{}", finding.says);
    }

    #[test]
    fn what_the_configuration_drops_needs_no_filter() {
        let table = table(&[json!({"type": "trade"}), json!({"type": "ack"}), json!({"type": "heartbeat"})]);
        let controls = Controls::find(&table, &[true, false, true]);
        assert_eq!(controls.roles, [Role::Data, Role::Out, Role::Control]);
        let says = controls.finding(&table, false, false).unwrap().says;
        assert!(says.contains("1 of 2 messages: /type 'heartbeat' (1)"), "{says}");
        assert!(Controls::find(&table, &[true, false, false]).finding(&table, false, false).is_none());
    }
}
