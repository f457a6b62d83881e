//! Variables: their names, the templates of declared ones, and the values of all others.
//!
//! A *given* variable is set by the session (`topic`, `cursor`, …). A *held* variable is a secret or was captured. A
//! *declared* variable is a template, which is rendered once for each message, request or handshake that uses it.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use indexmap::IndexMap;

use super::expression::{Failure, Message, Paths, Problem, Scope, Values};
use super::template::{Position, Template};

/// The variables that the session sets. Not every option can use all of them.
pub const GIVEN: [&str; 6] = ["topic", "topics", "cursor", "resuming", "moved", "connection"];

/// Words of the language, which cannot be names of variables.
const RESERVED: [&str; 10] =
    ["true", "false", "null", "text", "status", "index", "in", "exists", "contains", "startsWith"];

/// The most declared variables. Each keeps the names of all that it needs.
const MAX_DECLARED: usize = 500;
/// The most declared variables that need each other in a row, to limit the stack.
const MAX_ROW: usize = 8;

/// A variable's number in its [`Names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VariableId(usize);

/// All variables of a configuration.
#[derive(Debug, Clone)]
pub struct Names {
    known: IndexMap<Arc<str>, Origin>,
}

#[derive(Debug, Clone)]
pub(super) enum Origin {
    Given,
    Held,
    /// Boxed, because a template is much larger than the others.
    Declared(Option<Box<Template>>),
}

/// What a declared variable needs, directly or by way of others.
struct Needs {
    names: BTreeSet<Arc<str>>,
    /// The declared variables in the longest row, with itself.
    row: usize,
}

impl Default for Names {
    fn default() -> Names {
        Names { known: GIVEN.into_iter().map(|name| (name.into(), Origin::Given)).collect() }
    }
}

impl Names {
    /// Adds a secret or a captured variable. The same name may be both.
    ///
    /// # Errors
    /// A sentence that says why the name is not allowed.
    pub fn hold(&mut self, name: &str) -> Result<VariableId, String> {
        if let Some(id) = self.id(name).filter(|id| matches!(self.known[id.0], Origin::Held)) {
            return Ok(id);
        }
        self.add(name, Origin::Held)
    }

