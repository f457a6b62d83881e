//! Finds a map of records by name inside messages: `{"BTC":{"price":1},"ETH":{"price":2}}`. The names are data there, and
//! templates cannot read them. So nothing is suggested.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};

use super::field::{Field, Origin};
use super::{About, Certainty, Finding, count, in_of};

/// The depth of the maps that are checked.
const MAX_DEPTH: usize = 2;
/// The most different maps, and names of one, that are checked.
const MAX_MAPS: usize = 20;
const MAX_NAMES: usize = 1000;

/// The objects whose members are alike.
#[derive(Debug, Default)]
pub(super) struct Maps {
    maps: HashMap<Field, Seen>,
}

/// What is known of one of them.
#[derive(Debug)]
struct Seen {
    messages: usize,
    with_several: usize,
    names: BTreeSet<String>,
    /// Whether not all messages have the same names.
    varies: bool,
    /// The names of the fields that each member has.
    fields: BTreeSet<String>,
    /// Those fields whose text is the name of the member.
    with_name: BTreeSet<String>,
}

impl Maps {
    pub(super) fn message(&mut self, value: &Value) {
        self.object(&Field::root(Origin::Record), value);
    }

    fn object(&mut self, field: &Field, value: &Value) {
        let Value::Object(members) = value else { return };
        let objects: Vec<_> = members.iter().filter_map(|(name, value)| Some((name, value.as_object()?))).collect();
        if !members.is_empty() && objects.len() == members.len() {
            self.map(field, &objects);
        }
        if field.depth < MAX_DEPTH {
            let inner = members.iter().filter_map(|(name, value)| Some((field.member(name)?, value)));
            inner.for_each(|(field, value)| self.object(&field, value));
        }
    }

    fn map(&mut self, field: &Field, members: &[(&String, &Map<String, Value>)]) {
        if self.maps.len() == MAX_MAPS && !self.maps.contains_key(field) {
            return;
        }
        let names = members.iter().map(|(name, _)| (*name).clone());
        let seen = self.maps.entry(field.clone()).or_insert_with(|| Seen::of(members[0].0, members[0].1));
        let before = seen.names.len();
        seen.names.extend(names.take(MAX_NAMES.saturating_sub(before)));
        seen.varies |= seen.messages > 0 && seen.names.len() > before || members.len() < seen.names.len();
        seen.messages += 1;
        seen.with_several += usize::from(members.len() > 1);
        for (name, member) in members {
            seen.fields.retain(|field| member.contains_key(field));
            seen.with_name.retain(|field| is_name(member.get(field), name));
        }
    }

    /// Returns the finding about a map in nearly all messages.
    pub(super) fn doubt(&self, data: usize) -> Option<Finding> {
        let (field, seen) = self.find(data)?;
        let place = if field.depth == 0 { "The message".to_owned() } else { field.to_string() };
        let usual = seen.names.iter().filter(|name| field.member(name).is_some());
        let examples: Vec<&str> = usual.take(2).map(String::as_str).collect();
        if examples.is_empty() {
            return None;
        }
        let name = match seen.with_name.iter().find_map(|name| Field::root(Origin::Record).member(name)) {
            Some(inner) => format!("and websocket.record.key={}, which is the same name", inner.template()),
            None => "but then the names are lost, because no template can read them".to_owned(),
        };
        let says = format!(
            "{place} has members of the same form under {} names, such as {}, {}: it may be a map of records. It is one \
             record. If each member is a record of its own, set websocket.record.pointer={}, {name}.",
            count(seen.names.len()),
            examples.join(" and "),
            in_of(seen.messages, data, "messages with data"),
            field.each(),
        );
        Some(Finding::new(About::Record, Certainty::Possible, says))
    }

