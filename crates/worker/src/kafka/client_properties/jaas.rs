//! `sasl.jaas.config`, one login module with its options, and JAAS login files, which have them in entries with names.
//!
//! The grammar is that of Java's `StreamTokenizer` as Kafka configures it: words, quoted strings with escapes, and
//! comments with `//`, `/*` and `/`. An unquoted value that begins like a number is refused.

use std::collections::HashMap;
use std::fmt;

/// `class flag key="value" …;`
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct LoginModule {
    /// The class name of the login module.
    pub(crate) class: String,
    /// Its options, which contain secrets.
    pub(crate) options: HashMap<String, String>,
}

impl fmt::Debug for LoginModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<_> = self.options.keys().collect();
        f.debug_struct("LoginModule").field("class", &self.class).field("options", &options).finish()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Text(String),
    /// A number, whose text Java's tokenizer does not return.
    Number,
    Symbol(char),
}

/// Parses exactly one login module, for a Kafka client. Errors do not repeat the text, because any part of it may be a
/// secret.
#[cfg(feature = "kafka-security")]
pub(super) fn parse(text: &str) -> Result<LoginModule, &'static str> {
    let mut tokens = Tokens { rest: text.chars().peekable() };
    let Some(Token::Text(class)) = tokens.next() else {
        return Err("Login module not specified in JAAS config");
    };
    let module = login_module(class, &mut tokens)?;
    match tokens.next() {
        None => Ok(module),
        Some(_) => Err("JAAS config property contains more than one login module, should be 1 module"),
    }
}

/// Returns the login modules of an entry of a login file: `name { class flag key="value"; … };`. Errors: the same as
/// for [`parse`].
pub(crate) fn entry(text: &str, name: &str) -> Result<Vec<LoginModule>, &'static str> {
    const FORM: &str = "it is not a JAAS login file: write every entry as name { module required key=\"value\"; };";
    let mut tokens = Tokens { rest: text.chars().peekable() };
    while let Some(token) = tokens.next() {
        let (Token::Text(found), Some(Token::Symbol('{'))) = (token, tokens.next()) else { return Err(FORM) };
        let mut modules = Vec::new();
        loop {
            match tokens.next() {
                Some(Token::Text(class)) => modules.push(login_module(class, &mut tokens)?),
                Some(Token::Symbol('}')) => break,
                _ => return Err(FORM),
            }
        }
        if tokens.next() != Some(Token::Symbol(';')) {
            return Err(FORM);
        }
        if found == name {
            return Ok(modules);
        }
    }
    Ok(Vec::new())
}

/// Parses what follows the class of a login module, up to its semicolon.
fn login_module(class: String, tokens: &mut Tokens<'_>) -> Result<LoginModule, &'static str> {
    let flag = match tokens.next() {
        None => return Err("Login module control flag is not available in the JAAS config"),
        Some(Token::Text(flag)) => flag.to_ascii_uppercase(),
        Some(_) => String::new(),
    };
    if !matches!(flag.as_str(), "REQUIRED" | "REQUISITE" | "SUFFICIENT" | "OPTIONAL") {
        return Err("Invalid login module control flag in JAAS config: write `required` after the class name");
    }
    let mut options = HashMap::new();
    loop {
        let key = match tokens.next() {
            None => return Err("JAAS config entry not terminated by semi-colon"),
            Some(Token::Symbol(';')) => return Ok(LoginModule { class, options }),
            Some(Token::Text(key)) => key,
            Some(_) => {
                return Err("a key is missing in JAAS config: write every option as key=\"value\"");
            }
        };
        match (tokens.next(), tokens.next()) {
            (Some(Token::Symbol('=')), Some(Token::Text(value))) => options.insert(key, value),
            _ => {
                return Err("Value not specified for a key in JAAS config: write every option as key=\"value\"");
            }
        };
    }
}

struct Tokens<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            let first = self.rest.next()?;
            match first {
                '\0'..=' ' => {}
                '/' if self.rest.peek() == Some(&'*') => self.skip_block_comment(),
                '/' => while self.rest.next_if(|c| *c != '\n' && *c != '\r').is_some() {},
                '"' | '\'' => return Some(Token::Text(self.quoted(first))),
                '0'..='9' => return Some(self.number()),
                '-' | '.' if self.rest.peek().is_some_and(char::is_ascii_digit) => {
                    return Some(self.number());
                }
                c if is_word(c) && c != '-' && c != '.' => {
                    let mut word = String::from(c);
                    while let Some(c) = self.rest.next_if(|c| is_word(*c)) {
                        word.push(c);
                    }
                    return Some(Token::Text(word));
                }
                c => return Some(Token::Symbol(c)),
            }
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$' | '.') || c >= '\u{a0}'
}

