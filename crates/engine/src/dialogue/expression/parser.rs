//! Compiles text to an expression. An error has the column, and what was expected there.
//!
//! ```text
//! any        = all ( "||" all )*
//! all        = not ( "&&" not )*
//! not        = "!" not | comparison
//! comparison = default [ ("==" | "!=" | "<" | "<=" | ">" | ">=" | "startsWith" | "contains") default | "exists"
//!                      | "in" "[" default ( "," default )* "]" ]
//! default    = sum ( "??" sum )*
//! sum        = value ( "+" value )*
//! value      = pointer | 'text' | number | word | word "(" arguments ")" | "(" any ")"
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use super::value::Comparison;
use super::{At, Expression, Message, Node, Problem, Scope};
use crate::dialogue::decimal;
use crate::dialogue::function::{self, Arguments, Function, Yields};
use crate::dialogue::variables::{Origin, is_secret};
use crate::json::{Pointer, Pointers, Token, unescape};
use crate::nearest::nearest;

/// The most levels of parentheses, functions and `!`.
const MAX_DEPTH: usize = 32;
/// The longest text of an expression, in bytes.
const MAX_LENGTH: usize = 8 * 1024;
const ONE_STAR: &str =
    "expected a value without * here: each value of one side would be compared with each of the other";
const OPERATORS: &str = "==, !=, <, <=, >, >=, in, startsWith, contains, exists, &&, ||, ?? or +";

/// Compiles a whole text as an expression.
pub(super) fn whole(text: &str, scope: &mut Scope<'_>) -> Result<Expression, Problem> {
    let mut parser = Parser::new(text, 0, scope);
    let (node, start) = parser.any()?;
    parser.end()?;
    parser.text_of(&node, start)?;
    Ok(parser.finish(node, 0))
}

/// Compiles a whole text as a condition.
pub(super) fn condition(text: &str, scope: &mut Scope<'_>) -> Result<Expression, Problem> {
    let mut parser = Parser::new(text, 0, scope);
    let (node, start) = parser.any()?;
    parser.end()?;
    parser.condition(&node, start)?;
    Ok(parser.finish(node, 0))
}

/// Compiles an expression from `at` to `}}`. Returns the end as well.
pub(super) fn insertion(text: &str, at: usize, scope: &mut Scope<'_>) -> Result<(Expression, usize), Problem> {
    let mut parser = Parser::new(text, at, scope);
    let (node, start) = parser.any()?;
    parser.blanks();
    if !parser.take("}}") {
        return Err(parser.expected_operator_or("}}"));
    }
    parser.text_of(&node, start)?;
    let end = parser.at;
    Ok((parser.finish(node, at), end))
}

/// Parses a whole text as a pointer.
pub(super) fn pointer(text: &str) -> Result<Pointer, Problem> {
    let mut lexer = Lexer { text, at: 0, in_list: false };
    if !text.is_empty() && lexer.peek() != Some('/') {
        return Err(lexer.expected("a JSON Pointer, which begins with /"));
    }
    let pointer = lexer.pointer()?;
    if lexer.at < text.len() {
        return Err(lexer.expected("the end of the JSON Pointer; write a name with such a character in single quotes"));
    }
    Ok(pointer)
}

