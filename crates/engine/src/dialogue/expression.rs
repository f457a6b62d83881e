//! Expressions: the content of `{{…}}`, and conditions. They are compiled once, and evaluated over a message,
//! variables, the time and chance, which the caller gives.
//!
//! Evaluation always ends soon: there are no loops, depth and length are limited, and no value is longer than
//! [`MAX_RENDERED`].

mod parser;
mod value;

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::function::{self, Function};
use super::variables::{Made, Names, VariableId, Variables};
use crate::json::{Found, Pointer, PointerId, Pointers, Scanned, Scanner};
use value::Comparison;
pub(super) use value::Value;

/// The longest rendered text or intermediate value.
pub const MAX_RENDERED: usize = 64 * 1024;

/// Why a text does not compile. The caller adds the option's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The number of the character in the option's text, from 1.
    pub column: usize,
    pub message: String,
}

impl Problem {
    pub fn new(column: usize, message: impl Into<String>) -> Problem {
        Problem { column, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)
    }
}

impl std::error::Error for Problem {}

/// Why an evaluation has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// This variable, pointer or function has no value.
    Missing(String),
    /// A value cannot be used. The sentence does not contain it.
    Refused(String),
}

impl Failure {
    pub(super) fn too_long() -> Failure {
        Failure::Refused(format!("a value or text is longer than {MAX_RENDERED} bytes"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Missing(what) => write!(f, "{what} has no value"),
            Failure::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Failure {}

/// What the expressions of an option can use.
#[derive(Debug)]
pub struct Scope<'a> {
    pub names: &'a Names,
    /// The given variables ([`super::variables::GIVEN`]) that have a value here.
    pub given: &'a [&'a str],
    pub message: Message,
    /// Whether the message is an HTTP response, with `status` and `header('…')`.
    pub answer: bool,
    /// The pointers of compiled expressions are added here.
    pub paths: &'a mut Paths,
}

/// Which message an expression can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// None. A pointer is an error.
    None,
    /// The whole message. `envelope(/x)` is the same as `/x`.
    Whole,
    /// A record inside the message. `envelope(/x)` is in the whole message.
    Record,
}

/// The pointers of a configuration's conditions and templates, so that one scan finds all their values.
#[derive(Debug, Clone, Default)]
pub struct Paths {
    /// Those into the whole message.
    pub message: Pointers,
    /// Those into a record inside it.
    pub record: Pointers,
}

/// The input of an evaluation.
#[derive(Clone, Copy)]
pub struct Values<'v> {
    pub names: &'v Names,
    pub variables: &'v Variables,
    /// The declared variables of this message, request or handshake.
    pub made: &'v Made,
    /// Whether declared variables have the values of [`Variables::keep`], if there are any: conditions mean what was
    /// sent.
    pub kept: bool,
    pub topic: Option<&'v str>,
    pub topics: Option<Topics<'v>>,
    pub message: Option<Scanned<'v>>,
    pub record: Option<Scanned<'v>>,
    /// The status of an HTTP response, or of a refused handshake.
    pub status: Option<u16>,
    pub headers: &'v [(String, String)],
    /// The position in a split message or among picked records, from 0.
    pub index: Option<usize>,
    pub now: SystemTime,
    /// Fills a buffer with random bytes.
    pub chance: &'v dyn Fn(&mut [u8]),
    /// The last number that `n()` has returned on this connection.
    pub count: &'v Cell<u64>,
}

/// The topics of one message.
#[derive(Debug, Clone, Copy)]
pub struct Topics<'v> {
    pub names: &'v [String],
    /// Each in the form of `websocket.subscription.item`, joined by commas.
    pub items: &'v str,
}

impl<'v> Values<'v> {
    /// Input without a message: only variables, the time and chance.
    pub fn new(
        names: &'v Names,
        variables: &'v Variables,
        made: &'v Made,
        now: SystemTime,
        chance: &'v dyn Fn(&mut [u8]),
        count: &'v Cell<u64>,
    ) -> Values<'v> {
        Values {
            names,
            variables,
            made,
            kept: false,
            topic: None,
            topics: None,
            message: None,
            record: None,
            status: None,
            headers: &[],
            index: None,
            now,
            chance,
            count,
        }
    }

    fn scanned(&self, at: At) -> Option<Scanned<'v>> {
        match at {
            At::Message => self.message,
            At::Record => self.record,
        }
    }
}

/// A condition. The whole value of an option is one expression.
#[derive(Debug, Clone)]
pub struct Condition(Expression);

