//! Templates: text that contains `{{expression}}`. The position of the text decides how a value is inserted.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::expression::{Expression, Failure, MAX_RENDERED, Problem, Scope, Value, Values};
use super::function::percent_encoded;
use crate::json;

/// The text of an option.
const MAX_TEXT: usize = 64 * 1024;

/// What a rendered text is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// A message, a body or a variable. Outside of quotes, values are inserted as they are.
    Plain,
    /// Values are percent-encoded, except at the very beginning. A query parameter whose value is missing is left out.
    Url,
    /// Values must not contain a line break.
    Header,
    /// Key, topic, timestamp and headers of a record. Null counts as missing.
    Field,
}

/// A compiled template.
#[derive(Debug, Clone)]
pub struct Template {
    position: Position,
    /// In a URL: the text up to the query, then each parameter. Otherwise there is one piece.
    pieces: Vec<Piece>,
    uses: BTreeSet<Arc<str>>,
}

#[derive(Debug, Clone, Default)]
struct Piece {
    /// `?` or `&`, before a parameter.
    separator: Option<char>,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Insert { expression: Expression, way: Way },
}

/// How a value is inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    AsIs,
    /// Inside double quotes of the template's own text.
    JsonEscaped,
    PercentEncoded,
}

impl Template {
    /// Compiles the text of an option.
    ///
    /// # Errors
    /// The column, and what was expected there. Text in quotes is not repeated, because it may be a secret.
    pub fn compile(text: &str, position: Position, scope: &mut Scope<'_>) -> Result<Template, Problem> {
        if text.len() > MAX_TEXT {
            return Err(Problem::new(1, format!("a template has at most {MAX_TEXT} bytes")));
        }
        let mut builder = Builder::new(position);
        let mut at = 0;
        while let Some(begin) = text[at..].find("{{") {
            builder.text(&text[at..at + begin]);
            let (expression, end) = Expression::compile_insertion(text, at + begin + 2, scope)?;
            builder.insert(expression);
            at = end;
        }
        builder.text(&text[at..]);
        Ok(builder.finish())
    }

    /// Whether the text needs a variable, directly or through a declared one.
    pub fn uses(&self, variable: &str) -> bool {
        self.uses.contains(variable)
    }

    /// Returns all variables that the text needs.
    pub fn used(&self) -> impl Iterator<Item = &Arc<str>> {
        self.uses.iter()
    }

    pub(super) fn set_uses(&mut self, uses: BTreeSet<Arc<str>>) {
        self.uses = uses;
    }

    /// Returns the text, if nothing is inserted into it.
    pub fn constant(&self) -> Option<String> {
        let parts = self.pieces.iter().flat_map(|piece| &piece.parts);
        if parts.clone().any(|part| matches!(part, Part::Insert { .. })) {
            return None;
        }
        let text = |piece: &Piece| {
            let own =
                piece.parts.iter().filter_map(|part| if let Part::Text(text) = part { Some(&**text) } else { None });
            piece.separator.into_iter().map(String::from).chain(own.map(str::to_owned)).collect::<String>()
        };
        Some(self.pieces.iter().map(text).collect())
    }

    /// Returns the text with all values inserted.
    ///
    /// # Errors
    /// A value is missing, too long, or not allowed here.
    pub fn render(&self, values: &Values<'_>) -> Result<String, Failure> {
        let mut out = String::new();
        self.write(values, &mut out)?;
        Ok(out)
    }

