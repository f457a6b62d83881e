//! The request to a feed's history, and how the response is read, compiled from the options.

use std::cell::Cell;
use std::time::Duration;

use super::Question;
use crate::dialogue::expression::{Expression, Failure, Message, Paths, Problem, Scope, Values, pointer};
use crate::dialogue::rate::Limit;
use crate::dialogue::template::{Position, Template};
use crate::dialogue::variables::{Made, Names, VariableId, Variables};
use crate::dialogue::{HttpRequest, Moment};
use crate::json::{Found, PointerId, Raw, Scanned, Scanner};
use crate::record::epoch_ms;

pub(crate) const HTTP: &str = "websocket.backfill.http";
pub(crate) const HEADERS: &str = "websocket.backfill.headers";
pub(crate) const BODY: &str = "websocket.backfill.body";
pub(crate) const RECORDS: &str = "websocket.backfill.records";
pub(crate) const RECORD: &str = "websocket.backfill.record";
pub(crate) const NEXT: &str = "websocket.backfill.next";

/// How long a response may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Variables for the templates of the request, in addition to the session's.
const GIVEN: [&str; 5] = ["key", "from", "to", "since", "page"];

/// The options, typed but not compiled.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Method and URL.
    pub http: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    /// The pointer to the array, or to a single record. Empty: the whole response.
    pub records: String,
    pub record: Option<String>,
    pub next: Option<String>,
    pub rate: Vec<Limit>,
    pub hold: Duration,
}

/// The compiled options.
#[derive(Debug)]
pub struct Plan {
    /// The names of the session's variables and of those in `GIVEN`.
    names: Names,
    given: [VariableId; 5],
    method: String,
    url: Template,
    headers: Vec<(String, Template)>,
    body: Option<Template>,
    /// Finds the elements in a response, and the values that `next` reads.
    answer: Scanner,
    /// Where the array is, if it is not the whole response.
    array: Option<PointerId>,
    elements: PointerId,
    next: Option<Expression>,
    /// Makes a record in the live form from an element.
    record: Option<(Template, Scanner)>,
    pub rate: Vec<Limit>,
    /// How long live records wait for the missing ones before them.
    pub hold: Duration,
}

/// The content of a response: elements in the live form, and the next page.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    pub records: Vec<String>,
    pub next: Option<String>,
}

/// The session's part of the values for a request.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    pub variables: &'a Variables,
    /// The last number that `n()` has returned.
    pub count: &'a Cell<u64>,
    pub moment: &'a Moment<'a>,
}

impl Plan {
    /// Compiles the options; `names` are the session's.
    ///
    /// # Errors
    /// Everything that is wrong, each with the option's name.
    pub fn compile(settings: &Settings, names: &Names) -> Result<Plan, Vec<(String, Problem)>> {
        let mut compiler = Compiler { names: names.clone(), problems: Vec::new() };
        let plan = compiler.plan(settings);
        match plan {
            Some(plan) if compiler.problems.is_empty() => Ok(plan),
            _ => Err(compiler.problems),
        }
    }

    /// # Errors
    /// A value is missing, or is not allowed at its place.
    pub fn request(&self, question: &Question, session: Session<'_>) -> Result<HttpRequest, Failure> {
        let (variables, made) = (self.variables(question, session.variables), Made::default());
        let values = self.values(&variables, &made, session);
        let header = |(name, value): &(String, Template)| Ok((name.clone(), value.render(&values)?));
        Ok(HttpRequest {
            method: self.method.clone(),
            url: self.url.render(&values)?,
            headers: self.headers.iter().map(header).collect::<Result<_, Failure>>()?,
            body: self.body.as_ref().map(|body| body.render(&values)).transpose()?,
            timeout: TIMEOUT,
        })
    }