    /// Turns a suggestion that reads one member of the map into a comment.
    pub(super) fn beside(&self, data: usize, finding: Finding) -> Finding {
        let Some((field, seen)) = self.find(data) else { return finding };
        let members: Vec<String> =
            seen.names.iter().filter_map(|name| Some(format!("{}/", field.member(name)?))).collect();
        let reads_one = finding.lines.iter().any(|line| members.iter().any(|member| line.value.contains(member)));
        if !reads_one {
            return finding;
        }
        let finding = finding.also_check("it is that of some members of the map only");
        Finding { certainty: Certainty::Possible, ..finding }
    }

    fn find(&self, data: usize) -> Option<(&Field, &Seen)> {
        let maps = self.maps.iter().filter(|(_, seen)| seen.messages * 10 >= data * 9 && seen.is_map());
        maps.min_by_key(|(field, _)| (field.depth, field.to_string()))
    }
}

impl Seen {
    fn of(name: &str, first: &Map<String, Value>) -> Seen {
        let fields: BTreeSet<String> = first.keys().cloned().collect();
        let with_name = fields.iter().filter(|field| is_name(first.get(*field), name)).cloned().collect();
        Seen { messages: 0, with_several: 0, names: BTreeSet::new(), varies: false, fields, with_name }
    }

    /// Whether the names are data, and not those of fields: they are like `BTC-USD`, or they change.
    fn is_map(&self) -> bool {
        let are_codes = self.names.iter().all(|name| !name.contains(char::is_lowercase));
        let changes = self.varies && self.with_several > 0 && self.names.len() > 2;
        self.names.len() > 1 && !self.fields.is_empty() && (are_codes || changes)
    }
}

fn is_name(value: Option<&Value>, name: &str) -> bool {
    value.and_then(Value::as_str) == Some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(messages: &[Value]) -> Option<String> {
        let mut maps = Maps::default();
        messages.iter().for_each(|message| maps.message(message));
        maps.doubt(messages.len()).map(|finding| finding.says)
    }

    #[test]
    fn members_of_one_form_under_names_that_are_data_are_a_map() {
        let both = json!({"BTC": {"price": 1}, "ETH": {"price": 2}});
        let says = told(&[both.clone(), both]).unwrap();
        assert!(
            says.starts_with("The message has members of the same form under 2 names, such as BTC and ETH"),
            "{says}"
        );
        assert!(says.contains("set websocket.record.pointer=/*, but then the names are lost"), "{says}");
        let prices = json!({"BTC": {"USD": {"p": 1}}, "ETH": {"USD": {"p": 2}}});
        let says = told(&[json!({"prices": prices})]).unwrap();
        assert!(says.contains("websocket.record.pointer=/prices/*"), "{says}");
        let single = [json!({"BTC": {"price": 1}}), json!({"ETH": {"price": 2}})];
        assert!(told(&single).is_some());
        let of = |name: &str| json!({"id": name, "price": 1});
        let inside = [
            json!({"type": "t", "data": {"btcusdt": of("btcusdt"), "ethusdt": of("ethusdt")}}),
            json!({"type": "t", "data": {"xrpusdt": of("xrpusdt")}}),
        ];
        let says = told(&inside).unwrap();
        assert!(says.contains("websocket.record.pointer=/data/*, and websocket.record.key={{/id}}"), "{says}");
    }

    #[test]
    fn names_of_fields_are_no_map() {
        for messages in [
            [json!({"bid": {"p": 1}, "ask": {"p": 2}}), json!({"bid": {"p": 1}, "ask": {"p": 2}})],
            [json!({"push": {"n": 1}}), json!({"connect": {"n": 1}})],
            [json!({"A": {"p": 1}, "B": {"q": 2}}), json!({"A": {"p": 1}, "B": {"q": 2}})],
            [json!({"A": {"p": 1}, "B": 5}), json!({"A": {"p": 1}, "B": 5})],
            [json!({}), json!({"A": {}})],
        ] {
            assert_eq!(told(&messages), None, "{messages:?}");
        }
    }
}