impl Condition {
    /// Compiles the text of an option.
    ///
    /// # Errors
    /// Column and what was expected.
    pub fn compile(text: &str, scope: &mut Scope<'_>) -> Result<Condition, Problem> {
        parser::condition(text, scope).map(Condition)
    }

    pub fn holds(&self, values: &Values<'_>) -> bool {
        self.0.node.holds(values).unwrap_or(false)
    }

    /// Whether it needs a variable, by way of a declared one too.
    pub fn uses(&self, variable: &str) -> bool {
        self.0.uses(variable)
    }

    /// Returns the condition as it was written.
    pub fn source(&self) -> &str {
        self.0.source()
    }
}

/// One expression.
#[derive(Debug, Clone)]
pub struct Expression {
    node: Node,
    source: Box<str>,
    uses: BTreeSet<Arc<str>>,
}

impl Expression {
    /// Compiles the text of an option, or an entry of a list.
    ///
    /// # Errors
    /// Column and what was expected.
    pub fn compile(text: &str, scope: &mut Scope<'_>) -> Result<Expression, Problem> {
        parser::whole(text, scope)
    }

    /// Compiles the text from `at` to `}}`. Returns the end as well.
    pub(super) fn compile_insertion(
        text: &str,
        at: usize,
        scope: &mut Scope<'_>,
    ) -> Result<(Expression, usize), Problem> {
        parser::insertion(text, at, scope)
    }

    /// Whether it needs a variable, by way of a declared one too.
    pub fn uses(&self, variable: &str) -> bool {
        self.uses.contains(variable)
    }

    pub(super) fn used(&self) -> impl Iterator<Item = &Arc<str>> {
        self.uses.iter()
    }

    /// Returns the expression as it was written, without texts in quotes.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Returns the value as text, for a captured variable. `None` if it is missing or null.
    ///
    /// # Errors
    /// A value is too long or cannot be used.
    pub fn text(&self, values: &Values<'_>) -> Result<Option<String>, Failure> {
        match bounded(self.evaluate(values)?)? {
            Value::Missing(_) | Value::Null => Ok(None),
            value => value.into_text().map(|text| Some(text.into_owned())),
        }
    }

    pub(super) fn evaluate<'v>(&'v self, values: &'v Values<'v>) -> Result<Value<'v>, Failure> {
        self.node.evaluate(values)
    }
}

/// Parses a JSON Pointer in the form of expressions.
///
/// # Errors
/// Column and what was expected.
pub fn pointer(text: &str) -> Result<Pointer, Problem> {
    parser::pointer(text)
}

/// Whether a pointer is for the message or the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Message,
    Record,
}

#[derive(Debug, Clone)]
enum Node {
    Pointer { at: At, id: PointerId, plural: bool, source: Box<str> },
    WholeText(At),
    Status,
    Header(Box<str>),
    Index,
    Topic,
    Topics,
    Variable { id: VariableId, name: Arc<str>, declared: bool },
    Text(Box<str>),
    Number(Box<str>),
    Bool(bool),
    Null,
    Or(Vec<Node>),
    And(Vec<Node>),
    Not(Box<Node>),
    Compare(Box<Node>, Comparison, Box<Node>),
    In(Box<Node>, Vec<Node>),
    Exists(Box<Node>),
    Default(Vec<Node>),
    Concat(Vec<Node>),
    When(Box<Node>, Box<Node>),
    Json(Box<Node>, Box<(Scanner, PointerId)>),
    Join(Box<Node>),
    TopicOf(VariableId, Box<Node>),
    Call(Function, Vec<Node>),
}

