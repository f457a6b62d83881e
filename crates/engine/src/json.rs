//! JSON Pointers (RFC 6901) over the text of a message, without a tree. All pointers of a configuration are one
//! automaton. One strict pass over the message finds the raw text of all their values.
//!
//! ```text
//! Pointers::add … ─▶ Pointers::build ─▶ Scanner::scan(message, &mut Found) ─▶ Scanned::first(id) ─▶ Raw
//! ```
//!
//! In addition to RFC 6901, `-1` is the last element and `*` is each element or member. If a key comes twice, the last
//! one is used, as in Jackson. A message that is not valid JSON has no values.

mod cursor;

use std::borrow::Cow;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;

use indexmap::{IndexMap, IndexSet};

pub(crate) use cursor::Cursor;

/// Deeper nesting counts as invalid, to limit the stack.
pub const MAX_DEPTH: usize = 512;
/// The most states. Only many pointers with `*` at different places need so many.
const MAX_STATES: usize = 4096;
/// The most tokens that are compared to build the states. A thousand pointers to members of one object need a quarter.
const MAX_BUILD: usize = 8 << 20;
/// The room for values that is kept from one message to the next.
const KEPT_VALUES: usize = 4096;

/// A part of a pointer, a reference token in RFC 6901.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Token {
    /// A member's name, or an element's index.
    Name(Box<str>),
    /// `-1`: the last element.
    Last,
    /// `*`: each element or member.
    Each,
}

impl Token {
    fn names_member(&self, name: &str) -> bool {
        match self {
            Token::Name(own) => **own == *name,
            // In an object, `-1` is a name like any other.
            Token::Last => name == "-1",
            Token::Each => true,
        }
    }

    /// Returns the index of RFC 6901 §4: digits without a leading zero.
    fn index(&self) -> Option<usize> {
        match self {
            Token::Name(name) if name.starts_with('0') && name.len() > 1 => None,
            Token::Name(name) if name.bytes().all(|byte| byte.is_ascii_digit()) => name.parse().ok(),
            _ => None,
        }
    }
}

/// The position of a value in a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pointer(Vec<Token>);

impl Pointer {
    pub fn new(tokens: Vec<Token>) -> Pointer {
        Pointer(tokens)
    }

    /// Whether it can have more than one value.
    pub fn is_plural(&self) -> bool {
        self.0.contains(&Token::Each)
    }
}

/// The pointers for one kind of message.
#[derive(Debug, Clone, Default)]
pub struct Pointers(IndexSet<Pointer>);

/// A pointer's number in its [`Pointers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PointerId(usize);

impl Pointers {
    /// Adds a pointer. If it was added before, it keeps its number.
    pub fn add(&mut self, pointer: Pointer) -> PointerId {
        PointerId(self.0.insert_full(pointer).0)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the automaton that finds all of them in one pass.
    ///
    /// # Errors
    /// There are too many pointers, or too many overlapping ones with `*`.
    pub fn build(&self) -> Result<Scanner, String> {
        let pointers: Vec<&Pointer> = self.0.iter().collect();
        let mut states = States { pointers: &pointers, sets: IndexMap::new(), compared: 0 };
        states.number(Vec::new());
        let start = states.number((0..pointers.len()).map(|pointer| (pointer, 0)).collect());
        let mut built = Vec::new();
        while built.len() < states.sets.len() {
            let state = states.build(built.len());
            built.push(state);
            if states.sets.len() > MAX_STATES || states.are_too_many(0) {
                return Err("there are too many pointers, or too many with * that overlap".into());
            }
        }
        Ok(Scanner { states: built, start, pointers: pointers.len() })
    }
}

/// The state without pointers.
const NOWHERE: usize = 0;

/// Finds the values of all pointers.
#[derive(Debug, Clone)]
pub struct Scanner {
    states: Vec<State>,
    start: usize,
    pointers: usize,
}

/// The pointers that match the present position.
#[derive(Debug, Clone, Default)]
struct State {
    /// Pointers that end here.
    ends: Box<[usize]>,
    members: Box<[Member]>,
    other_member: usize,
    elements: Box<[(usize, usize)]>,
    other_element: usize,
    /// Pointers that continue with `-1`. The values of an earlier element are dropped.
    last: Box<[usize]>,
    /// Pointers that continue with `*`.
    each: Box<[usize]>,
}

#[derive(Debug, Clone)]
struct Member {
    name: Box<str>,
    to: usize,
    /// Pointers that continue with this name. The values of an earlier duplicate are dropped.
    again: Box<[usize]>,
}

/// Builds the automaton. A state is a set of (pointer, number of matched tokens).
struct States<'a> {
    pointers: &'a [&'a Pointer],
    sets: IndexMap<Vec<(usize, usize)>, ()>,
    /// How many tokens were compared, up to a little more than [`MAX_BUILD`].
    compared: usize,
}