/// The characters of an expression.
struct Lexer<'t> {
    text: &'t str,
    at: usize,
    /// Whether the position is between `[` and `]`, where `]` ends a pointer.
    in_list: bool,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        let there = self.rest().starts_with(token);
        if there {
            self.at += token.len();
        }
        there
    }

    /// Returns the word at the position, without a move.
    fn word(&self) -> &'t str {
        let rest = self.rest();
        if !rest.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_') {
            return "";
        }
        let inside = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.');
        let end = rest.find(|char| !inside(char)).unwrap_or(rest.len());
        rest[..end].trim_end_matches(['.', '-'])
    }

    fn take_word(&mut self, word: &str) -> bool {
        let there = self.word() == word;
        if there {
            self.at += word.len();
        }
        there
    }

    fn problem_at(&self, at: usize, message: impl Into<String>) -> Problem {
        Problem::new(self.text[..at].chars().count() + 1, message)
    }

    fn expected(&self, what: &str) -> Problem {
        self.problem_at(self.at, format!("expected {what}, found {}", self.found()))
    }

    fn expected_operator_or(&self, what: &str) -> Problem {
        let half = [("=", "=="), ("&", "&&"), ("|", "||"), ("?", "??")];
        let words = [("and", "&&"), ("or", "||"), ("is", "==")];
        let symbol = half.iter().find(|(symbol, _)| self.rest().starts_with(symbol));
        let other = symbol.or_else(|| words.iter().find(|(word, _)| self.word().eq_ignore_ascii_case(word)));
        let meant = other.map(|(_, meant)| *meant);
        match meant.or_else(|| nearest(self.word(), ["exists", "contains", "startsWith"].into_iter())) {
            Some(meant) => self.expected(meant),
            None => self.expected(&format!("{what}, {OPERATORS}")),
        }
    }

    /// Returns what is at the position, for an error. Text in quotes may be a secret, so it is not repeated.
    fn found(&self) -> String {
        match self.peek() {
            None => "the end".into(),
            Some('\'') => "a text".into(),
            Some('"') => "a double quote; write text in single quotes".into(),
            Some(char) if char.is_ascii_digit() => "a number".into(),
            Some(char) if self.word().is_empty() => char.to_string(),
            Some(_) => self.word().into(),
        }
    }

    /// Parses a pointer, from a `/` or at the end.
    fn pointer(&mut self) -> Result<Pointer, Problem> {
        let mut tokens = Vec::new();
        while self.take("/") {
            if self.peek() == Some('\'') {
                tokens.push(Token::Name(self.quoted()?.into()));
                continue;
            }
            let ends =
                |char: char| char.is_whitespace() || "()=!<>&|,+?}/".contains(char) || (char == ']' && self.in_list);
            let token = &self.rest()[..self.rest().find(ends).unwrap_or(self.rest().len())];
            if let Some(at) = token.find('[') {
                let remedy = "expected /0 for the first element of an array; write a name with [ in single quotes";
                return Err(self.problem_at(self.at + at, remedy));
            }
            tokens.push(match token {
                "*" => Token::Each,
                "-1" => Token::Last,
                name => Token::Name(self.name(name)?.into()),
            });
            self.at += token.len();
        }
        Ok(Pointer::new(tokens))
    }

    /// Parses an escape of RFC 6901 §3: `~0` is `~`, `~1` is `/`.
    fn name(&self, token: &str) -> Result<String, Problem> {
        let mut name = String::new();
        let mut chars = token.char_indices();
        while let Some((at, char)) = chars.next() {
            let char = match (char, chars.as_str().chars().next()) {
                ('~', Some('0')) => '~',
                ('~', Some('1')) => '/',
                ('~', _) => return Err(self.problem_at(self.at + at, "expected ~0 (for ~) or ~1 (for /)")),
                (other, _) => {
                    name.push(other);
                    continue;
                }
            };
            name.push(char);
            chars.next();
        }
        Ok(name)
    }

    /// Parses a text in single quotes, with the escapes of JSON and `\'`.
    fn quoted(&mut self) -> Result<String, Problem> {
        let start = self.at;
        self.at += 1;
        let inner = self.rest();
        let mut chars = inner.char_indices();
        while let Some((at, char)) = chars.next() {
            if char == '\'' {
                self.at += at + 1;
                return Ok(unescape(&inner[..at]).into_owned());
            }
            if char != '\\' {
                continue;
            }
            let escape = self.at + at;
            let good = match chars.next().map(|(_, char)| char) {
                Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' | '\'') => true,
                Some('u') => (0..4).all(|_| chars.next().is_some_and(|(_, char)| char.is_ascii_hexdigit())),
                _ => false,
            };
            if !good {
                let escapes = r#"expected an escape of JSON (\" \\ \/ \b \f \n \r \t \u1234) or \'"#;
                return Err(self.problem_at(escape, escapes));
            }
        }
        Err(self.problem_at(start, "expected ' at the end of the text"))
    }
}

/// The type of an expression, as far as it is known before the evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Condition,
    /// A variable, which may be `true`.
    Any,
    Value,
    Bytes,
}

fn kind(node: &Node) -> Kind {
    let of_all = |nodes: &[Node]| {
        let kinds: Vec<Kind> = nodes.iter().map(kind).collect();
        if kinds.contains(&Kind::Bytes) {
            Kind::Bytes
        } else if kinds.contains(&Kind::Value) {
            Kind::Value
        } else {
            Kind::Any
        }
    };
    match node {
        Node::Or(_) | Node::And(_) | Node::Not(_) | Node::Compare(..) | Node::In(..) | Node::Exists(_) => {
            Kind::Condition
        }
        Node::Bool(_) => Kind::Condition,
        Node::Variable { .. } => Kind::Any,
        Node::Default(nodes) => of_all(nodes),
        Node::Concat(nodes) if of_all(nodes) == Kind::Bytes => Kind::Bytes,
        Node::When(_, node) => kind(node),
        Node::Call(function, _) if function.yields() == Yields::Bytes => Kind::Bytes,
        _ => Kind::Value,
    }
}