impl Node {
    fn evaluate<'v>(&'v self, values: &'v Values<'v>) -> Result<Value<'v>, Failure> {
        let missing = |what: &'v str| Value::Missing(Cow::Borrowed(what));
        Ok(match self {
            Node::Pointer { at, id, source, .. } => {
                let raw = values.scanned(*at).and_then(|scanned| scanned.first(*id));
                raw.map_or_else(|| missing(source), Value::from_json)
            }
            Node::WholeText(at) => {
                values.scanned(*at).map_or_else(|| missing("text"), |scanned| Value::Text(scanned.text().into()))
            }
            Node::Status => {
                values.status.map_or_else(|| missing("status"), |status| Value::Number(status.to_string().into()))
            }
            Node::Header(name) => {
                let header = values.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
                header.map_or_else(|| missing(name), |(_, value)| Value::Text(value.into()))
            }
            Node::Index => {
                values.index.map_or_else(|| missing("index"), |index| Value::Number(index.to_string().into()))
            }
            Node::Topic => values.topic.map_or_else(|| missing("topic"), |topic| Value::Variable(topic.into())),
            Node::Topics => {
                values.topics.map_or_else(|| missing("topics"), |topics| Value::Variable(topics.items.into()))
            }
            Node::Variable { id, name, declared } => return variable(*id, name, *declared, values),
            Node::Text(text) => Value::Text((&**text).into()),
            Node::Number(text) => Value::Number((&**text).into()),
            Node::Bool(value) => Value::Bool(*value),
            Node::Null => Value::Null,
            Node::Or(_) | Node::And(_) | Node::Not(_) | Node::Compare(..) | Node::In(..) | Node::Exists(_) => {
                Value::Bool(self.holds(values)?)
            }
            Node::Default(nodes) => {
                let mut value = Value::Null;
                for node in nodes {
                    value = node.evaluate(values)?;
                    if !matches!(value, Value::Missing(_) | Value::Null) {
                        break;
                    }
                }
                value
            }
            Node::Concat(nodes) => return concat(nodes, values),
            Node::When(condition, node) => {
                if condition.holds(values)? {
                    node.evaluate(values)?
                } else {
                    missing("when()")
                }
            }
            Node::Json(node, path) => match node.evaluate(values)? {
                Value::Missing(what) => Value::Missing(what),
                value => inner_json(&value.into_text()?, path),
            },
            Node::Join(separator) => {
                let Some(topics) = values.topics else { return Ok(missing("topics")) };
                match separator.evaluate(values)? {
                    Value::Missing(what) => Value::Missing(what),
                    separator => Value::Text(joined(topics.names, &separator.into_text()?)?.into()),
                }
            }
            Node::TopicOf(id, node) => match node.evaluate(values)? {
                Value::Missing(what) => Value::Missing(what),
                value => {
                    let topic = values.variables.topic_of(*id, &value.into_text()?);
                    topic.map_or_else(|| missing("topic_of()"), |topic| Value::Variable(topic.into()))
                }
            },
            Node::Call(function, nodes) => {
                let arguments = nodes.iter().map(|node| node.evaluate(values).and_then(bounded));
                let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
                bounded(function::call(*function, arguments, values)?)?
            }
        })
    }

    /// Returns the value as a condition. A variable holds if it is `true`.
    fn holds(&self, values: &Values<'_>) -> Result<bool, Failure> {
        Ok(match self {
            Node::Or(nodes) => {
                for node in nodes {
                    if node.holds(values)? {
                        return Ok(true);
                    }
                }
                false
            }
            Node::And(nodes) => {
                for node in nodes {
                    if !node.holds(values)? {
                        return Ok(false);
                    }
                }
                true
            }
            Node::Not(node) => !node.holds(values)?,
            Node::Compare(a, comparison, b) => {
                // The parser allows `*` on one side only. The other side is evaluated once.
                let holds = if b.is_plural() {
                    let a = a.evaluate(values)?;
                    b.any(values, |b| comparison.holds(&a, b))?
                } else {
                    let b = b.evaluate(values)?;
                    a.any(values, |a| comparison.holds(a, &b))?
                };
                holds != (*comparison == Comparison::NotEqual)
            }
            Node::In(a, list) if a.is_plural() => {
                let list = list.iter().map(|node| node.evaluate(values)).collect::<Result<Vec<_>, _>>()?;
                a.any(values, |a| list.iter().any(|b| a.equals(b)))?
            }
            Node::In(a, list) => {
                let a = a.evaluate(values)?;
                for node in list {
                    if node.any(values, |b| a.equals(b))? {
                        return Ok(true);
                    }
                }
                false
            }
            Node::Exists(node) => node.any(values, |value| !matches!(value, Value::Missing(_)))?,
            other => match other.evaluate(values)? {
                Value::Bool(value) => value,
                Value::Variable(text) => text == "true",
                _ => false,
            },
        })
    }

    /// Whether it is a pointer with `*`.
    fn is_plural(&self) -> bool {
        matches!(self, Node::Pointer { plural: true, .. })
    }

    /// Whether a test holds for the value, or for any of the values of a pointer with `*`.
    fn any<'v>(&'v self, values: &'v Values<'v>, test: impl Fn(&Value<'v>) -> bool) -> Result<bool, Failure> {
        let Node::Pointer { at, id, plural: true, .. } = self else { return Ok(test(&self.evaluate(values)?)) };
        let mut all = values.scanned(*at).into_iter().flat_map(|scanned| scanned.all(*id));
        Ok(all.any(|raw| test(&Value::from_json(raw))))
    }
}

