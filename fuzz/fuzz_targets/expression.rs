//! Expressions, templates and lists: any text compiles or is refused with a column inside of it; what compiles is evaluated
//! over arbitrary messages without a panic and within its bounds.

#![no_main]

use std::cell::Cell;
use std::time::{Duration, UNIX_EPOCH};

use connect_websocket_engine::dialogue::expression::{
    Condition, Expression, MAX_RENDERED, Message, Paths, Problem, Scope, Topics, Values,
};
use connect_websocket_engine::dialogue::list;
use connect_websocket_engine::dialogue::template::{Position, Template};
use connect_websocket_engine::dialogue::variables::{GIVEN, Made, Names, Variables};
use connect_websocket_engine::json::{Found, Scanned};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (String, String, String, u8)| {
    let (text, declared, message, choice) = input;
    if text.len() > 4096 || declared.len() > 4096 {
        return;
    }
    let entries = list::split(&text);
    assert!(entries.iter().map(String::len).sum::<usize>() <= text.len());

    let mut names = Names::default();
    let secret = names.hold("secret.k").expect("a name");
    let captured = names.hold("c").expect("a name");
    let _ = names.declare(&[("d", &declared)]);
    let mut variables = Variables::default();
    variables.set(secret, "aGk=");
    variables.set(captured, "17");

    let mut paths = Paths::default();
    let whole = if choice & 1 == 0 { Message::Whole } else { Message::Record };
    let mut scope = Scope { names: &names, given: &GIVEN, message: whole, answer: choice & 2 == 0, paths: &mut paths };
    let condition = checked(&text, Condition::compile(&text, &mut scope));
    let expression = checked(&text, Expression::compile(&text, &mut scope));
    let positions = [Position::Plain, Position::Url, Position::Header, Position::Field];
    let position = positions[usize::from(choice >> 2) % positions.len()];
    let template = checked(&text, Template::compile(&text, position, &mut scope));

    let (Ok(of_message), Ok(of_record)) = (paths.message.build(), paths.record.build()) else { return };
    let (mut found, mut in_record) = (Found::default(), Found::default());
    of_message.scan(&message, &mut found);
    of_record.scan(&message, &mut in_record);
    let (made, count) = (Made::default(), Cell::new(0));
    let topics = ["a".to_owned(), "b".to_owned()];
    let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let chance = |bytes: &mut [u8]| bytes.fill(7);
    let values = Values {
        topic: Some("a"),
        topics: Some(Topics { names: &topics, items: "\"a\",\"b\"" }),
        message: Some(Scanned::new(&message, &found)),
        record: Some(Scanned::new(&message, &in_record)),
        status: Some(200),
        index: Some(1),
        ..Values::new(&names, &variables, &made, now, &chance, &count)
    };
    let _ = condition.map(|condition| condition.holds(&values));
    let _ = expression.map(|expression| expression.text(&values));
    if let Some(Ok(rendered)) = template.map(|template| template.render(&values)) {
        assert!(rendered.len() <= MAX_RENDERED);
        assert!(
            position != Position::Header || text.contains(['\r', '\n', '\0']) || !rendered.contains(['\r', '\n', '\0'])
        );
    }
});

fn checked<T>(text: &str, compiled: Result<T, Problem>) -> Option<T> {
    match compiled {
        Ok(compiled) => Some(compiled),
        Err(problem) => {
            assert!((1..=text.chars().count() + 1).contains(&problem.column), "{problem}");
            None
        }
    }
}