    /// Adds the declared variables: names and templates. All other variables must be added before.
    ///
    /// # Errors
    /// What is wrong, with the variable's name.
    pub fn declare(&mut self, variables: &[(&str, &str)]) -> Result<(), Vec<(String, Problem)>> {
        if let Some((name, _)) = variables.get(MAX_DECLARED) {
            let why = format!("expected at most {MAX_DECLARED} declared variables");
            return Err(vec![((*name).to_owned(), Problem::new(1, why))]);
        }
        let mut problems = Vec::new();
        for (name, _) in variables {
            if let Err(why) = self.add(name, Origin::Declared(None)) {
                problems.push(((*name).to_owned(), Problem::new(1, why)));
            }
        }
        for (name, text) in variables {
            let mut paths = Paths::default();
            let mut scope =
                Scope { names: self, given: &GIVEN, message: Message::None, answer: false, paths: &mut paths };
            match Template::compile(text, Position::Plain, &mut scope) {
                Ok(template) => {
                    if let Some(Origin::Declared(own)) = self.known.get_mut(*name) {
                        *own = Some(Box::new(template));
                    }
                }
                Err(problem) => problems.push(((*name).to_owned(), problem)),
            }
        }
        let mut needs = HashMap::new();
        for (name, _) in variables {
            if let Err(why) = self.reach(name, &mut Vec::new(), &mut needs) {
                problems.push(((*name).to_owned(), Problem::new(1, why)));
            }
        }
        for (name, origin) in &mut self.known {
            let Origin::Declared(template) = origin else { continue };
            // Without known needs, to render it might not end.
            *template = template.take().zip(needs.remove(name)).map(|(mut template, needs)| {
                template.set_uses(needs.names);
                template
            });
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn add(&mut self, name: &str, origin: Origin) -> Result<VariableId, String> {
        if !is_name(name) {
            return Err(format!("{name} is not a name of a variable; use letters, digits, '_', '-' and '.'"));
        }
        if RESERVED.contains(&name) || self.known.contains_key(name) {
            return Err(format!("the name {name} is taken; give the variable another one"));
        }
        Ok(VariableId(self.known.insert_full(name.into(), origin).0))
    }

    /// Adds to `known` what a declared variable needs. `path` has the variables that led to it.
    fn reach(&self, name: &str, path: &mut Vec<Arc<str>>, known: &mut HashMap<Arc<str>, Needs>) -> Result<(), String> {
        let Some((name, Origin::Declared(Some(template)))) = self.known.get_key_value(name) else { return Ok(()) };
        if known.contains_key(name) {
            return Ok(());
        }
        if let Some(start) = path.iter().position(|above| above == name) {
            return Err(format!("{name} needs itself: {} → {name}", path[start..].join(" → ")));
        }
        let too_many = || format!("expected at most {MAX_ROW} declared variables that need each other in a row");
        if path.len() == MAX_ROW {
            return Err(too_many());
        }
        path.push(name.clone());
        let mut needs = Needs { names: BTreeSet::new(), row: 1 };
        for used in template.used() {
            self.reach(used, path, known)?;
            needs.names.insert(used.clone());
            if let Some(below) = known.get(used) {
                needs.names.extend(below.names.iter().cloned());
                needs.row = needs.row.max(below.row + 1);
            }
        }
        if needs.row > MAX_ROW {
            return Err(too_many());
        }
        path.pop();
        known.insert(name.clone(), needs);
        Ok(())
    }

    pub fn id(&self, name: &str) -> Option<VariableId> {
        self.known.get_index_of(name).map(VariableId)
    }

    pub fn name(&self, id: VariableId) -> &str {
        self.known.get_index(id.0).map_or("", |(name, _)| name)
    }

    pub(super) fn get(&self, name: &str) -> Option<(VariableId, &Arc<str>, &Origin)> {
        self.known.get_full(name).map(|(id, name, origin)| (VariableId(id), name, origin))
    }

    /// Returns the names that an option can use, for suggestions in errors.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.known.keys().map(|name| &**name)
    }

    fn template(&self, id: VariableId) -> Option<&Template> {
        match self.known.get_index(id.0) {
            Some((_, Origin::Declared(template))) => template.as_deref(),
            _ => None,
        }
    }
}

fn is_name(name: &str) -> bool {
    let part = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && text.chars().all(|char| char.is_ascii_alphanumeric() || char == '_' || char == '-')
    };
    name.len() <= 100 && name.split('.').all(part)
}

/// Whether a variable's value is secret.
pub fn is_secret(name: &str) -> bool {
    name.starts_with("secret.")
}

/// The values of variables: of the connection, and of each topic.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    link: HashMap<VariableId, Arc<str>>,
    topics: HashMap<Arc<str>, HashMap<VariableId, Arc<str>>>,
    /// For `topic_of`: the topic whose variable has a value.
    by_value: HashMap<(VariableId, Arc<str>), Arc<str>>,
}

impl Variables {
    /// Sets a variable of the connection.
    pub fn set(&mut self, id: VariableId, value: &str) {
        self.link.insert(id, value.into());
    }

    pub fn unset(&mut self, id: VariableId) {
        self.link.remove(&id);
    }

    /// Sets a variable of one topic.
    pub fn set_of(&mut self, topic: &str, id: VariableId, value: &str) {
        let value: Arc<str> = value.into();
        let topic: Arc<str> = self.topics.get_key_value(topic).map_or_else(|| topic.into(), |(topic, _)| topic.clone());
        if let Some(old) = self.topics.entry(topic.clone()).or_default().insert(id, value.clone()) {
            self.by_value.remove(&(id, old));
        }
        self.by_value.insert((id, value), topic);
    }

    /// Keeps the declared variables of a message for this topic, so that conditions see the same values.
    pub fn keep(&mut self, topic: Option<&str>, made: &Made) {
        for (id, value) in made.0.borrow().iter() {
            let Ok(value) = value else { continue };
            match topic {
                Some(topic) => self.set_of(topic, *id, value),
                None => self.set(*id, value),
            }
        }
    }

    /// Forgets everything of a topic.
    pub fn forget(&mut self, topic: &str) {
        let gone = self.topics.remove(topic).unwrap_or_default();
        for (id, value) in gone {
            self.by_value.remove(&(id, value));
        }
    }