fn variable<'v>(id: VariableId, name: &'v str, declared: bool, values: &'v Values<'v>) -> Result<Value<'v>, Failure> {
    let held = if declared && !values.kept { None } else { values.variables.get(values.topic, id) };
    if let Some(text) = held {
        return Ok(Value::Variable(text.into()));
    }
    if !declared {
        return Ok(Value::Missing(name.into()));
    }
    match values.made.value(id, values) {
        Ok(Some(text)) => Ok(Value::Variable(text.to_string().into())),
        Ok(None) => Ok(Value::Missing(name.into())),
        Err(Failure::Missing(what)) => Ok(Value::Missing(what.into())),
        Err(failure) => Err(failure),
    }
}

/// Joins topics. The length is known before.
fn joined(topics: &[String], separator: &str) -> Result<String, Failure> {
    let separators = separator.len().saturating_mul(topics.len().saturating_sub(1));
    let length = topics.iter().map(String::len).fold(separators, usize::saturating_add);
    if length > MAX_RENDERED { Err(Failure::too_long()) } else { Ok(topics.join(separator)) }
}

/// Joins values. The result is text, or bytes if one of them is bytes.
fn concat<'v>(nodes: &'v [Node], values: &'v Values<'v>) -> Result<Value<'v>, Failure> {
    let (mut all, mut is_text) = (Vec::new(), true);
    for node in nodes {
        match bounded(node.evaluate(values)?)? {
            Value::Missing(what) => return Ok(Value::Missing(what)),
            Value::Bytes(bytes) => {
                all.extend_from_slice(&bytes);
                is_text = false;
            }
            other => all.extend_from_slice(other.into_text()?.as_bytes()),
        }
        if all.len() > MAX_RENDERED {
            return Err(Failure::too_long());
        }
    }
    match (is_text, all) {
        (false, bytes) => Ok(Value::Bytes(bytes)),
        (true, bytes) => Ok(Value::Text(String::from_utf8_lossy(&bytes).into_owned().into())),
    }
}

/// Returns a value from JSON inside a string.
fn inner_json<'v>(text: &str, (scanner, id): &(Scanner, PointerId)) -> Value<'v> {
    let mut found = Found::default();
    scanner.scan(text, &mut found);
    match Scanned::new(text, &found).first(*id).map(Value::from_json) {
        None => Value::Missing("json()".into()),
        Some(Value::Number(text)) => Value::Number(text.into_owned().into()),
        Some(Value::Text(text)) => Value::Text(text.into_owned().into()),
        Some(Value::Json(text)) => Value::Text(text.to_owned().into()),
        Some(Value::Bool(value)) => Value::Bool(value),
        Some(_) => Value::Null,
    }
}