impl States<'_> {
    fn number(&mut self, set: Vec<(usize, usize)>) -> usize {
        self.sets.insert_full(set, ()).0
    }

    /// Counts `more` tokens that are to be compared. Returns whether they are too many together.
    fn are_too_many(&mut self, more: usize) -> bool {
        self.compared += more;
        self.compared > MAX_BUILD
    }

    /// Returns the state after the tokens of `set` for which `matches` is true.
    fn after(&mut self, set: &[(usize, usize)], matches: impl Fn(&Token) -> bool) -> usize {
        if self.are_too_many(set.len()) {
            return NOWHERE;
        }
        let next = set.iter().filter(|&&at| self.token(at).is_some_and(&matches));
        let next = next.map(|&(pointer, depth)| (pointer, depth + 1)).collect();
        self.number(next)
    }

    fn token(&self, (pointer, depth): (usize, usize)) -> Option<&Token> {
        self.pointers[pointer].0.get(depth)
    }

    /// Returns the pointers of `set` whose next token matches.
    fn going_on(&mut self, set: &[(usize, usize)], matches: impl Fn(&Token) -> bool) -> Box<[usize]> {
        if self.are_too_many(set.len()) {
            return Box::default();
        }
        set.iter().filter(|&&at| self.token(at).is_some_and(&matches)).map(|&(pointer, _)| pointer).collect()
    }

    fn build(&mut self, number: usize) -> State {
        let set = self.sets.get_index(number).map(|(set, ())| set.clone()).unwrap_or_default();
        let tokens: IndexSet<Token> = set.iter().filter_map(|&at| self.token(at)).cloned().collect();
        let names: IndexSet<&str> = tokens
            .iter()
            .filter_map(|token| match token {
                Token::Name(name) => Some(&**name),
                Token::Last => Some("-1"),
                Token::Each => None,
            })
            .collect();
        let members = names.iter().map(|&name| Member {
            name: name.into(),
            to: self.after(&set, |token| token.names_member(name)),
            again: self.going_on(&set, |token| *token != Token::Each && token.names_member(name)),
        });
        let members = members.collect();
        let indexes: Vec<usize> = tokens.iter().filter_map(Token::index).collect();
        let any = |token: &Token| matches!(token, Token::Each | Token::Last);
        let elements = indexes
            .into_iter()
            .map(|index| (index, self.after(&set, |token| token.index() == Some(index) || any(token))))
            .collect();
        State {
            ends: set.iter().filter(|&&at| self.token(at).is_none()).map(|&(pointer, _)| pointer).collect(),
            members,
            other_member: self.after(&set, |token| *token == Token::Each),
            elements,
            other_element: self.after(&set, any),
            last: self.going_on(&set, |token| *token == Token::Last),
            each: self.going_on(&set, |token| *token == Token::Each),
        }
    }
}

/// A part of the message, as positions.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

/// The values of a scan. It is reused for the next message.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The values of each pointer, in the order of the message.
    values: Vec<Vec<Span>>,
    /// Members of objects for `*`.
    members: Vec<Seen>,
    forgotten: Vec<Span>,
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    /// A hash of the key with a random seed, so that nobody can make many keys with the same hash.
    hash: u64,
    key: Span,
    value: Span,
}

impl Found {
    fn clear(&mut self, pointers: usize) {
        self.values.resize_with(pointers, Vec::new);
        for values in &mut self.values {
            values.clear();
            values.shrink_to(KEPT_VALUES);
        }
        self.members.clear();
        self.members.shrink_to(KEPT_VALUES);
        self.forgotten.clear();
        self.forgotten.shrink_to(KEPT_VALUES);
    }