    /// Appends the text with all values inserted. After an error, `out` is unchanged.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn write(&self, values: &Values<'_>, out: &mut String) -> Result<(), Failure> {
        self.write_or(values, None, out)
    }

    /// The same as [`Template::write`], with a text in place of each missing value.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn write_or(&self, values: &Values<'_>, instead: Option<&str>, out: &mut String) -> Result<(), Failure> {
        let start = out.len();
        let mut left_out = None;
        for piece in &self.pieces {
            let before = out.len();
            // The first parameter that is not left out gets the question mark.
            out.extend(left_out.or(piece.separator));
            match self.write_parts(&piece.parts, values, instead, out, start) {
                Ok(()) => left_out = None,
                Err(Failure::Missing(_)) if piece.separator.is_some() => {
                    out.truncate(before);
                    left_out = left_out.or(piece.separator).filter(|&separator| separator == '?');
                }
                Err(failure) => {
                    out.truncate(start);
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    fn write_parts(
        &self,
        parts: &[Part],
        values: &Values<'_>,
        instead: Option<&str>,
        out: &mut String,
        start: usize,
    ) -> Result<(), Failure> {
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Insert { expression, way } => {
                    let inserted =
                        expression.evaluate(values).and_then(|value| self.insert(value, *way, expression, out));
                    match (inserted, instead) {
                        (Err(Failure::Missing(_)), Some(instead)) => out.push_str(instead),
                        (inserted, _) => inserted?,
                    }
                }
            }
            if out.len() - start > MAX_RENDERED {
                return Err(Failure::too_long());
            }
        }
        Ok(())
    }

    fn insert(&self, value: Value<'_>, way: Way, expression: &Expression, out: &mut String) -> Result<(), Failure> {
        if self.position == Position::Field && matches!(value, Value::Null) {
            return Err(Failure::Missing(expression.source().to_owned()));
        }
        let text = value.into_text()?;
        if text.len() > MAX_RENDERED {
            return Err(Failure::too_long());
        }
        if self.position == Position::Header && text.contains(['\r', '\n', '\0']) {
            return Err(Failure::Refused("a value contains a line break, which a header must not have".into()));
        }
        match way {
            Way::AsIs => out.push_str(&text),
            Way::JsonEscaped => json::escape(&text, out),
            Way::PercentEncoded => out.extend(percent_encoded(&text)),
        }
        Ok(())
    }
}

/// Builds a template from its parts.
struct Builder {
    position: Position,
    pieces: Vec<Piece>,
    uses: BTreeSet<Arc<str>>,
    /// Inside double quotes of the template's own text.
    quoted: bool,
    in_query: bool,
}

impl Builder {
    fn new(position: Position) -> Builder {
        Builder { position, pieces: vec![Piece::default()], uses: BTreeSet::new(), quoted: false, in_query: false }
    }

    fn text(&mut self, text: &str) {
        let mut escaped = false;
        for char in text.chars() {
            if char == '"' && !escaped {
                self.quoted = !self.quoted;
            }
            escaped = char == '\\' && !escaped;
        }
        if self.position != Position::Url {
            return self.own(text);
        }
        let mut rest = text;
        while let Some(at) = rest.find(|char| self.separates(char)) {
            self.own(&rest[..at]);
            self.in_query = true;
            self.pieces.push(Piece { separator: rest[at..].chars().next(), parts: Vec::new() });
            rest = &rest[at + 1..];
        }
        self.own(rest);
    }

    fn separates(&self, char: char) -> bool {
        match char {
            '?' => !self.in_query,
            // An inserted address may have its own query.
            '&' => self.in_query || matches!(self.pieces[0].parts.first(), Some(Part::Insert { .. })),
            _ => false,
        }
    }

    fn own(&mut self, text: &str) {
        if let (false, Some(piece)) = (text.is_empty(), self.pieces.last_mut()) {
            piece.parts.push(Part::Text(text.to_owned()));
        }
    }

    fn insert(&mut self, expression: Expression) {
        let begins = self.pieces.len() == 1 && self.pieces[0].parts.is_empty();
        let way = match self.position {
            Position::Url if begins => Way::AsIs,
            Position::Url => Way::PercentEncoded,
            _ if self.quoted => Way::JsonEscaped,
            _ => Way::AsIs,
        };
        self.uses.extend(expression.used().cloned());
        if let Some(piece) = self.pieces.last_mut() {
            piece.parts.push(Part::Insert { expression, way });
        }
    }