impl Tokens<'_> {
    fn number(&mut self) -> Token {
        while self.rest.next_if(|c| c.is_ascii_digit() || *c == '.').is_some() {}
        Token::Number
    }

    fn skip_block_comment(&mut self) {
        let mut star = false;
        self.rest.next();
        for c in self.rest.by_ref() {
            if star && c == '/' {
                return;
            }
            star = c == '*';
        }
    }

    /// Reads the rest of a quoted string. A line break ends it like the closing quote.
    fn quoted(&mut self, quote: char) -> String {
        let mut text = String::new();
        while let Some(c) = self.rest.next_if(|c| *c != '\n' && *c != '\r') {
            if c == quote {
                break;
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            match self.rest.next() {
                None => break,
                Some(digit @ '0'..='7') => text.push(self.octal(digit)),
                Some('a') => text.push('\u{7}'),
                Some('b') => text.push('\u{8}'),
                Some('f') => text.push('\u{c}'),
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some('t') => text.push('\t'),
                Some('v') => text.push('\u{b}'),
                Some(other) => text.push(other),
            }
        }
        text
    }

    /// Reads up to three octal digits, the third only if the value fits into a byte.
    fn octal(&mut self, first: char) -> char {
        let mut code = first as u32 - '0' as u32;
        let limit = if first <= '3' { 2 } else { 1 };
        for _ in 0..limit {
            let Some(digit) = self.rest.next_if(|c| ('0'..='7').contains(c)) else {
                break;
            };
            code = code * 8 + (digit as u32 - '0' as u32);
        }
        char::from_u32(code).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(text: &str, key: &str) -> String {
        parse(&format!("org.example.Module required {text};")).unwrap().options[key].clone()
    }

    #[test]
    fn reads_class_and_options() {
        let module = parse(
            "org.apache.kafka.common.security.plain.PlainLoginModule REQUIRED\n  username=\"u\" // a comment\n \
             /* another; */ password='p \"w\"' ;  ",
        )
        .unwrap();
        assert_eq!(module.class, "org.apache.kafka.common.security.plain.PlainLoginModule");
        assert_eq!(module.options["username"], "u");
        assert_eq!(module.options["password"], "p \"w\"");
        assert_eq!(module.options.len(), 2);
    }

    #[test]
    fn values_are_words_or_quoted() {
        assert_eq!(option(r#"a="x\"y\\z\t\101\7""#, "a"), "x\"y\\z\tA\u{7}");
        assert_eq!(option("a=plain-word_1.$", "a"), "plain-word_1.$");
        assert_eq!(option("a=\"12;=//\"", "a"), "12;=//");
    }

    #[test]
    fn a_login_file_has_entries_by_name() {
        let text = "KafkaClient { a.B required x=\"1\"; };\n// ours\nKafkaConnect {\n  c.D required file=\"/f\";\n};\n";
        let modules = entry(text, "KafkaConnect").unwrap();
        assert_eq!((modules.len(), modules[0].class.as_str(), modules[0].options["file"].as_str()), (1, "c.D", "/f"));
        assert!(entry(text, "Other").unwrap().is_empty());
        for wrong in
            ["KafkaConnect", "KafkaConnect { a.B required; }", "a.B required;", "{ };", "KafkaConnect { a.B; };"]
        {
            assert!(entry(wrong, "KafkaConnect").is_err(), "{wrong}");
        }
    }

    #[test]
    fn malformed_texts_are_refused_without_quoting_them() {
        for text in [
            "",
            ";",
            "m",
            "m required",
            "m required a=\"s3cret\"",
            "m s3cret a=b;",
            "m required s3cret;",
            "m required a=123;",
            "m required a= ;",
            "m required a=s3 s3cret;",
            "m required ='s3cret';",
            "m required; m required;",
            "m required a=\"s3cret\nx\";",
        ] {
            let error = parse(text).unwrap_err();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn debug_hides_the_values() {
        assert!(!format!("{:?}", parse("m required a=\"s3cret\";").unwrap()).contains("s3cret"));
    }
}