    /// Drops the values of these pointers after `start`.
    fn forget(&mut self, pointers: &[usize], start: usize) {
        for &pointer in pointers {
            let values = &mut self.values[pointer];
            while values.last().is_some_and(|value| value.start as usize >= start) {
                values.pop();
            }
        }
    }

    /// For `*`, drops the values of earlier duplicates of a key among `self.members[from..]`, those of the object that
    /// begins at `start`.
    fn forget_duplicates(&mut self, text: &str, start: usize, from: usize, pointers: &[usize]) {
        let key = |seen: &Seen| &text[seen.key.start as usize..seen.key.end as usize];
        let members = &mut self.members[from..];
        members.sort_unstable_by_key(|seen| (seen.hash, seen.value.start));
        self.forgotten.clear();
        let same = |a: &Seen, b: &Seen| a.hash == b.hash && unescape(key(a)) == unescape(key(b));
        let doubles = members.windows(2).filter(|pair| same(&pair[0], &pair[1]));
        self.forgotten.extend(doubles.map(|pair| pair[0].value));
        self.members.truncate(from);
        if self.forgotten.is_empty() {
            return;
        }
        self.forgotten.sort_unstable_by_key(|value| value.start);
        let forgotten = &self.forgotten;
        let is_kept = |value: &Span| {
            let before = forgotten.partition_point(|span| span.start <= value.start);
            before == 0 || forgotten[before - 1].end <= value.start
        };
        for &pointer in pointers {
            let values = &mut self.values[pointer];
            // Those of other objects stay, and are not looked at again for each object.
            let inside = values.split_off(values.partition_point(|value| (value.start as usize) < start));
            values.extend(inside.into_iter().filter(is_kept));
        }
    }
}

/// A message with the values of its scan.
#[derive(Debug, Clone, Copy)]
pub struct Scanned<'m> {
    text: &'m str,
    found: &'m Found,
}

impl<'m> Scanned<'m> {
    /// `found` must be the result of a scan of this text.
    pub fn new(text: &'m str, found: &'m Found) -> Scanned<'m> {
        Scanned { text, found }
    }

    pub fn text(&self) -> &'m str {
        self.text
    }

    /// Returns the value of a pointer, or the first one of a pointer with `*`.
    pub fn first(&self, id: PointerId) -> Option<Raw<'m>> {
        self.all(id).next()
    }

    /// Returns the positions of a pointer's values.
    pub fn spans(&self, id: PointerId) -> impl Iterator<Item = Range<usize>> + use<'m> {
        let values = self.found.values.get(id.0).map_or(&[][..], Vec::as_slice);
        values.iter().map(|span| span.start as usize..span.end as usize)
    }

    /// Returns the values of a pointer, in the order of the message.
    pub fn all(&self, id: PointerId) -> impl Iterator<Item = Raw<'m>> + use<'m> {
        let text = self.text;
        self.spans(id).filter_map(move |span| text.get(span).map(Raw))
    }
}

/// A JSON value as in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'m>(&'m str);

impl<'m> Raw<'m> {
    pub fn text(self) -> &'m str {
        self.0
    }

    /// Returns the text between the quotes, if it is a string, with unresolved escapes.
    pub fn string(self) -> Option<&'m str> {
        self.0.strip_prefix('"')?.strip_suffix('"')
    }

    /// Returns the content of a string, or the text of anything else.
    pub fn content(self) -> Cow<'m, str> {
        self.string().map_or(Cow::Borrowed(self.0), unescape)
    }
}

/// Returns the content of a string from the text between its quotes.
pub fn unescape(inner: &str) -> Cow<'_, str> {
    if inner.contains('\\') { Cow::Owned(Unescape::new(inner).collect()) } else { Cow::Borrowed(inner) }
}

/// Appends `text` with the escapes of a JSON string.
pub fn escape(text: &str, out: &mut String) {
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x1F' => out.push_str(&format!("\\u{:04x}", u32::from(char))),
            other => out.push(other),
        }
    }
}

