//! Splitting: the parts lie in the message, in order and apart, none is empty, and between them is nothing but separators.

#![no_main]

use connect_websocket_engine::intake::split::{Split, Splitter};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u8, Vec<Vec<u8>>)| {
    let (how, byte, messages) = input;
    let split = match how % 3 {
        0 => Split::JsonArray,
        1 => Split::Lines,
        _ => Split::Byte(byte),
    };
    let mut splitter = Splitter::new(split).expect("one pointer");
    for message in &messages {
        let text = std::str::from_utf8(message).ok();
        let mut end = 0;
        let parts = splitter.split(message, text);
        for part in parts {
            assert!(end <= part.start && part.start < part.end && part.end <= message.len());
            assert!(text.is_none_or(|text| split != Split::JsonArray || text.get(part.clone()).is_some()));
            end = part.end;
        }
        let whole: usize = parts.iter().map(ExactSizeIterator::len).sum();
        let separators = message.iter().filter(|&&own| match split {
            Split::JsonArray => false,
            Split::Lines => own == b'\n' || own == b'\r',
            Split::Byte(byte) => own == byte,
        });
        assert!(split == Split::JsonArray || whole + separators.count() >= message.len());
    }
});
