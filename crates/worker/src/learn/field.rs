//! A position in a message or record, in the language of templates and conditions.

use std::fmt;

/// The longest name of a field. Longer ones are keys of objects that contain text.
const MAX_NAME: usize = 64;

/// The position of a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Field {
    pub(super) origin: Origin,
    pointer: String,
    /// The last part of the pointer.
    pub(super) name: String,
    pub(super) depth: usize,
    /// In a message that is an array: the first part of the pointer.
    pub(super) place: Option<Place>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Origin {
    Record,
    /// In the message that contains the record.
    Envelope,
    /// The message itself, which is not JSON.
    Text,
}

/// A position in an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Place {
    At(usize),
    Last,
}

impl Field {
    /// The whole message or record.
    pub(super) fn root(origin: Origin) -> Field {
        Field { origin, pointer: String::new(), name: String::new(), depth: 0, place: None }
    }

    /// Returns a member, or `None` if its name is too long or unusual.
    pub(super) fn member(&self, name: &str) -> Option<Field> {
        Some(self.below(&token(name)?, name, self.place))
    }

    /// Returns an element of a message that is an array.
    pub(super) fn element(&self, place: Place) -> Field {
        let token = match place {
            Place::At(index) => index.to_string(),
            Place::Last => "-1".to_owned(),
        };
        self.below(&token, "", Some(place))
    }

    fn below(&self, token: &str, name: &str, place: Option<Place>) -> Field {
        Field {
            origin: self.origin,
            pointer: format!("{}/{token}", self.pointer),
            name: name.to_owned(),
            depth: self.depth + 1,
            place,
        }
    }

    /// Returns the pointer to each element of the array here.
    pub(super) fn each(&self) -> String {
        format!("{}/*", self.pointer)
    }

    /// Whether both have the same pointer, in the record or in its message.
    pub(super) fn is_beside(&self, other: &Field) -> bool {
        self.pointer == other.pointer
    }

    /// Returns the same position for a record inside the message.
    pub(super) fn of_envelope(&self) -> Field {
        let origin = if self.origin == Origin::Text { Origin::Text } else { Origin::Envelope };
        Field { origin, ..self.clone() }
    }

    /// `{{…}}`
    pub(super) fn template(&self) -> String {
        format!("{{{{{self}}}}}")
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin {
            Origin::Record => f.write_str(&self.pointer),
            Origin::Envelope => write!(f, "envelope({})", self.pointer),
            Origin::Text => f.write_str("text"),
        }
    }
}

/// Returns a name as a part of a pointer, in quotes if necessary.
fn token(name: &str) -> Option<String> {
    let is_plain = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-' | '.' | '$' | '@' | ':');
    let is_strange = |char: char| char.is_control() || matches!(char, '\'' | '"' | '\\' | '{' | '}' | ',');
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(is_strange) {
        return None;
    }
    let is_quoted = name == "-1" || name.starts_with('$') || !name.chars().all(is_plain);
    Some(if is_quoted { format!("'{name}'") } else { name.to_owned() })
}

/// Returns a text of a message as a literal, or `None` if it is too unusual.
pub(super) fn literal(text: &str) -> Option<String> {
    let is_plain = |char: char| char.is_alphanumeric() || "_-.:@/ #!$%+*~".contains(char);
    (text.len() <= MAX_NAME && text.chars().all(is_plain)).then(|| format!("'{text}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_the_language_needs_it_and_left_out_where_people_would_not_write_them() {
        let root = Field::root(Origin::Record);
        let member = |name: &str| root.member(name).map(|field| field.to_string());
        for (name, pointer) in [
            ("a", "/a"),
            ("$type", "/'$type'"),
            ("a b", "/'a b'"),
            ("-1", "/'-1'"),
            ("a/b", "/'a/b'"),
            ("ключ", "/ключ"),
        ] {
            assert_eq!(member(name).as_deref(), Some(pointer));
        }
        for name in ["", "it's", "a\\", "{{a}}", "a,b", "a\nb", &"x".repeat(65)] {
            assert_eq!(member(name), None, "{name}");
        }
        let last = root.element(Place::Last);
        assert_eq!(last.template(), "{{/-1}}");
        assert_eq!(last.of_envelope().to_string(), "envelope(/-1)");
    }

    #[test]
    fn only_plain_texts_become_literals() {
        assert_eq!(literal("trade.ticker").as_deref(), Some("'trade.ticker'"));
        assert_eq!(literal("it's"), None);
        assert_eq!(literal(&"x".repeat(65)), None);
    }
}
