//! For the tests: texts compiled and evaluated over a message.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::expression::{Condition, Expression, Failure, Message, Paths, Problem, Scope, Topics, Values};
use super::template::{Position, Template};
use super::variables::{GIVEN, Made, Names, Variables};
use crate::json::{Found, Pointers, Scanned};

/// A configuration's variables, and the input of an evaluation.
pub(super) struct Fixture {
    pub(super) names: Names,
    pub(super) variables: Variables,
    pub(super) made: Made,
    pub(super) count: Cell<u64>,
    pub(super) now: SystemTime,
    pub(super) message: &'static str,
    pub(super) record: Option<&'static str>,
    pub(super) topic: Option<&'static str>,
    pub(super) topics: Vec<String>,
    pub(super) kept: bool,
    pub(super) answer: Option<u16>,
}

impl Fixture {
    pub(super) fn new() -> Fixture {
        Fixture {
            names: Names::default(),
            variables: Variables::default(),
            made: Made::default(),
            count: Cell::new(0),
            now: UNIX_EPOCH + Duration::from_micros(1_785_579_630_123_456),
            message: "",
            record: None,
            topic: None,
            topics: Vec::new(),
            kept: false,
            answer: None,
        }
    }

    pub(super) fn over(message: &'static str) -> Fixture {
        Fixture { message, ..Fixture::new() }
    }

    /// Adds a captured variable, a secret, or one that the session sets.
    pub(super) fn with(mut self, name: &str, value: &str) -> Fixture {
        let id = self.names.id(name).unwrap_or_else(|| self.names.hold(name).unwrap());
        self.variables.set(id, value);
        self
    }

    /// Adds a known variable without a value.
    pub(super) fn without(mut self, name: &str) -> Fixture {
        self.names.hold(name).unwrap();
        self
    }

    pub(super) fn declare(mut self, variables: &[(&str, &str)]) -> Fixture {
        self.names.declare(variables).unwrap();
        self
    }

    pub(super) fn compile<T>(
        &self,
        compile: impl FnOnce(&mut Scope<'_>) -> Result<T, Problem>,
    ) -> Result<(T, Paths), Problem> {
        let mut paths = Paths::default();
        let message = if self.record.is_some() { Message::Record } else { Message::Whole };
        let answer = self.answer.is_some();
        let compiled = compile(&mut Scope { names: &self.names, given: &GIVEN, message, answer, paths: &mut paths })?;
        Ok((compiled, paths))
    }

    pub(super) fn with_values<T>(&self, paths: &Paths, evaluate: impl FnOnce(&Values<'_>) -> T) -> T {
        let scan = |pointers: &Pointers, text: &str| {
            let mut found = Found::default();
            pointers.build().unwrap().scan(text, &mut found);
            found
        };
        let found = scan(&paths.message, self.message);
        let record = scan(&paths.record, self.record.unwrap_or_default());
        let items: Vec<String> = self.topics.iter().map(|topic| format!("\"{topic}\"")).collect();
        let items = items.join(",");
        let chance = |bytes: &mut [u8]| bytes.fill(0xAB);
        let headers = [("X-Limit".to_owned(), "17".to_owned())];
        let values = Values {
            kept: self.kept,
            topic: self.topic,
            topics: (!self.topics.is_empty()).then_some(Topics { names: &self.topics, items: &items }),
            message: Some(Scanned::new(self.message, &found)),
            record: self.record.map(|text| Scanned::new(text, &record)),
            status: self.answer,
            headers: &headers,
            index: Some(3),
            ..Values::new(&self.names, &self.variables, &self.made, self.now, &chance, &self.count)
        };
        evaluate(&values)
    }

    pub(super) fn holds(&self, condition: &str) -> bool {
        let (condition, paths) = self.compile(|scope| Condition::compile(condition, scope)).unwrap();
        self.with_values(&paths, |values| condition.holds(values))
    }

    pub(super) fn render_as(&self, position: Position, template: &str) -> Result<String, Failure> {
        let (template, paths) = self.compile(|scope| Template::compile(template, position, scope)).unwrap();
        self.with_values(&paths, |values| template.render(values))
    }

    pub(super) fn render(&self, template: &str) -> Result<String, Failure> {
        self.render_as(Position::Plain, template)
    }

    /// Returns the value of an expression that has one.
    pub(super) fn value(&self, expression: &str) -> String {
        self.capture(expression).unwrap_or_else(|| panic!("{expression} has no value"))
    }

    pub(super) fn capture(&self, expression: &str) -> Option<String> {
        let (expression, paths) = self.compile(|scope| Expression::compile(expression, scope)).unwrap();
        self.with_values(&paths, |values| expression.text(values)).unwrap()
    }

    pub(super) fn condition_problem(&self, condition: &str) -> String {
        let compiled = self.compile(|scope| Condition::compile(condition, scope).map(|_| ()));
        compiled.err().unwrap_or_else(|| panic!("{condition} compiles")).to_string()
    }

    pub(super) fn template_problem(&self, template: &str) -> String {
        let compiled = self.compile(|scope| Template::compile(template, Position::Plain, scope).map(|_| ()));
        compiled.err().unwrap_or_else(|| panic!("{template} compiles")).to_string()
    }
}