fn bounded(value: Value<'_>) -> Result<Value<'_>, Failure> {
    if value.len() > MAX_RENDERED { Err(Failure::too_long()) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialogue::fixture::Fixture;

    const TRADE: &str = r#"{"type":"trade","s":null,"n":1.0,"big":123456789012345678901234567,"ok":true,"odd key":{"x":"y"},
        "list":["a","b",{"c":"d"}],"events":[{"t":[1,2]},{"t":[3]}],"payload":"{\"id\":\"7\",\"n\":[1]}","":"empty","a/b":1,"m~n":2,"esc":"A\u0042"}"#;

    #[test]
    fn json_pointers_name_values_of_the_message_at_hand() {
        let trade = Fixture::over(TRADE);
        for (pointer, value) in [
            ("/type", "trade"),
            ("/list/0", "a"),
            ("/list/-1/c", "d"),
            ("/'odd key'/x", "y"),
            ("/list/-1", r#"{"c":"d"}"#),
            ("/a~1b", "1"),
            ("/m~0n", "2"),
            ("/", "empty"),
            ("/big", "123456789012345678901234567"),
            ("/esc", "AB"),
        ] {
            assert_eq!(trade.value(pointer), value, "{pointer}");
        }
        assert_eq!(trade.capture("/none"), None);
    }

    #[test]
    fn an_unquoted_token_ends_at_a_blank_or_a_sign_of_the_language() {
        let odd = Fixture::over(r#"{"$type":"x","a-b":1,"a.b:c":2,"it's":3,"a":4,"b":5}"#);
        assert!(odd.holds("/$type=='x'&&/a-b==1||/a".trim_end_matches("||/a")));
        assert_eq!(odd.value("/a.b:c"), "2");
        assert_eq!(odd.value("/it's"), "3");
        assert_eq!(odd.value("/a+/b"), "45");
        assert_eq!(odd.render("{{/a}}{{/b}}").unwrap(), "45");
        assert!(odd.holds("4 in [/b,/a]"));
        assert!(odd.holds("!(/c exists)&&/a<=4"));
    }

    #[test]
    fn a_star_holds_if_it_does_for_any_of_its_values() {
        let trade = Fixture::over(TRADE);
        assert!(trade.holds("/events/*/t/* == 3"));
        assert!(!trade.holds("/events/*/t/* == 4"));
        assert!(trade.holds("/events/*/t/* exists && !(/none/* exists)"));
        assert_eq!(trade.value("/events/*/t/*"), "1");
        assert!(trade.holds("/events/*/t/* in [9, 2]"));
    }

    #[test]
    fn text_is_the_whole_message() {
        let pong = Fixture::over("pong");
        assert!(pong.holds("text == 'pong'"));
        assert!(!pong.holds("text == 'ping'"));
        assert!(pong.holds("text startsWith 'po' && text contains 'on'"));
        assert_eq!(Fixture::over("42[1]").value("text"), "42[1]");
    }

    #[test]
    fn invalid_json_matches_no_json_condition() {
        let broken = Fixture::over(r#"{"type":"trade""#);
        assert!(!broken.holds("/type exists") && !broken.holds("/type == 'trade'") && broken.holds("/type != 'trade'"));
    }

    #[test]
    fn an_http_answer_has_status_and_headers() {
        let answer = Fixture { answer: Some(429), ..Fixture::over("{}") };
        assert!(answer.holds("status in [400, 429]"));
        assert!(answer.holds("status >= 400 && header('x-limit') == '17'"));
        assert_eq!(answer.capture("header('Retry-After')"), None);
        assert_eq!(
            Fixture::over("{}").condition_problem("/a exists && status == 200"),
            "column 14: there is no HTTP answer here; expected a JSON Pointer, a variable or a function"
        );
    }

    #[test]
    fn index_is_the_elements_place() {
        assert_eq!(Fixture::over("{}").value("'m:' + index"), "m:3");
    }

    #[test]
    fn variables_are_declared_captured_or_given() {
        let fixture = Fixture::new().with("captured", "c").with("secret.key", "k").with("cursor", "17");
        let fixture = fixture.declare(&[("declared", "d{{captured}}")]);
        assert_eq!(fixture.render("{{captured}} {{secret.key}} {{cursor}} {{declared}}").unwrap(), "c k 17 dc");
        let fixture = Fixture { topic: Some("t"), topics: vec!["a".into(), "b".into()], ..fixture };
        assert_eq!(fixture.render("{{topic}} [{{topics}}]").unwrap(), r#"t ["a","b"]"#);
    }

    #[test]
    fn literals_are_texts_with_jsons_escapes_numbers_true_false_and_null() {
        let any = Fixture::new();
        assert_eq!(any.value(r"'a\u001e\n\'\\\ud83d\ude00'"), "a\u{1e}\n'\\😀");
        assert_eq!(any.value("-1.5e+3"), "-1.5e+3");
        assert_eq!(any.render("{{true}} {{false}} {{null}} {{12}}").unwrap(), "true false null 12");
    }

    #[test]
    fn a_missing_path_equals_nothing_and_exists_sees_null() {
        let trade = Fixture::over(TRADE);
        for no in ["/none == /none", "/none == null", "/none == ''", "/none exists", "/none < 1", "/none in [null]"] {
            assert!(!trade.holds(no), "{no}");
        }
        for yes in ["/s exists", "/s == null", "/none != null", "/none != /none", "!(/none == null)", "!/none exists"] {
            assert!(trade.holds(yes), "{yes}");
        }
    }

    #[test]
    fn not_equal_is_the_opposite_of_equal() {
        let trade = Fixture::over(TRADE);
        for (a, b) in
            [("/type", "'trade'"), ("/type", "'x'"), ("/none", "1"), ("/ok", "true"), ("/n", "1"), ("/n", "'1'")]
        {
            assert_ne!(trade.holds(&format!("{a} == {b}")), trade.holds(&format!("{a} != {b}")), "{a} {b}");
        }
    }

    #[test]
    fn numbers_compare_as_exact_decimals_and_texts_by_their_characters() {
        let trade = Fixture::over(TRADE);
        for yes in [
            "/n == 1",
            "1 == 1.0",
            "/big == 123456789012345678901234567.0",
            "/big > 123456789012345678901234566",
            "/big < 1e27",
            "2 > 1 && 2 >= 2 && 1 < 2 && 2 <= 2",
            "'b' > 'a'",
            "'2026-01-02' > '2026-01-01T'",
        ] {
            assert!(trade.holds(yes), "{yes}");
        }
        for no in
            ["/n == '1.0'", "'1' == 1", "/type > 1", "/ok > 0", "/big == 123456789012345678901234568", "true == 'true'"]
        {
            assert!(!trade.holds(no), "{no}");
        }
    }

    #[test]
    fn variables_compare_by_their_text() {
        let message =
            Fixture::over(r#"{"id":3,"text":"3","b":true,"x":3.0}"#).with("id", "3").with("t", "true").with("n", "10");
        for yes in [
            "/id == id",
            "/text == id",
            "id == 3",
            "id == '3'",
            "id in [/text]",
            "/b == t",
            "n > 9",
            "n > id",
            "/id < n",
        ] {
            assert!(message.holds(yes), "{yes}");
        }
        for no in ["/x == id", "id == 3.0", "/none == id", "id == t"] {
            assert!(!message.holds(no), "{no}");
        }
    }

    #[test]
    fn a_variable_is_a_condition_if_it_is_true() {
        let fixture = Fixture::new().with("resuming", "true").with("moved", "false").without("unset");
        assert!(fixture.holds("resuming") && fixture.holds("resuming && !moved") && !fixture.holds("moved"));
        assert!(!fixture.holds("unset") && fixture.holds("!unset") && fixture.holds("!(unset exists)"));
    }

    #[test]
    fn and_binds_closer_than_or_and_parentheses_decide() {
        let any = Fixture::new();
        assert!(any.holds("true || true && false"));
        assert!(!any.holds("(true || true) && false"));
        assert!(any.holds("!false && !(false || false)"));
        assert!(any.holds("1 == 2 || 3 == 3"));
    }

    #[test]
    fn the_default_is_taken_where_a_value_is_missing_or_null() {
        let trade = Fixture::over(TRADE).without("cursor2");
        assert_eq!(trade.value("/none ?? /s ?? 'x'"), "x");
        assert_eq!(trade.value("/type ?? 'x'"), "trade");
        assert_eq!(trade.render("{{cursor2 ?? null}}").unwrap(), "null");
        assert_eq!(trade.capture("/none ?? /s"), None);
        assert!(trade.holds("/none ?? 'a' == 'a'"));
        assert_eq!(trade.value("/none ?? 'a' + 'b'"), "ab");
    }

    #[test]
    fn when_is_missing_unless_its_condition_holds() {
        let trade = Fixture::over(TRADE);
        assert_eq!(trade.value("when(/type == 'trade', /list/0)"), "a");
        assert_eq!(trade.capture("when(/type != 'trade', /list/0)"), None);
        assert_eq!(trade.value("when(/none exists, 'x') ?? 'y'"), "y");
    }

    #[test]
    fn plus_concatenates_text_and_bytes_and_nothing_else() {
        let fixture = Fixture::new().with("nonce", "17");
        assert_eq!(fixture.value("nonce + 1"), "171");
        assert_eq!(fixture.value("1 + 2"), "12");
        assert_eq!(fixture.value("hex('a' + base64_decode('/w=='))"), "61ff");
        assert_eq!(fixture.capture("'a' + cursor"), None);
    }

    #[test]
    fn envelope_is_the_whole_message_of_a_picked_record() {
        let fixture = Fixture { record: Some(r#"{"id":1,"ch":"inner"}"#), ..Fixture::over(r#"{"id":2,"ch":"outer"}"#) };
        assert_eq!(fixture.value("/ch + envelope(/ch)"), "innerouter");
        assert_eq!(fixture.value("text"), r#"{"id":1,"ch":"inner"}"#);
        assert!(fixture.holds("/id == 1 && envelope(/id) == 2 && /id == 1"));
        assert_eq!(Fixture::over(r#"{"id":2}"#).value("envelope(/id)"), "2");
    }

    #[test]
    fn json_reads_a_pointer_into_json_inside_a_string() {
        let trade = Fixture::over(TRADE);
        assert_eq!(trade.value("json(/payload, '/id')"), "7");
        assert_eq!(trade.value("json(/payload, '/n')"), "[1]");
        assert!(trade.holds("json(/payload, '/n/0') == 1 && json(/payload, '/id') == '7'"));
        assert_eq!(trade.value("json(/type, '/id') ?? 'no'"), "no");
    }

    #[test]
    fn topic_of_is_the_topic_whose_variable_has_that_value() {
        let mut fixture = Fixture::over(r#"[17,"hb"]"#).without("chan");
        let chan = fixture.names.id("chan").unwrap();
        fixture.variables.set_of("tBTCUSD", chan, "17");
        fixture.variables.set_of("tETHUSD", chan, "18");
        assert_eq!(fixture.value("topic_of(chan, /0)"), "tBTCUSD");
        assert_eq!(fixture.capture("topic_of(chan, /1)"), None);
    }

    #[test]
    fn conditions_see_the_variables_that_their_topics_message_was_made_with() {
        let mut fixture = Fixture::over(r#"{"id":2}"#).declare(&[("id", "{{n()}}")]);
        for topic in ["a", "b"] {
            fixture.topic = Some(topic);
            fixture.render(r#"{"id":{{id}},"sub":"{{topic}}"}"#).unwrap();
            fixture.variables.keep(fixture.topic, &fixture.made);
            fixture.made.clear();
        }
        fixture.kept = true;
        fixture.topic = Some("a");
        assert!(!fixture.holds("/id == id"));
        fixture.topic = Some("b");
        assert!(fixture.holds("/id == id"));
        assert_eq!(fixture.value("topic_of(id, /id)"), "b");
    }

    #[test]
    fn problems_have_the_column_and_what_was_expected() {
        let fixture =
            Fixture::over("{}").with("resuming", "true").without("interval").declare(&[("sign", "{{topic}}")]);
        for (condition, problem) in [
            ("/type = 'x'", "column 7: expected ==, found ="),
            (
                "/type == \"x\"",
                "column 10: expected a value: a JSON Pointer, a variable, a 'text', a number or a function, found a double quote; write text in single quotes",
            ),
            (
                "/type matches 'x'",
                "column 7: expected the end, ==, !=, <, <=, >, >=, in, startsWith, contains, exists, &&, ||, ?? or +, found matches",
            ),
            ("/type exist", "column 7: expected exists, found exist"),
            ("/a exists AND /b exists", "column 11: expected &&, found AND"),
            (
                "/a[0] exists",
                "column 3: expected /0 for the first element of an array; write a name with [ in single quotes",
            ),
            ("/a == 1 & /b == 2", "column 9: expected &&, found &"),
            ("/a | /b", "column 4: expected ||, found |"),
            ("/a", "column 1: expected a condition such as /a exists or /a == true, found a value"),
            ("resuming && /a", "column 13: expected a condition such as /a exists or /a == true, found a value"),
            (
                "/a == ",
                "column 7: expected a value: a JSON Pointer, a variable, a 'text', a number or a function, found the end",
            ),
            ("intervl == 1", "column 1: intervl is not known; expected a variable such as interval"),
            (
                "somethingelse == 1",
                "column 1: somethingelse is not known; write /somethingelse for a field of the message, or set websocket.var.somethingelse, or capture it",
            ),
            ("secret.k == 'x'", "column 1: secret.k is not known; set websocket.secret.k, or capture it"),
            ("sh256(/a) == 'x'", "column 1: there is no function sh256; expected one such as sha256"),
            ("frobnicate(/a) == 'x'", "column 1: there is no function frobnicate"),
            ("part(/a) == 'x'", "column 1: expected part(text, separator, number), found 1 arguments"),
            ("sha256(/a) == 'x'", "column 1: expected text, found bytes; hex(…) or base64(…) make text of them"),
            ("/a in 'x'", "column 7: expected [ and a list such as ['a', 'b'], found a text"),
            ("/a in ['x' 'y']", "column 12: expected , or ], found a text"),
            (
                "(/a exists",
                "column 11: expected ), ==, !=, <, <=, >, >=, in, startsWith, contains, exists, &&, ||, ?? or +, found the end",
            ),
            ("/ä == 'x", "column 7: expected ' at the end of the text"),
            ("/a == 'x\\y'", r#"column 9: expected an escape of JSON (\" \\ \/ \b \f \n \r \t \u1234) or \'"#),
            ("/a~2 exists", "column 3: expected ~0 (for ~) or ~1 (for /)"),
            ("/a == 01", "column 7: expected a number as JSON has it, such as -1.5e3"),
            (
                "jwt('none', 'a', 'b') == ''",
                "column 1: expected one of 'HS256', 'ES256', 'EdDSA', 'RS256' as the first argument of jwt",
            ),
            ("time('%Q') == ''", "column 1: expected %Y, %m, %d, %H, %M, %S, %3f, %6f or %% in the format of time"),
            ("random_hex(/a) == ''", "column 1: expected a number of bytes from 1 to 1024, as in random_hex(16)"),
            ("envelope('a') == ''", "column 10: expected a JSON Pointer, as in envelope(/data/id)"),
            ("json(/a, /b) == ''", "column 10: expected a JSON Pointer as a text, as in json(/payload, '/id')"),
            ("join(interval, ',') == ''", "column 6: expected topics, as in join(topics, ' ')"),
            ("topic_of('a', 1) == ''", "column 10: expected a variable, as in topic_of(channel, /0)"),
        ] {
            assert_eq!(fixture.condition_problem(condition), problem, "{condition}");
        }
    }

    #[test]
    fn a_pointer_where_there_is_no_message_is_a_problem() {
        let mut paths = Paths::default();
        let names = Names::default();
        let mut scope =
            Scope { names: &names, given: &["resuming"], message: Message::None, answer: false, paths: &mut paths };
        let problem = Condition::compile("resuming && /a exists", &mut scope).unwrap_err();
        assert_eq!(problem.to_string(), "column 13: there is no message here; expected a variable or a function");
        let problem = Condition::compile("topic == 'x'", &mut scope).unwrap_err();
        assert_eq!(problem.to_string(), "column 1: topic has no value here");
    }

    #[test]
    fn a_declared_variable_that_needs_what_is_not_there_is_a_problem() {
        let fixture =
            Fixture::new().declare(&[("identifier", r#"{"channel":"{{topic}}"}"#), ("outer", "{{identifier}}")]);
        let mut paths = Paths::default();
        let mut scope =
            Scope { names: &fixture.names, given: &[], message: Message::None, answer: false, paths: &mut paths };
        let problem = Expression::compile("outer", &mut scope).unwrap_err();
        assert_eq!(problem.to_string(), "column 1: outer needs topic, which has no value here");
        scope.given = &["topic"];
        let expression = Expression::compile("outer", &mut scope).unwrap();
        assert!(expression.uses("topic") && expression.uses("identifier") && expression.uses("outer"));
        assert!(!expression.uses("topics"));
    }

    #[test]
    fn depth_and_length_are_limited() {
        let any = Fixture::new();
        for (open, close) in [("(", ")"), ("!", ""), ("hex(", ")"), ("when(true, ", ")")] {
            let deep = format!("{}true{}", open.repeat(1000), close.repeat(1000));
            assert!(any.condition_problem(&deep).contains("expected at most 32 levels"), "{open}");
        }
        let long = vec!["true"; 3000].join(" && ");
        assert!(any.condition_problem(&long).contains("expected an expression of at most 8192 bytes"));
    }

    #[test]
    fn only_one_side_of_a_comparison_has_a_star() {
        let any = Fixture::over("{}").with("v", "x");
        for condition in ["/a/* == /b/*", "/a/* in ['x', /b/*]", "/a contains /b/*", "text contains /b/*"] {
            assert!(any.condition_problem(condition).contains("expected a value without * here"), "{condition}");
        }
        let some = Fixture::over(r#"{"a":["x","y"],"b":"y","n":[1,2]}"#);
        for yes in ["/a/* == /b", "/b == /a/*", "/b in [/a/*]", "/a/* in ['z', /b]", "'xyz' contains /a/*"] {
            assert!(some.holds(yes), "{yes}");
        }
        assert!(!some.holds("/b != /a/*") && some.holds("/n/* > 1") && !some.holds("/n/* > 2"));
    }

    #[test]
    fn the_other_side_of_a_star_is_evaluated_once() {
        let some = Fixture::over(r#"{"a":[1,2,3,4,5,6,7,8]}"#);
        assert!(!some.holds("/a/* == 'no' + n()") && !some.holds("'no' + n() == /a/*"));
        assert!(!some.holds("/a/* in ['no' + n()]"));
        assert_eq!(some.count.get(), 3);
    }

    #[test]
    fn a_very_long_number_equals_only_itself() {
        let zeros = "0".repeat(value::MAX_NUMBER);
        let message = format!(r#"{{"a":1{zeros},"b":1{zeros}.0,"c":1{zeros},"d":5}}"#);
        let some = Fixture::over(message.leak());
        assert!(some.holds("/a == /c") && some.holds("/a != /b") && !some.holds("/a > /d") && !some.holds("/a <= /d"));
    }

    #[test]
    fn a_captured_value_is_limited() {
        let some = Fixture::over(format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_RENDERED + 1)).leak());
        let (expression, paths) = some.compile(|scope| Expression::compile("/a", scope)).unwrap();
        let text = some.with_values(&paths, |values| expression.text(values));
        assert_eq!(text, Err(Failure::too_long()));
        let topics = Fixture { topics: vec!["t".repeat(100); 1000], ..Fixture::new() };
        assert_eq!(topics.render("{{join(topics, ',')}}"), Err(Failure::too_long()));
    }

    #[test]
    fn pointers_compile_by_themselves() {
        assert!(pointer("/tick/data/*").unwrap().is_plural());
        assert!(pointer("").is_ok());
        assert_eq!(
            pointer("tick").unwrap_err().to_string(),
            "column 1: expected a JSON Pointer, which begins with /, found tick"
        );
        assert!(pointer("/a b").unwrap_err().to_string().starts_with("column 3: expected the end"));
    }
}
