//! Configurations that would take much time or memory: they are refused soon, with few words.

use super::tests::{errors, properties};
use super::*;

/// Returns the errors of a configuration, which is checked on a small stack: threads of a JVM have no more.
fn refused(pairs: &[(&str, String)]) -> Vec<String> {
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, text)| (*name, &**text)).collect();
    let name = pairs[0].0;
    let errors = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(512 << 10)
            .spawn_scoped(scope, || errors(&pairs))
            .unwrap()
            .join()
            .unwrap()
    });
    let words: usize = errors.iter().map(String::len).sum();
    assert!(words < 256 << 10, "{name}: {} errors, {words} bytes", errors.len());
    errors
}

#[test]
fn a_list_with_many_errors_has_few_sentences() {
    for (name, entry) in [
        ("websocket.session.steps", "!,"),
        ("websocket.session.steps", "connect,"),
        ("websocket.session.connect.capture", "a,"),
        ("websocket.session.connect.capture", "a=!,"),
        ("websocket.resume.variables", "none,"),
        ("websocket.subprotocols", "{{x}},"),
        ("websocket.subprotocols", "a b,"),
        ("websocket.close.fatal.codes", "0,"),
        ("websocket.connect.rate", "x,"),
        ("websocket.record.pointer", "x,"),
        ("websocket.frame.decode", "x,"),
        ("websocket.headers", "a,"),
        ("websocket.record.filter", "/a ="),
        ("websocket.record.key", "{{x}}"),
    ] {
        assert!(!refused(&[(name, entry.repeat(100_000))]).is_empty(), "{name}");
    }
}

#[test]
fn what_would_need_much_memory_is_refused() {
    let pointers: Vec<String> = (0..100_000).map(|n| format!("/a{n}")).collect();
    for (name, value, why) in [
        ("websocket.session.steps", "connect,".repeat(101), "a session has at most 100 steps"),
        ("websocket.frame.decode", "gzip,".repeat(9), "expected at most 8 formats"),
        ("websocket.record.pointer", pointers.join(","), "there are too many pointers"),
    ] {
        let errors = refused(&[(name, value)]);
        assert!(errors.iter().any(|error| error.contains(why)), "{name}: {errors:?}");
    }
}

#[test]
fn a_list_that_is_never_closed_is_read_at_once() {
    for name in ["websocket.subscription.topics", "websocket.record.pointer", "websocket.subprotocols"] {
        for piece in ["(\\'\\\"", "{{'", "[(", "{\"", "({{\"}}"] {
            let text = piece.repeat(100_000);
            let _ = Config::parse(&properties(&[(name, &text)]));
        }
    }
}

#[test]
fn the_deepest_expression_is_compiled_on_a_small_stack() {
    for (open, close) in [("'true' == (", ")"), ("upper(", ")"), ("!", ""), ("when(true, ", ")"), ("/a in [(", ")]")] {
        for depth in [15, 31, 1000] {
            let text = format!("{}/a{}", open.repeat(depth), close.repeat(depth));
            refused(&[("websocket.record.filter", format!("{text} == (")), ("websocket.record.key", text)]);
        }
    }
}