struct Parser<'t, 's, 'a> {
    lexer: Lexer<'t>,
    scope: &'s mut Scope<'a>,
    uses: BTreeSet<Arc<str>>,
    depth: usize,
    /// Whether the position is inside the parentheses of `envelope`.
    in_envelope: bool,
}

impl<'t> std::ops::Deref for Parser<'t, '_, '_> {
    type Target = Lexer<'t>;

    fn deref(&self) -> &Lexer<'t> {
        &self.lexer
    }
}

impl std::ops::DerefMut for Parser<'_, '_, '_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.lexer
    }
}

/// A node and its position.
type Placed = (Node, usize);

impl<'t, 's, 'a> Parser<'t, 's, 'a> {
    fn new(text: &'t str, at: usize, scope: &'s mut Scope<'a>) -> Self {
        let lexer = Lexer { text, at, in_list: false };
        Parser { lexer, scope, uses: BTreeSet::new(), depth: 0, in_envelope: false }
    }

    fn finish(self, node: Node, start: usize) -> Expression {
        let source = without_texts(self.lexer.text[start..self.lexer.at].trim_end_matches('}').trim());
        Expression { node, source: source.into(), uses: self.uses }
    }

    fn end(&mut self) -> Result<(), Problem> {
        self.blanks();
        if self.rest().is_empty() { Ok(()) } else { Err(self.expected_operator_or("the end")) }
    }

    fn condition(&self, node: &Node, start: usize) -> Result<(), Problem> {
        match kind(node) {
            Kind::Condition | Kind::Any => Ok(()),
            Kind::Value | Kind::Bytes => {
                let remedy = "expected a condition such as /a exists or /a == true, found a value";
                Err(self.problem_at(start, remedy))
            }
        }
    }

    fn text_of(&self, node: &Node, start: usize) -> Result<(), Problem> {
        if kind(node) == Kind::Bytes {
            return Err(self.problem_at(start, "expected text, found bytes; hex(…) or base64(…) make text of them"));
        }
        Ok(())
    }