/// Returns the characters of a JSON string. Half a surrogate pair is valid JSON, but not a character: it becomes
/// U+FFFD.
struct Unescape<'m>(std::str::Chars<'m>);

impl<'m> Unescape<'m> {
    fn new(inner: &'m str) -> Unescape<'m> {
        Unescape(inner.chars())
    }

    fn unit(&mut self) -> Option<u32> {
        let digits = self.0.as_str().get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        self.0 = self.0.as_str()[4..].chars();
        u32::from_str_radix(digits, 16).ok()
    }

    fn unicode(&mut self) -> char {
        let Some(high) = self.unit() else { return char::REPLACEMENT_CHARACTER };
        if !(0xD800..0xDC00).contains(&high) {
            return char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER);
        }
        let rest = self.0.clone();
        if let Some(behind) = self.0.as_str().strip_prefix("\\u") {
            self.0 = behind.chars();
            if let Some(low) = self.unit().filter(|low| (0xDC00..0xE000).contains(low)) {
                let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                return char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            }
        }
        self.0 = rest;
        char::REPLACEMENT_CHARACTER
    }
}

impl Iterator for Unescape<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        match self.0.next()? {
            '\\' => Some(match self.0.next()? {
                'b' => '\x08',
                'f' => '\x0C',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => self.unicode(),
                other => other,
            }),
            char => Some(char),
        }
    }
}

impl Scanner {
    /// Scans a whole message. Returns whether it is valid JSON. If not, there are no values.
    ///
    /// A message that begins with a digit is read from its first `[` or `{` (Socket.IO puts a packet's type there).
    pub fn scan(&self, text: &str, found: &mut Found) -> bool {
        found.clear(self.pointers);
        if u32::try_from(text.len()).is_err() {
            return false;
        }
        let at = match text.bytes().next() {
            Some(b'0'..=b'9') => text.find(['[', '{']).unwrap_or(0),
            _ => 0,
        };
        let mut scan = Scan { states: &self.states, text, cursor: Cursor { at, ..Cursor::new(text) }, found };
        let valid = scan.message(self.start).is_some();
        if !valid {
            found.clear(self.pointers);
        }
        valid
    }
}

/// One pass over a message. `None` everywhere: the message is not valid JSON.
struct Scan<'a> {
    states: &'a [State],
    text: &'a str,
    cursor: Cursor<'a>,
    found: &'a mut Found,
}