    /// Returns a topic's value of a variable, or that of the connection.
    pub fn get(&self, topic: Option<&str>, id: VariableId) -> Option<&str> {
        let own = topic.and_then(|topic| self.topics.get(topic)?.get(&id));
        own.or_else(|| self.link.get(&id)).map(|value| &**value)
    }

    /// Returns the topic whose variable has this value.
    pub fn topic_of(&self, id: VariableId, value: &str) -> Option<&str> {
        self.by_value.get(&(id, value.into())).map(|topic| &**topic)
    }
}

/// The declared variables of one message, request or handshake. Each is rendered once, also if that fails: one that is
/// needed in several ways would otherwise be tried again for each of them, and those that it needs too.
#[derive(Debug, Default)]
pub struct Made(RefCell<Vec<(VariableId, Rendered)>>);

type Rendered = Result<Arc<str>, Failure>;

impl Made {
    /// Forgets all values, for the next message.
    pub fn clear(&mut self) {
        self.0.get_mut().clear();
    }

    pub(super) fn value(&self, id: VariableId, values: &Values<'_>) -> Result<Option<Arc<str>>, Failure> {
        let known = |made: &[(VariableId, Rendered)]| made.iter().find(|(own, _)| *own == id).map(|(_, v)| v.clone());
        if let Some(value) = known(&self.0.borrow()) {
            return value.map(Some);
        }
        let Some(template) = values.names.template(id) else { return Ok(None) };
        let value: Rendered = template.render(values).map(Arc::from);
        self.0.borrow_mut().push((id, value.clone()));
        value.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialogue::fixture::Fixture;

    #[test]
    fn a_topics_value_comes_before_the_links() {
        let mut names = Names::default();
        let (a, b) = (names.hold("a").unwrap(), names.hold("secret.b").unwrap());
        let mut variables = Variables::default();
        variables.set(a, "1");
        variables.set(b, "2");
        variables.set_of("t", a, "3");
        assert_eq!(variables.get(Some("t"), a), Some("3"));
        assert_eq!(variables.get(Some("t"), b), Some("2"));
        assert_eq!(variables.get(Some("u"), a), Some("1"));
        assert_eq!(variables.get(None, a), Some("1"));
        variables.forget("t");
        variables.unset(b);
        assert_eq!(variables.get(Some("t"), a), Some("1"));
        assert_eq!(variables.get(Some("t"), b), None);
    }

    #[test]
    fn topic_of_follows_the_values() {
        let mut names = Names::default();
        let id = names.hold("chan").unwrap();
        let mut variables = Variables::default();
        variables.set_of("a", id, "17");
        variables.set_of("b", id, "18");
        assert_eq!(variables.topic_of(id, "18"), Some("b"));
        variables.set_of("b", id, "19");
        assert_eq!(variables.topic_of(id, "18"), None);
        assert_eq!(variables.topic_of(id, "19"), Some("b"));
        variables.forget("b");
        assert_eq!(variables.topic_of(id, "19"), None);
        assert_eq!(variables.topic_of(id, "17"), Some("a"));
    }

    #[test]
    fn names_are_checked_and_taken_once() {
        let mut names = Names::default();
        for name in ["", "1a", "a b", "a..b", "a{", "text", "topic", "true"] {
            assert!(names.hold(name).is_err(), "{name}");
        }
        let id = names.hold("secret.api-key").unwrap();
        assert_eq!(names.hold("secret.api-key"), Ok(id));
        assert_eq!(names.name(id), "secret.api-key");
        let problems = names.declare(&[("secret.api-key", "x"), ("fine", "x")]).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].1.to_string().contains("is taken"), "{}", problems[0].1);
    }

    #[test]
    fn declared_variables_may_need_each_other_but_not_themselves() {
        let mut names = Names::default();
        names.hold("secret.k").unwrap();
        names.declare(&[("a", "{{b}}-{{topic}}"), ("b", "{{secret.k}}{{now_s()}}")]).unwrap();
        let (_, _, Origin::Declared(Some(template))) = names.get("a").unwrap() else { panic!() };
        for used in ["b", "topic", "secret.k"] {
            assert!(template.uses(used), "{used}");
        }

        let mut names = Names::default();
        let problems = names.declare(&[("a", "{{b}}"), ("b", "{{c}}"), ("c", "{{a}}")]).unwrap_err();
        assert_eq!(problems[0].1.to_string(), "column 1: a needs itself: a → b → c → a");
    }

    #[test]
    fn a_variable_that_needs_itself_has_no_value() {
        let mut fixture = Fixture::new();
        let problems = fixture.names.declare(&[("a", "{{a}}"), ("b", "{{a ?? 'none'}}")]).unwrap_err();
        let sentences: Vec<String> = problems.into_iter().map(|(_, problem)| problem.message).collect();
        assert_eq!(sentences, ["a needs itself: a → a"; 2]);
        assert_eq!(fixture.capture("a"), None);
        assert_eq!(fixture.capture("b"), None);
    }

    #[test]
    fn a_row_of_variables_is_limited() {
        let row = |length: usize| {
            let names: Vec<String> = (0..=length).map(|n| format!("v{n}")).collect();
            let texts: Vec<String> = names.iter().skip(1).map(|next| format!("{{{{{next}}}}}")).collect();
            let mut variables: Vec<(&str, &str)> =
                names.iter().zip(&texts).map(|(name, text)| (&**name, &**text)).collect();
            let mut problems = vec![];
            for _ in 0..2 {
                let mut fixture = Fixture::new().with(&names[length], "end");
                problems.push(fixture.names.declare(&variables).err().map_or(0, |problems| problems.len()));
                variables.reverse();
                assert_eq!(fixture.capture("v1").as_deref(), Some("end"), "{length}");
            }
            problems
        };
        assert_eq!(row(MAX_ROW), [0, 0]);
        assert_eq!(row(MAX_ROW + 1), [1, 1]);
    }

    #[test]
    fn a_variable_without_a_value_is_rendered_once() {
        let mut variables: Vec<(String, String)> =
            (1..MAX_ROW).map(|n| (format!("v{n}"), format!("{{{{v{} ?? v{}}}}}", n - 1, n - 1))).collect();
        variables.push(("v0".into(), "{{n()}}{{none}}".into()));
        let mut fixture = Fixture::new().without("none");
        let declared: Vec<(&str, &str)> = variables.iter().map(|(name, text)| (&**name, &**text)).collect();
        fixture.names.declare(&declared).unwrap();
        assert_eq!(fixture.capture(&format!("v{}", MAX_ROW - 1)), None);
        assert_eq!(fixture.count.get(), 1);
    }

    #[test]
    fn the_deepest_expressions_of_a_row_fit_on_a_small_stack() {
        let render = || {
            let names: Vec<String> = (0..=MAX_ROW).map(|n| format!("v{n}")).collect();
            for (open, close, depth) in [("'true' == (", ")", 31), ("upper(", ")", 15), ("!", "", 31)] {
                let deep = |name: &String| format!("{{{{{}{name}{}}}}}", open.repeat(depth), close.repeat(depth));
                let texts: Vec<String> = names.iter().skip(1).map(deep).collect();
                let variables: Vec<(&str, &str)> =
                    names.iter().zip(&texts).map(|(name, text)| (&**name, &**text)).collect();
                let fixture = Fixture::new().with(&names[MAX_ROW], "true").declare(&variables);
                assert!(fixture.capture("v0").is_some(), "{open}");
            }
        };
        // A quarter of what a thread of the runtime has.
        std::thread::Builder::new().stack_size(512 << 10).spawn(render).unwrap().join().unwrap();
    }

    #[test]
    fn variables_are_counted() {
        let names: Vec<String> = (0..=MAX_DECLARED).map(|n| format!("v{n}")).collect();
        let variables: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "x")).collect();
        assert!(Names::default().declare(&variables[1..]).is_ok());
        let problems = Names::default().declare(&variables).unwrap_err();
        assert_eq!(problems[0].1.to_string(), "column 1: expected at most 500 declared variables");
    }

    #[test]
    fn to_look_through_variables_takes_a_step_for_each_use() {
        // Each needs all twenty of the level below. By way of each other these are 20^8.
        let text = |level: usize| match level {
            0 => "x".to_owned(),
            level => (0..20).map(|n| format!("{{{{v{}_{n}}}}}", level - 1)).collect(),
        };
        let levels = (0..MAX_ROW).flat_map(|level| (0..20).map(move |n| (level, n)));
        let texts: Vec<(String, String)> = levels.map(|(level, n)| (format!("v{level}_{n}"), text(level))).collect();
        let variables: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (&**name, &**text)).collect();
        assert!(Names::default().declare(&variables).is_ok());
    }
}