    fn finish(self) -> Template {
        Template { position: self.position, pieces: self.pieces, uses: self.uses }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialogue::fixture::Fixture;

    #[test]
    fn a_string_is_inserted_as_its_content_and_anything_else_as_its_raw_token() {
        let message =
            Fixture::over(r#"{"s":"a\"b","n":123456789012345678901234567,"o":{"x": [1]},"f":1.10,"z":null,"t":true}"#);
        assert_eq!(
            message.render("{{/s}}|{{/n}}|{{/o}}|{{/f}}|{{/z}}|{{/t}}").unwrap(),
            "a\"b|123456789012345678901234567|{\"x\": [1]}|1.10|null|true"
        );
        assert_eq!(message.render(r#"{"pong":{{/n}}}"#).unwrap(), r#"{"pong":123456789012345678901234567}"#);
        assert_eq!(message.render(r#"{"d":{{null}}}"#).unwrap(), r#"{"d":null}"#);
    }

    #[test]
    fn inside_double_quotes_of_the_templates_own_text_it_is_json_escaped() {
        let fixture = Fixture::new().with("v", "a\"b\\\n").with("identifier", r#"{"channel":"News"}"#);
        assert_eq!(fixture.render(r#"{"a":"{{v}}","b":{{v}}}"#).unwrap(), "{\"a\":\"a\\\"b\\\\\\n\",\"b\":a\"b\\\n}");
        assert_eq!(
            fixture.render(r#"{"command":"subscribe","identifier":"{{identifier}}"}"#).unwrap(),
            r#"{"command":"subscribe","identifier":"{\"channel\":\"News\"}"}"#
        );
        // An escaped quote neither opens nor closes.
        assert_eq!(fixture.render(r#""x\"{{v}}""#).unwrap(), "\"x\\\"a\\\"b\\\\\\n\"");
        assert_eq!(fixture.render(r#""x\\"{{v}}"#).unwrap(), "\"x\\\\\"a\"b\\\n");
    }

    #[test]
    fn in_a_url_it_is_percent_encoded_except_at_the_very_beginning() {
        let fixture = Fixture::new().with("base", "wss://host/a?x=1").with("t", "a b/&=ä\"").with("path", "p/q");
        let url = |template| fixture.render_as(Position::Url, template).unwrap();
        assert_eq!(url("{{base}}&token={{t}}"), "wss://host/a?x=1&token=a%20b%2F%26%3D%C3%A4%22");
        assert_eq!(url("{{cursor ?? base}}/?v=10&encoding=json"), "wss://host/a?x=1/?v=10&encoding=json");
        assert_eq!(url("wss://h/{{path}}?q=\"{{t}}\""), "wss://h/p%2Fq?q=\"a%20b%2F%26%3D%C3%A4%22\"");
        assert_eq!(url("{{path}}{{path}}"), "p/qp%2Fq");
    }

    #[test]
    fn a_query_parameter_whose_value_is_missing_is_left_out() {
        let fixture = Fixture::new().with("base", "wss://host/a?x=1").with("a", "1").without("b");
        let url = |template| fixture.render_as(Position::Url, template).unwrap();
        assert_eq!(url("wss://h/p?cursor={{b}}"), "wss://h/p");
        assert_eq!(url("wss://h/p?a={{a}}&cursor={{b}}"), "wss://h/p?a=1");
        assert_eq!(url("wss://h/p?cursor={{b}}&a={{a}}"), "wss://h/p?a=1");
        assert_eq!(url("wss://h/p?x={{b}}&y={{b}}&v=2&z={{b}}&a={{a}}"), "wss://h/p?v=2&a=1");
        assert_eq!(url("{{base}}&cursor={{b}}"), "wss://host/a?x=1");
        assert_eq!(url("{{base}}&cursor={{b}}&a={{a}}"), "wss://host/a?x=1&a=1");
        assert_eq!(url("wss://h/p?cursor={{b ?? ''}}"), "wss://h/p?cursor=");
    }

    #[test]
    fn any_other_missing_value_fails_and_names_the_variable() {
        let fixture = Fixture::over("{}").without("b").declare(&[("outer", "{{b}}")]);
        let missing = |what: &str| Err(Failure::Missing(what.to_owned()));
        assert_eq!(fixture.render_as(Position::Url, "wss://h/{{b}}?a=1"), missing("b"));
        assert_eq!(fixture.render(r#"{"a":{{cursor}}}"#), missing("cursor"));
        assert_eq!(fixture.render("{{outer}}"), missing("b"));
        assert_eq!(fixture.render("{{hex(hmac_sha256('secret text', /x))}}"), missing("/x"));
        assert_eq!(fixture.render("{{add('a', 1)}}"), missing("add(integer, integer)"));
        assert_eq!(fixture.render("{{b}}").unwrap_err().to_string(), "b has no value");
    }

    #[test]
    fn in_a_header_line_breaks_are_refused() {
        for value in ["a\r\nX: y", "a\nb", "a\rb", "a\0b"] {
            let fixture = Fixture::new().with("v", value);
            let failure = fixture.render_as(Position::Header, "Bearer {{v}}").unwrap_err();
            assert_eq!(failure.to_string(), "a value contains a line break, which a header must not have");
        }
        let fixture = Fixture::new().with("v", "a b");
        assert_eq!(fixture.render_as(Position::Header, "Bearer {{v}}").unwrap(), "Bearer a b");
    }

    #[test]
    fn null_counts_as_missing_in_a_records_fields() {
        let message = Fixture::over(r#"{"s":null,"a":"x"}"#);
        assert_eq!(message.render_as(Position::Field, "{{/s}}"), Err(Failure::Missing("/s".into())));
        assert_eq!(message.render_as(Position::Field, "{{/s ?? /a}}").unwrap(), "x");
        assert_eq!(message.render("{{/s}}").unwrap(), "null");
    }

    #[test]
    fn a_template_with_a_missing_part_is_missing_as_a_whole() {
        let message = Fixture::over(r#"{"a":"x","n":null}"#);
        assert!(matches!(message.render_as(Position::Field, "{{/a}}:{{/none}}"), Err(Failure::Missing(_))));
        assert!(matches!(message.render_as(Position::Field, "{{/a}}:{{/n}}"), Err(Failure::Missing(_))));
        let mut out = String::from("before");
        let names = Fixture::new();
        assert!(names.render("x{{cursor}}").is_err());
        out.push_str(&message.render("{{/a}}").unwrap());
        assert_eq!(out, "beforex");
    }

    #[test]
    fn a_declared_variable_is_evaluated_once_for_each_message_that_uses_it() {
        let mut fixture = Fixture::new().declare(&[("ts", "{{n()}}"), ("sign", "{{ts + ':' + ts}}")]);
        assert_eq!(fixture.render("{{ts}} {{sign}} {{ts}}").unwrap(), "1 1:1 1");
        assert_eq!(fixture.render("{{ts}}").unwrap(), "1", "the same message");
        fixture.made.clear();
        assert_eq!(fixture.render("{{sign}} {{ts}}").unwrap(), "2:2 2", "what is sent again is fresh");
    }

    #[test]
    fn n_counts_per_connection() {
        let fixture = Fixture::new();
        assert_eq!(fixture.render("{{n()}}{{n()}}").unwrap(), "12");
        fixture.count.set(0);
        assert_eq!(fixture.render("{{n()}}").unwrap(), "1");
    }

    #[test]
    fn braces_end_where_the_expression_does() {
        let fixture = Fixture::over(r#"{"a":1}"#);
        assert_eq!(fixture.render(r#"{"x":{"y":{{/a}}}}"#).unwrap(), r#"{"x":{"y":1}}"#);
        assert_eq!(fixture.render("{{'}}' + '{{'}}").unwrap(), "}}{{");
        assert_eq!(fixture.render("{ {a} }}").unwrap(), "{ {a} }}");
        assert_eq!(fixture.render("{\"type\":6}{{'\\u001e'}}").unwrap(), "{\"type\":6}\u{1e}");
    }

    #[test]
    fn problems_have_the_column_in_the_options_text() {
        let fixture = Fixture::over("{}").without("interval");
        assert_eq!(
            fixture.template_problem("ä {{interval"),
            "column 13: expected }}, ==, !=, <, <=, >, >=, in, startsWith, contains, exists, &&, ||, ?? or +, found the end"
        );
        assert_eq!(
            fixture.template_problem("{{interval}} {{intervl}}"),
            "column 16: intervl is not known; expected a variable such as interval"
        );
        assert_eq!(
            fixture.template_problem("{{sha256('x')}}"),
            "column 3: expected text, found bytes; hex(…) or base64(…) make text of them"
        );
        assert_eq!(
            fixture.template_problem("{{}}"),
            "column 3: expected a value: a JSON Pointer, a variable, a 'text', a number or a function, found }"
        );
    }

    #[test]
    fn the_text_of_a_secret_is_in_no_problem_and_no_failure() {
        let fixture = Fixture::over("{}").with("secret.k", "hunter2");
        for template in [
            "{{hmac_sha256('hunter2', 'x'}}",
            "{{'hunter2' 'x'}}",
            "{{/a 'hunter2'}}",
            "{{'hunter2}}",
            "{{part('hunter2')}}",
        ] {
            assert!(!fixture.template_problem(template).contains("hunter2"), "{template}");
        }
        for template in [
            "{{ed25519_sign(secret.k, 'x')}}",
            "{{jwt('ES256', secret.k, '{}')}}",
            "{{jwt('HS256', secret.k, secret.k)}}",
        ] {
            let template = template.replace("{{ed25519_sign(secret.k, 'x')}}", "{{hex(ed25519_sign(secret.k, 'x'))}}");
            assert!(!fixture.render(&template).unwrap_err().to_string().contains("hunter2"), "{template}");
        }
        assert!(
            !fixture
                .render_as(Position::Field, "{{when(false, 'hunter2')}}")
                .unwrap_err()
                .to_string()
                .contains("hunter2")
        );
    }

    #[test]
    fn a_rendered_text_has_at_most_64_kib() {
        let long = "x".repeat(MAX_RENDERED / 2 + 1);
        let fixture = Fixture::new().with("v", &long).declare(&[("twice", "{{v}}{{v}}")]);
        let too_long = Err(Failure::too_long());
        assert_eq!(fixture.render("{{v}}{{v}}"), too_long);
        assert_eq!(fixture.render("{{v + v}}"), too_long);
        assert_eq!(fixture.render("{{hex(v)}}"), too_long);
        assert_eq!(fixture.render("{{twice}}"), too_long);
        assert!(fixture.render("{{v}}").is_ok());
        assert!(fixture.template_problem(&"x".repeat(MAX_TEXT + 1)).contains("at most"));
    }

    #[test]
    fn a_template_without_insertions_is_constant() {
        let fixture = Fixture::new();
        let constant = |text: &str, position| {
            let mut paths = crate::dialogue::Paths::default();
            let mut scope = Scope {
                names: &fixture.names,
                given: &[],
                message: crate::dialogue::Message::None,
                answer: false,
                paths: &mut paths,
            };
            Template::compile(text, position, &mut scope).unwrap().constant()
        };
        assert_eq!(constant("wss://h/?a=1&b=2", Position::Url).as_deref(), Some("wss://h/?a=1&b=2"));
        assert_eq!(constant("{{n()}}", Position::Plain), None);
        assert_eq!(constant("", Position::Plain).as_deref(), Some(""));
    }
}