impl Scan<'_> {
    fn message(&mut self, start: usize) -> Option<()> {
        self.cursor.skip_blanks();
        self.value(start, 0)?;
        self.cursor.skip_blanks();
        (self.cursor.at == self.cursor.bytes.len()).then_some(())
    }

    fn value(&mut self, state: usize, depth: usize) -> Option<()> {
        let start = self.cursor.at;
        match self.cursor.peek()? {
            b'"' => {
                self.cursor.string()?;
            }
            b'{' if depth < MAX_DEPTH => self.object(state, depth + 1)?,
            b'[' if depth < MAX_DEPTH => self.array(state, depth + 1)?,
            b'-' | b'0'..=b'9' => self.cursor.number()?,
            b't' => self.cursor.literal(b"true")?,
            b'f' => self.cursor.literal(b"false")?,
            b'n' => self.cursor.literal(b"null")?,
            _ => return None,
        }
        for &pointer in &self.states[state].ends {
            self.found.values[pointer].push(Span { start: start as u32, end: self.cursor.at as u32 });
        }
        Some(())
    }

    fn object(&mut self, number: usize, depth: usize) -> Option<()> {
        let state = &self.states[number];
        let (start, members) = (self.cursor.at, self.found.members.len());
        self.cursor.at += 1;
        self.cursor.skip_blanks();
        if self.cursor.peek()? == b'}' {
            self.cursor.at += 1;
            return Some(());
        }
        loop {
            if self.cursor.peek()? != b'"' {
                return None;
            }
            let (key, escaped) = self.cursor.string()?;
            let key = Span { start: key.start as u32, end: key.end as u32 };
            self.cursor.skip_blanks();
            self.cursor.expect(b':')?;
            self.cursor.skip_blanks();
            let to = if number == NOWHERE {
                NOWHERE
            } else if let Some(member) = self.member(state, key, escaped) {
                self.found.forget(&member.again, start);
                member.to
            } else {
                state.other_member
            };
            let value = self.cursor.at;
            self.value(to, depth)?;
            if !state.each.is_empty() {
                let value = Span { start: value as u32, end: self.cursor.at as u32 };
                let name = &self.text[key.start as usize..key.end as usize];
                let hash = self.found.hasher.hash_one(&*unescape(name));
                self.found.members.push(Seen { hash, key, value });
            }
            self.cursor.skip_blanks();
            match self.cursor.next()? {
                b',' => self.cursor.skip_blanks(),
                b'}' => break,
                _ => return None,
            }
        }
        if !state.each.is_empty() {
            self.found.forget_duplicates(self.text, start, members, &state.each);
        }
        Some(())
    }

    fn member<'s>(&self, state: &'s State, key: Span, escaped: bool) -> Option<&'s Member> {
        let name = &self.cursor.bytes[key.start as usize..key.end as usize];
        if escaped {
            let name = std::str::from_utf8(name).ok()?;
            return state.members.iter().find(|member| Unescape::new(name).eq(member.name.chars()));
        }
        state.members.iter().find(|member| member.name.as_bytes() == name)
    }

    fn array(&mut self, number: usize, depth: usize) -> Option<()> {
        let state = &self.states[number];
        let start = self.cursor.at;
        self.cursor.at += 1;
        self.cursor.skip_blanks();
        if self.cursor.peek()? == b']' {
            self.cursor.at += 1;
            return Some(());
        }
        let mut index = 0;
        loop {
            self.found.forget(&state.last, start);
            let to = state.elements.iter().find(|element| element.0 == index).map_or(state.other_element, |e| e.1);
            self.value(to, depth)?;
            index += 1;
            self.cursor.skip_blanks();
            match self.cursor.next()? {
                b',' => self.cursor.skip_blanks(),
                b']' => return Some(()),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(text: &str) -> Pointer {
        let token = |token: &str| match token {
            "*" => Token::Each,
            "-1" => Token::Last,
            name => Token::Name(name.into()),
        };
        Pointer::new(text.split('/').skip(1).map(token).collect())
    }

    /// All values of each pointer, or `None` for invalid JSON.
    fn scan<const N: usize>(message: &str, pointers: [&str; N]) -> Option<[Vec<String>; N]> {
        let mut all = Pointers::default();
        let ids = pointers.map(|text| all.add(pointer(text)));
        let scanner = all.build().unwrap();
        let mut found = Found::default();
        scanner.scan(r#"{"left":"over"}"#, &mut found);
        let valid = scanner.scan(message, &mut found);
        let scanned = Scanned::new(message, &found);
        valid.then(|| ids.map(|id| scanned.all(id).map(|raw| raw.text().to_owned()).collect()))
    }

    fn one(message: &str, pointer: &str) -> Option<String> {
        let [values] = scan(message, [pointer])?;
        assert!(values.len() < 2, "{values:?}");
        values.into_iter().next()
    }

    #[test]
    fn pointers_name_members_and_elements_of_one_message_in_one_pass() {
        let message = r#" {"a": {"b": [10, {"c": "x"}]}, "d": null, "": 1, "e":{"0":2}} "#;
        let found = scan(message, ["/a/b/1/c", "/d", "/", "/a/b/0", "/e/0", "/a", "/a/b/2", "/a/x", ""]).unwrap();
        let expected = [r#""x""#, "null", "1", "10", "2", r#"{"b": [10, {"c": "x"}]}"#, "", "", message.trim()];
        assert_eq!(found.map(|values| values.join("|")), expected);
    }

    #[test]
    fn raw_tokens_are_exact_numbers() {
        let number = "123456789012345678901234567.000e-10";
        assert_eq!(one(&format!("[{number}]"), "/0").as_deref(), Some(number));
    }

    #[test]
    fn an_index_has_no_leading_zero() {
        assert_eq!(one("[1,2]", "/01"), None);
        assert_eq!(one("[1,2]", "/1").as_deref(), Some("2"));
        assert_eq!(one(r#"{"01":3}"#, "/01").as_deref(), Some("3"));
    }

    #[test]
    fn minus_one_is_the_last_element() {
        assert_eq!(one("[1,[2,3]]", "/-1/-1").as_deref(), Some("3"));
        assert_eq!(one("[]", "/-1"), None);
        assert_eq!(one(r#"[{"a":1},{"b":2}]"#, "/-1/a"), None);
        assert_eq!(scan("[[1,2],[],[3]]", ["/*/-1"]).unwrap()[0], ["2", "3"]);
        assert_eq!(one(r#"{"-1":7}"#, "/-1").as_deref(), Some("7"));
    }

    #[test]
    fn a_star_steps_over_elements_or_members_and_may_come_more_than_once() {
        let message = r#"{"events":[{"trades":[1,2]},{"trades":{"x":3}},{"other":4}]}"#;
        assert_eq!(scan(message, ["/events/*/trades/*"]).unwrap()[0], ["1", "2", "3"]);
        let message = r#"{"result":{"XBT":[[1],[2]],"last":9}}"#;
        let found = scan(message, ["/result/*/*", "/result/last", "/result/*"]).unwrap();
        assert_eq!(found.map(|values| values.join(" ")), ["[1] [2]", "9", "[[1],[2]] 9"]);
    }

    #[test]
    fn of_a_duplicate_key_the_last_wins_and_the_earlier_ones_children_are_forgotten() {
        assert_eq!(one(r#"{"a":1,"a":2}"#, "/a").as_deref(), Some("2"));
        assert_eq!(one(r#"{"a":{"b":1},"a":{"c":2}}"#, "/a/b"), None);
        assert_eq!(one(r#"{"a":{"b":1},"\u0061":7}"#, "/a/b"), None);
        assert_eq!(scan(r#"{"a":[1,2],"a":[3]}"#, ["/a/*"]).unwrap()[0], ["3"]);
        assert_eq!(scan(r#"[{"a":1},{"a":2,"a":3}]"#, ["/*/a"]).unwrap()[0], ["1", "3"]);
    }

    #[test]
    fn of_a_duplicate_key_under_a_star_the_last_wins_too() {
        let message = r#"{"p":{"x":1},"q":{"x":2},"\u0070":{"x":3},"p":{"y":4},"r":{"x":5}}"#;
        let found = scan(message, ["/*/x", "/p/x", "/p/y"]).unwrap();
        assert_eq!(found.map(|values| values.join(" ")), ["2 5", "", "4"]);
        assert_eq!(scan(r#"[{"a":1,"b":2},{"a":3,"a":4}]"#, ["/*/*"]).unwrap()[0], ["1", "2", "4"]);
    }

    #[test]
    fn invalid_json_matches_nothing() {
        for message in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "{a:1}",
            "[1] 2",
            "01",
            "1.",
            "-",
            "1e",
            "+1",
            "nul",
            "tru",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"",
            "[1}",
            "NaN",
            "'a'",
            "\u{FEFF}{}",
            "[1 2]",
            "{\"a\":1 \"b\":2}",
            "]",
        ] {
            assert_eq!(scan(message, ["/a", ""]), None, "{message}");
        }
        assert_eq!(scan("{\"a\":1}x", ["/a"]), None);
    }

    #[test]
    fn valid_json_of_every_kind_is_taken() {
        for message in
            ["0", "-0.5E+10", "true", "false", "null", r#""\"\\\/\b\f\n\r\t\u00e4\ud800""#, "[ ]", "{ }", "[[]]"]
        {
            assert_eq!(scan(message, [""]).unwrap()[0], [message]);
        }
    }

    #[test]
    fn nesting_is_taken_to_its_limit_and_no_deeper() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(scan(&nested(MAX_DEPTH), ["/0"]).is_some());
        assert!(scan(&nested(MAX_DEPTH + 1), ["/0"]).is_none());
        assert!(scan(&"[{\"a\":".repeat(1_000_000), ["/0"]).is_none());
    }

    #[test]
    fn a_message_that_begins_with_a_digit_is_read_from_its_first_bracket() {
        assert_eq!(one(r#"42["trade",{"p":1}]"#, "/1/p").as_deref(), Some("1"));
        assert_eq!(one(r#"0{"sid":"x"}"#, "/sid").as_deref(), Some("\"x\""));
        assert_eq!(one(r#"42/admin,["a"]"#, "/0").as_deref(), Some("\"a\""));
        assert_eq!(one("17", "").as_deref(), Some("17"));
        assert_eq!(one("2probe", ""), None);
    }

    #[test]
    fn keys_are_compared_without_their_escapes() {
        assert_eq!(one(r#"{"\u0024type":1}"#, "/$type").as_deref(), Some("1"));
        assert_eq!(one(r#"{"a\\b":1}"#, "/a\\b").as_deref(), Some("1"));
        assert_eq!(one(r#"{"\ud83d\ude00":1}"#, "/😀").as_deref(), Some("1"));
        assert_eq!(one(r#"{"odd key 'with' ünicode":1}"#, "/odd key 'with' ünicode").as_deref(), Some("1"));
    }

    #[test]
    fn a_string_gives_its_content_and_anything_else_its_text() {
        assert_eq!(Raw(r#""a\n\u00e4\ud83d\ude00\"""#).content(), "a\nä😀\"");
        assert_eq!(Raw(r#""\ud83d""#).content(), "\u{FFFD}");
        assert_eq!(Raw(r#""\ud83d\u0041""#).content(), "\u{FFFD}A");
        assert_eq!(Raw("1.0").content(), "1.0");
        assert!(matches!(Raw("\"plain\"").content(), Cow::Borrowed("plain")));
        let mut escaped = String::new();
        escape("a\"\\\n\u{1}ä", &mut escaped);
        assert_eq!(escaped, "a\\\"\\\\\\n\\u0001ä");
        assert_eq!(unescape(&escaped), "a\"\\\n\u{1}ä");
    }

    #[test]
    fn the_same_pointer_has_one_number() {
        let mut all = Pointers::default();
        assert_eq!(all.add(pointer("/a")), all.add(pointer("/a")));
        assert_ne!(all.add(pointer("/a")), all.add(pointer("/b")));
    }

    #[test]
    fn pointers_with_stars_that_overlap_too_much_are_refused() {
        let mut all = Pointers::default();
        for n in 0..40 {
            all.add(pointer(&format!("{}/a{}", "/*".repeat(n % 20), "/*/b".repeat(n % 7))));
            all.add(pointer(&("/*/a".repeat(n % 11) + &"/b/*".repeat(n % 5) + "/c")));
        }
        // Built or refused, but at once.
        let _ = all.build();
    }

    #[test]
    fn too_many_pointers_are_refused_at_once() {
        let many = |count: usize, form: &dyn Fn(usize) -> String| {
            let mut all = Pointers::default();
            for n in 0..count {
                all.add(pointer(&form(n)));
            }
            all.build().map(drop)
        };
        assert_eq!(many(1000, &|n| format!("/field{n}/value")), Ok(()));
        let refused = Err("there are too many pointers, or too many with * that overlap".to_owned());
        assert_eq!(many(100_000, &|n| format!("/field{n}")), refused);
        assert_eq!(many(20_000, &|n| format!("/{n}")), refused);
        assert_eq!(many(3_000, &|n| format!("/*/a{n}/*/b{}", n % 50)), refused);
    }

    #[test]
    fn many_objects_with_duplicate_keys_take_no_longer_than_others() {
        let message = format!("[{}{{}}]", r#"{"a":1,"a":2},"#.repeat(300_000));
        let [values] = scan(&message, ["/*/*"]).unwrap();
        assert_eq!(values.len(), 300_000);
        assert!(values.iter().all(|value| value == "2"));
    }

    #[test]
    fn the_deepest_message_fits_on_a_small_stack() {
        let deepest = || {
            let message = r#"{"a":["#.repeat(MAX_DEPTH / 2) + &"]}".repeat(MAX_DEPTH / 2);
            assert!(scan(&message, ["/a/0"]).is_some());
            let mut form = Vec::new();
            assert_eq!(crate::record::value::Parser::default().parse(&message, &mut form), Ok(()));
        };
        std::thread::Builder::new().stack_size(512 << 10).spawn(deepest).unwrap().join().unwrap();
    }
}