    /// Calls `parse` one level deeper.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Problem>) -> Result<T, Problem> {
        if self.depth >= MAX_DEPTH {
            return Err(self.problem_at(self.at, format!("expected at most {MAX_DEPTH} levels inside of each other")));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    fn any(&mut self) -> Result<Placed, Problem> {
        let (begin, in_list) = (self.at, std::mem::take(&mut self.lexer.in_list));
        let placed = self.nested(|parser| {
            parser.conditions("||", Node::Or, |parser| parser.conditions("&&", Node::And, Self::not))
        })?;
        self.lexer.in_list = in_list;
        if self.at - begin > MAX_LENGTH {
            return Err(self.problem_at(begin, format!("expected an expression of at most {MAX_LENGTH} bytes")));
        }
        Ok(placed)
    }

    /// Parses conditions between operators. A single one may be a value.
    fn conditions(
        &mut self,
        operator: &str,
        join: fn(Vec<Node>) -> Node,
        one: impl Fn(&mut Self) -> Result<Placed, Problem>,
    ) -> Result<Placed, Problem> {
        let (first, start) = one(self)?;
        let mut nodes = vec![first];
        let mut last = start;
        loop {
            self.blanks();
            if !self.take(operator) {
                break;
            }
            self.condition(&nodes[nodes.len() - 1], last)?;
            let (next, begin) = one(self)?;
            self.condition(&next, begin)?;
            nodes.push(next);
            last = begin;
        }
        let node = if nodes.len() > 1 { join(nodes) } else { nodes.swap_remove(0) };
        Ok((node, start))
    }

    fn not(&mut self) -> Result<Placed, Problem> {
        self.blanks();
        let start = self.at;
        if !self.take("!") {
            return self.comparison();
        }
        let (node, begin) = self.nested(Self::not)?;
        self.condition(&node, begin)?;
        Ok((Node::Not(Box::new(node)), start))
    }

    fn comparison(&mut self) -> Result<Placed, Problem> {
        let (left, start) = self.default()?;
        self.blanks();
        if self.take_word("exists") {
            return Ok((Node::Exists(Box::new(left)), start));
        }
        if self.take_word("in") {
            self.text_of(&left, start)?;
            let begin = self.at;
            let list = self.list()?;
            if left.is_plural() && list.iter().any(Node::is_plural) {
                return Err(self.problem_at(begin, ONE_STAR));
            }
            return Ok((Node::In(Box::new(left), list), start));
        }
        let Some(comparison) = self.operator()? else { return Ok((left, start)) };
        self.text_of(&left, start)?;
        let (right, begin) = self.default()?;
        self.text_of(&right, begin)?;
        // The time would grow with the square of the message.
        let searches = comparison == Comparison::Contains && !matches!(left, Node::Text(_));
        if right.is_plural() && (left.is_plural() || searches) {
            return Err(self.problem_at(begin, ONE_STAR));
        }
        Ok((Node::Compare(Box::new(left), comparison, Box::new(right)), start))
    }

    fn operator(&mut self) -> Result<Option<Comparison>, Problem> {
        let symbols = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::AtMost),
            ("<", Comparison::Less),
            (">=", Comparison::AtLeast),
            (">", Comparison::Greater),
        ];
        if let Some((_, comparison)) = symbols.into_iter().find(|(symbol, _)| self.lexer.take(symbol)) {
            return Ok(Some(comparison));
        }
        for (word, comparison) in [("startsWith", Comparison::StartsWith), ("contains", Comparison::Contains)] {
            if self.take_word(word) {
                return Ok(Some(comparison));
            }
        }
        Ok(None)
    }

    fn list(&mut self) -> Result<Vec<Node>, Problem> {
        self.blanks();
        if !self.take("[") {
            return Err(self.expected("[ and a list such as ['a', 'b']"));
        }
        let mut nodes = Vec::new();
        loop {
            let outer = std::mem::replace(&mut self.lexer.in_list, true);
            let (node, start) = self.default()?;
            self.lexer.in_list = outer;
            self.text_of(&node, start)?;
            nodes.push(node);
            self.blanks();
            if self.take("]") {
                return Ok(nodes);
            }
            if !self.take(",") {
                return Err(self.expected(", or ]"));
            }
        }
    }

    fn default(&mut self) -> Result<Placed, Problem> {
        self.operands("??", Node::Default, Self::sum)
    }

    fn sum(&mut self) -> Result<Placed, Problem> {
        self.operands("+", Node::Concat, Self::value)
    }

    fn operands(
        &mut self,
        operator: &str,
        join: fn(Vec<Node>) -> Node,
        one: fn(&mut Self) -> Result<Placed, Problem>,
    ) -> Result<Placed, Problem> {
        let (first, start) = one(self)?;
        let mut nodes = vec![first];
        loop {
            self.blanks();
            if !self.take(operator) {
                break;
            }
            nodes.push(one(self)?.0);
        }
        let node = if nodes.len() > 1 { join(nodes) } else { nodes.swap_remove(0) };
        Ok((node, start))
    }

    fn value(&mut self) -> Result<Placed, Problem> {
        self.blanks();
        let start = self.at;
        let node = match self.peek() {
            Some('(') => {
                self.at += 1;
                let (node, _) = self.any()?;
                self.close()?;
                node
            }
            Some('\'') => Node::Text(self.quoted()?.into()),
            Some('/') => self.path()?,
            Some(char) if char.is_ascii_digit() || char == '-' => self.number()?,
            _ if !self.word().is_empty() => self.named()?,
            _ => {
                return Err(self.expected("a value: a JSON Pointer, a variable, a 'text', a number or a function"));
            }
        };
        Ok((node, start))
    }

    fn close(&mut self) -> Result<(), Problem> {
        self.blanks();
        if self.take(")") { Ok(()) } else { Err(self.expected_operator_or(")")) }
    }

    fn number(&mut self) -> Result<Node, Problem> {
        let inside = |char: char| char.is_ascii_alphanumeric() || char == '.' || char == '-';
        let rest = self.rest();
        let mut end = rest.find(|char| !inside(char)).unwrap_or(rest.len());
        // A plus in an exponent. Any other plus is the operator.
        if rest[..end].ends_with(['e', 'E']) && rest[end..].starts_with('+') {
            let digits = &rest[end + 1..];
            end += 1 + digits.find(|char: char| !char.is_ascii_digit()).unwrap_or(digits.len());
        }
        let text = &rest[..end];
        if !decimal::is_number(text) {
            return Err(self.problem_at(self.at, "expected a number as JSON has it, such as -1.5e3"));
        }
        self.at += end;
        Ok(Node::Number(text.into()))
    }

    fn path(&mut self) -> Result<Node, Problem> {
        let start = self.at;
        let pointer = self.lexer.pointer()?;
        let source = without_texts(&self.text[start..self.at]).into();
        let plural = pointer.is_plural();
        let at = self.message_at(start)?;
        let paths = &mut self.scope.paths;
        let id = match at {
            At::Message => paths.message.add(pointer),
            At::Record => paths.record.add(pointer),
        };
        Ok(Node::Pointer { at, id, plural, source })
    }

    /// Returns whether pointers here are for the message or the record.
    fn message_at(&self, start: usize) -> Result<At, Problem> {
        match self.scope.message {
            Message::None => Err(self.problem_at(start, "there is no message here; expected a variable or a function")),
            Message::Record if !self.in_envelope => Ok(At::Record),
            Message::Whole | Message::Record => Ok(At::Message),
        }
    }

    /// Parses a word: a literal, a part of the message, a variable or a function.
    fn named(&mut self) -> Result<Node, Problem> {
        let (start, word) = (self.at, self.word());
        self.at += word.len();
        if self.rest().trim_start().starts_with('(') {
            return self.call(word, start);
        }
        match word {
            "true" => Ok(Node::Bool(true)),
            "false" => Ok(Node::Bool(false)),
            "null" => Ok(Node::Null),
            "text" => Ok(Node::WholeText(self.message_at(start)?)),
            "index" => self.message_at(start).map(|_| Node::Index),
            "status" => self.answer(start).map(|()| Node::Status),
            "topic" => self.variable(word, start).map(|_| Node::Topic),
            "topics" => self.variable(word, start).map(|_| Node::Topics),
            _ => self.variable(word, start),
        }
    }

    fn answer(&self, start: usize) -> Result<(), Problem> {
        if self.scope.answer {
            return Ok(());
        }
        Err(self.problem_at(start, "there is no HTTP answer here; expected a JSON Pointer, a variable or a function"))
    }

    fn variable(&mut self, word: &str, start: usize) -> Result<Node, Problem> {
        let scope = &*self.scope;
        let Some((id, name, origin)) = scope.names.get(word) else {
            return Err(self.problem_at(start, self.unknown_variable(word)));
        };
        let here = |name: &str| scope.given.contains(&name) || !super::super::variables::GIVEN.contains(&name);
        if !here(name) {
            return Err(self.problem_at(start, format!("{name} has no value here")));
        }
        let mut declared = false;
        let mut needs = Vec::new();
        if let Origin::Declared(template) = origin {
            declared = true;
            needs.extend(template.iter().flat_map(|template| template.used()).cloned());
        }
        if let Some(given) = needs.iter().find(|name| !here(name)) {
            return Err(self.problem_at(start, format!("{name} needs {given}, which has no value here")));
        }
        let name = name.clone();
        if self.uses.insert(name.clone()) {
            self.uses.extend(needs);
        }
        Ok(Node::Variable { id, name, declared })
    }

    fn unknown_variable(&self, word: &str) -> String {
        if let Some(secret) = word.strip_prefix("secret.") {
            return format!("{word} is not known; set websocket.secret.{secret}, or capture it");
        }
        let known = self.scope.names.all().filter(|name| !is_secret(name));
        match nearest(word, known.chain(["text", "status", "index"])) {
            Some(near) => format!("{word} is not known; expected a variable such as {near}"),
            None if self.scope.message == Message::None => {
                format!("{word} is not known; set websocket.var.{word}, or capture it")
            }
            None => {
                let pointer = word.replace('.', "/");
                format!(
                    "{word} is not known; write /{pointer} for a field of the message, or set websocket.var.{word}, or capture it"
                )
            }
        }
    }

    fn call(&mut self, word: &str, start: usize) -> Result<Node, Problem> {
        self.blanks();
        self.at += 1;
        self.nested(|parser| match word {
            "when" => {
                let condition = parser.any()?;
                parser.condition(&condition.0, condition.1)?;
                parser.comma("when(condition, value)")?;
                let value = parser.argument()?.0;
                parser.close()?;
                Ok(Node::When(Box::new(condition.0), Box::new(value)))
            }
            "envelope" => {
                let outer = std::mem::replace(&mut parser.in_envelope, true);
                let (node, begin) = parser.argument()?;
                parser.in_envelope = outer;
                if !matches!(node, Node::Pointer { .. }) {
                    return Err(parser.problem_at(begin, "expected a JSON Pointer, as in envelope(/data/id)"));
                }
                parser.close()?;
                Ok(node)
            }
            "header" => {
                parser.answer(start)?;
                let (node, begin) = parser.argument()?;
                let Node::Text(name) = node else {
                    return Err(parser.problem_at(begin, "expected a header's name, as in header('Location')"));
                };
                parser.close()?;
                Ok(Node::Header(name))
            }
            "json" => parser.json(),
            "join" => {
                let (node, begin) = parser.argument()?;
                if !matches!(node, Node::Topics) {
                    return Err(parser.problem_at(begin, "expected topics, as in join(topics, ' ')"));
                }
                parser.comma("join(topics, ' ')")?;
                let separator = parser.argument()?.0;
                parser.close()?;
                Ok(Node::Join(Box::new(separator)))
            }
            "topic_of" => {
                let (node, begin) = parser.argument()?;
                let Node::Variable { id, .. } = node else {
                    return Err(parser.problem_at(begin, "expected a variable, as in topic_of(channel, /0)"));
                };
                parser.comma("topic_of(channel, /0)")?;
                let value = parser.argument()?.0;
                parser.close()?;
                Ok(Node::TopicOf(id, Box::new(value)))
            }
            _ => parser.function(word, start),
        })
    }

    fn comma(&mut self, form: &str) -> Result<(), Problem> {
        self.blanks();
        if self.take(",") { Ok(()) } else { Err(self.expected(&format!("a comma, as in {form}"))) }
    }

    /// Parses an argument. A condition may be in parentheses.
    fn argument(&mut self) -> Result<Placed, Problem> {
        self.any()
    }

    fn json(&mut self) -> Result<Node, Problem> {
        let (text, start) = self.argument()?;
        self.text_of(&text, start)?;
        self.comma("json(/payload, '/id')")?;
        let (inner, begin) = self.argument()?;
        let Node::Text(path) = inner else {
            return Err(self.problem_at(begin, "expected a JSON Pointer as a text, as in json(/payload, '/id')"));
        };
        let pointer = pointer(&path).map_err(|problem| self.problem_at(begin, problem.message))?;
        self.close()?;
        let mut pointers = Pointers::default();
        let id = pointers.add(pointer);
        let scanner = pointers.build().map_err(|why| self.problem_at(begin, why))?;
        Ok(Node::Json(Box::new(text), Box::new((scanner, id))))
    }

    fn function(&mut self, word: &str, start: usize) -> Result<Node, Problem> {
        let Some(function) = Function::find(word) else {
            let message = match nearest(word, function::names()) {
                Some(near) => format!("there is no function {word}; expected one such as {near}"),
                None => format!("there is no function {word}"),
            };
            return Err(self.problem_at(start, message));
        };
        let mut arguments = Vec::new();
        self.blanks();
        while !self.rest().starts_with(')') {
            let (node, _) = self.argument()?;
            arguments.push(node);
            self.blanks();
            if !self.take(",") {
                break;
            }
        }
        self.close()?;
        let Arguments { form, least, most } = function.arguments();
        if !(least..=most).contains(&arguments.len()) {
            let message = format!("expected {form}, found {} arguments", arguments.len());
            return Err(self.problem_at(start, message));
        }
        let literal = |node: &Node| match node {
            Node::Text(text) | Node::Number(text) => Some(text.to_string()),
            _ => None,
        };
        let literals: Vec<Option<String>> = arguments.iter().map(literal).collect();
        function.check(&literals).map_err(|why| self.problem_at(start, why))?;
        Ok(Node::Call(function, arguments))
    }
}

/// Returns the text of an expression without the texts in quotes, which may be secrets.
fn without_texts(source: &str) -> String {
    let mut shown = String::new();
    let mut lexer = Lexer { text: source, at: 0, in_list: false };
    while let Some(char) = lexer.peek() {
        if char == '\'' {
            shown.push_str("'…'");
            if lexer.quoted().is_err() {
                break;
            }
        } else {
            shown.push(char);
            lexer.at += char.len_utf8();
        }
    }
    shown
}