    /// Reads a response. Returns `None` if there is neither an array nor a record at the pointer. Elements of which no
    /// record can be made are left out.
    ///
    /// # Errors
    /// The response is not JSON, or the next page cannot be inserted as text.
    pub fn read(
        &self,
        body: &str,
        headers: &[(String, String)],
        question: &Question,
        session: Session<'_>,
    ) -> Result<Option<Page>, Failure> {
        let mut found = Found::default();
        if !self.answer.scan(body, &mut found) {
            return Err(Failure::Refused("the response is not JSON".into()));
        }
        let (variables, made) = (self.variables(question, session.variables), Made::default());
        let scanned = Scanned::new(body, &found);
        let values = Values { message: Some(scanned), headers, ..self.values(&variables, &made, session) };
        let next = self.next.as_ref().map(|next| next.text(&values)).transpose()?.flatten();
        let mut of_element = Found::default();
        let mut record = |element: &str| {
            let Some((template, scanner)) = &self.record else { return Some(element.to_owned()) };
            scanner.scan(element, &mut of_element);
            let scanned = Some(Scanned::new(element, &of_element));
            template.render(&Values { message: scanned, ..values }).ok()
        };
        let places: Vec<&str> = match self.array {
            Some(array) => scanned.all(array).map(Raw::text).collect(),
            None => vec![body.trim_start()],
        };
        let records = if places.iter().any(|place| place.starts_with('[')) {
            scanned.all(self.elements).map(Raw::text).filter_map(&mut record).collect()
        } else if let Some(place) = places.into_iter().find(|place| place.starts_with('{')) {
            record(place).into_iter().collect()
        } else {
            return Ok(None);
        };
        Ok(Some(Page { records, next: next.filter(|next| !next.is_empty()) }))
    }

    fn variables(&self, question: &Question, session: &Variables) -> Variables {
        let mut variables = session.clone();
        let Question { key, from, to, since, page } = question;
        let since = epoch_ms(*since).to_string();
        let texts = [Some(key.to_string()), Some(from.to_string()), Some(to.to_string()), Some(since), page.clone()];
        for (id, text) in self.given.iter().zip(texts) {
            match text {
                Some(text) => variables.set(*id, &text),
                None => variables.unset(*id),
            }
        }
        variables
    }

    fn values<'v>(&'v self, variables: &'v Variables, made: &'v Made, session: Session<'v>) -> Values<'v> {
        let Session { count, moment, .. } = session;
        Values::new(&self.names, variables, made, moment.at, moment.chance, count)
    }
}

struct Compiler {
    names: Names,
    problems: Vec<(String, Problem)>,
}

impl Compiler {
    fn plan(&mut self, settings: &Settings) -> Option<Plan> {
        let given = GIVEN.map(|name| self.hold(name));
        let (mut answer, mut element) = (Paths::default(), Paths::default());
        let (method, url) = self.compiled(HTTP, || method_and_url(&settings.http))?;
        let url = self.template(HTTP, url, Position::Url, Message::None, &mut Paths::default());
        let headers: Vec<_> = settings
            .headers
            .iter()
            .filter_map(|(name, value)| {
                let paths = &mut Paths::default();
                Some((name.clone(), self.template(HEADERS, value, Position::Header, Message::None, paths)?))
            })
            .collect();
        let body = settings
            .body
            .as_ref()
            .and_then(|text| self.template(BODY, text, Position::Plain, Message::None, &mut Paths::default()));
        let elements = self.compiled(RECORDS, || pointer(&format!("{}/*", settings.records)))?;
        let elements = answer.message.add(elements);
        let array = (!settings.records.is_empty()).then(|| self.compiled(RECORDS, || pointer(&settings.records)));
        let array = array.flatten().map(|array| answer.message.add(array));
        let record = settings.record.as_ref().and_then(|text| {
            let template = self.template(RECORD, text, Position::Plain, Message::Whole, &mut element)?;
            Some((template, self.scanner(RECORD, &element)?))
        });
        let next = settings.next.as_ref().and_then(|text| self.next(text, &mut answer));
        Some(Plan {
            names: self.names.clone(),
            given: [given[0]?, given[1]?, given[2]?, given[3]?, given[4]?],
            method: method.to_owned(),
            url: url?,
            headers,
            body,
            answer: self.scanner(RECORDS, &answer)?,
            array,
            elements,
            next,
            record,
            rate: settings.rate.clone(),
            hold: settings.hold,
        })
    }

