//! The input of conditions and captures.

use super::{HttpAnswer, Values};
use crate::json::{Found, Scanned};

/// A message or an answer, for conditions and captures.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen<'a> {
    pub(super) message: Option<Scanned<'a>>,
    pub(super) status: Option<u16>,
    pub(super) headers: &'a [(String, String)],
}

impl<'a> Seen<'a> {
    pub(super) fn answer(answer: &HttpAnswer<'a>, found: &'a Found) -> Seen<'a> {
        let message = Some(Scanned::new(answer.body, found));
        Seen { message, status: Some(answer.status), headers: answer.headers }
    }

    pub(super) fn values(&self, values: Values<'a>) -> Values<'a> {
        Values { message: self.message, status: self.status, headers: self.headers, ..values }
    }
}
