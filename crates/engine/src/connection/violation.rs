//! Violations of RFC 6455 or of a limit by the server, with their close codes.

/// The server has violated the protocol or a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The code of the reply (RFC 6455 §7.4.1).
    pub code: u16,
    pub message: String,
    /// Where the next frame begins in the input, if only the content of a message is wrong.
    pub(super) resume_at: Option<usize>,
}

impl Violation {
    pub(super) fn new(code: u16, message: impl Into<String>) -> Self {
        Violation { code, message: message.into(), resume_at: None }
    }

    pub(super) fn protocol(message: impl Into<String>) -> Self {
        Violation::new(1002, message)
    }

    pub(super) fn too_big(limit: usize) -> Self {
        Violation::new(1009, format!("a message is larger than websocket.message.max.bytes = {limit}"))
    }

    pub(super) fn not_utf8(text: NotUtf8, resume_at: usize) -> Self {
        let NotUtf8 { len, offset } = text;
        let message = format!(
            "a text message is not valid UTF-8: size={len} offset={offset}; websocket.text.invalid=replace keeps such messages"
        );
        Violation { resume_at: Some(resume_at), ..Violation::new(1007, message) }
    }
}

/// A text message that is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotUtf8 {
    /// The message's length so far.
    pub len: usize,
    /// The position of its first invalid byte.
    pub offset: usize,
}