    /// Adds a variable of the request. It must not have the name of one of the session's.
    fn hold(&mut self, name: &str) -> Option<VariableId> {
        if self.names.id(name).is_some() {
            let why =
                format!("a variable of the session has the name {name}, which has another meaning in this request");
            self.problems.push((HTTP.to_owned(), Problem::new(1, why)));
            return None;
        }
        self.names.hold(name).ok()
    }

    fn next(&mut self, text: &str, paths: &mut Paths) -> Option<Expression> {
        let names = self.names.clone();
        let mut scope = Scope { names: &names, given: &[], message: Message::Whole, answer: true, paths };
        self.compiled(NEXT, || Expression::compile(text, &mut scope))
    }

    fn template(
        &mut self,
        option: &str,
        text: &str,
        position: Position,
        message: Message,
        paths: &mut Paths,
    ) -> Option<Template> {
        let names = self.names.clone();
        let mut scope = Scope { names: &names, given: &[], message, answer: false, paths };
        self.compiled(option, || Template::compile(text, position, &mut scope))
    }

    fn scanner(&mut self, option: &str, paths: &Paths) -> Option<Scanner> {
        self.compiled(option, || paths.message.build().map_err(|why| Problem::new(1, why)))
    }

    fn compiled<T>(&mut self, option: &str, compile: impl FnOnce() -> Result<T, Problem>) -> Option<T> {
        compile().map_err(|problem| self.problems.push((option.to_owned(), problem))).ok()
    }
}

fn method_and_url(text: &str) -> Result<(&str, &str), Problem> {
    let wrong = || Problem::new(1, "expected GET https://… or POST https://…");
    let (method, url) = text.split_once(' ').ok_or_else(wrong)?;
    let url = url.trim();
    let is_http = url.starts_with("https://") || url.starts_with("http://");
    if matches!(method, "GET" | "POST") && is_http { Ok((method, url)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tokio::time::Instant;

    use super::*;

    fn settings() -> Settings {
        Settings {
            http: "GET https://host/{{part(key, '@', 0)}}/trades?from={{page ?? from}}&page={{page}}".into(),
            headers: vec![("X-Key".into(), "{{secret.key}}".into())],
            records: "/result/trades".into(),
            record: Some(r#"{"s":"{{key}}","n":{{/id}}}"#.into()),
            next: Some("header('next') ?? /result/next".into()),
            ..Settings::default()
        }
    }

    fn question(page: Option<&str>) -> Question {
        let since = SystemTime::UNIX_EPOCH + Duration::from_millis(1500);
        Question { key: "btc@x".into(), from: 5, to: 9, since, page: page.map(str::to_owned) }
    }

    /// A plan, and variables with a secret.
    fn compile(settings: &Settings) -> (Plan, Variables) {
        let (mut names, mut variables) = (Names::default(), Variables::default());
        let secret = names.hold("secret.key").unwrap();
        variables.set(secret, "hush");
        (Plan::compile(settings, &names).unwrap(), variables)
    }

    fn with_session<T>(variables: &Variables, test: impl FnOnce(Session<'_>) -> T) -> T {
        let moment = Moment { now: Instant::now(), at: SystemTime::UNIX_EPOCH, chance: &|bytes| bytes.fill(7) };
        test(Session { variables, count: &Cell::new(0), moment: &moment })
    }

    #[test]
    fn a_question_is_rendered_with_secrets_and_without_a_page_at_first() {
        let (plan, variables) = compile(&settings());
        with_session(&variables, |session| {
            let request = plan.request(&question(None), session).unwrap();
            assert_eq!((&*request.method, &*request.url), ("GET", "https://host/btc/trades?from=5"));
            assert_eq!(request.headers, [("X-Key".to_owned(), "hush".to_owned())]);
            let request = plan.request(&question(Some("7")), session).unwrap();
            assert_eq!(request.url, "https://host/btc/trades?from=7&page=7");
        });
    }

    #[test]
    fn an_answer_has_elements_in_the_live_form_and_a_next_page() {
        let (plan, variables) = compile(&settings());
        with_session(&variables, |session| {
            let body = r#"{"result":{"trades":[{"id":5},{"no":1},{"id":6}],"next":7}}"#;
            let page = plan.read(body, &[], &question(None), session).unwrap().unwrap();
            assert_eq!(page.records, [r#"{"s":"btc@x","n":5}"#, r#"{"s":"btc@x","n":6}"#]);
            assert_eq!(page.next.as_deref(), Some("7"));
            let header = [("next".to_owned(), "8".to_owned())];
            let empty = r#"{"result":{"trades":[]}}"#;
            let page = plan.read(empty, &header, &question(None), session).unwrap().unwrap();
            assert_eq!((page.records, page.next.as_deref()), (vec![], Some("8")));
            for nothing in [r#"{"error":["busy"]}"#, r#"{"result":{"trades":null}}"#] {
                assert_eq!(plan.read(nothing, &[], &question(None), session), Ok(None), "{nothing}");
            }
            assert!(plan.read("<html>", &[], &question(None), session).is_err());
        });
    }

    #[test]
    fn an_answer_may_be_the_array_itself_and_its_elements_live_records() {
        let settings = Settings { records: String::new(), record: None, next: None, ..settings() };
        let (plan, variables) = compile(&settings);
        with_session(&variables, |session| {
            let page = plan.read(r#"[{"id":5}, 6]"#, &[], &question(None), session).unwrap().unwrap();
            assert_eq!((page.records, page.next), (vec![r#"{"id":5}"#.to_owned(), "6".to_owned()], None));
        });
    }

    #[test]
    fn an_answer_may_hold_one_record_or_arrays_under_any_name() {
        let plain = Settings { record: None, next: None, ..settings() };
        for (records, body, expected) in [
            ("/result", r#"{"id":1,"result":{"number":"0x5"}}"#, vec![r#"{"number":"0x5"}"#]),
            ("/result/*", r#"{"error":[],"result":{"XXBTZUSD":[[1],[2]],"last":"7"}}"#, vec!["[1]", "[2]"]),
        ] {
            let (plan, variables) = compile(&Settings { records: records.into(), ..plain.clone() });
            with_session(&variables, |session| {
                let page = plan.read(body, &[], &question(None), session).unwrap().unwrap();
                assert_eq!(page.records, expected);
            });
        }
    }

    #[test]
    fn a_question_says_when_the_message_before_came() {
        let http = "GET https://host/?since={{since}}".into();
        let (plan, variables) = compile(&Settings { http, ..settings() });
        with_session(&variables, |session| {
            assert_eq!(plan.request(&question(None), session).unwrap().url, "https://host/?since=1500");
        });
    }

    #[test]
    fn what_is_wrong_is_told_by_the_options_name() {
        let problem = |settings: &Settings| {
            let problems = Plan::compile(settings, &Names::default()).unwrap_err();
            problems.into_iter().map(|(option, problem)| format!("{option}: {problem}")).collect::<Vec<_>>().join("; ")
        };
        let plain = Settings { headers: Vec::new(), ..settings() };
        for (settings, words) in [
            (Settings { http: "https://host/".into(), ..plain.clone() }, "backfill.http: column 1: expected GET"),
            (Settings { http: "GET ftp://host/".into(), ..plain.clone() }, "backfill.http: column 1: expected GET"),
            (Settings { records: "trades".into(), ..plain.clone() }, "backfill.records"),
            (Settings { record: Some("{{/id".into()), ..plain.clone() }, "backfill.record"),
            (Settings { next: Some("/a ==".into()), ..plain.clone() }, "backfill.next"),
            (settings(), "backfill.headers"),
        ] {
            assert!(problem(&settings).contains(words), "{}", problem(&settings));
        }
    }
}
