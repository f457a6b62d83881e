//! Takes records out of a message: `websocket.record.pointer`.

use crate::dialogue::expression::{Problem, pointer};
use crate::json::{PointerId, Pointers, Raw, Scanned};

/// `websocket.record.pointer.missing`: what happens with a message without a record at the pointers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Missing {
    /// It is dropped and counted.
    #[default]
    Skip,
    /// The whole message is the record.
    Whole,
    /// The task fails.
    Fail,
}

/// The pointers to the record. The first one that has a value is used.
#[derive(Debug, Clone)]
pub struct Pick {
    pointers: Vec<PointerId>,
    /// Whether `index` counts the picked values.
    plural: Vec<bool>,
    pub missing: Missing,
}

impl Pick {
    /// Compiles the pointers into those of the message.
    ///
    /// # Errors
    /// What is wrong with the first invalid pointer.
    pub fn compile(pointers: &[String], missing: Missing, message: &mut Pointers) -> Result<Pick, Problem> {
        let mut pick = Pick { pointers: Vec::new(), plural: Vec::new(), missing };
        for text in pointers {
            let pointer = pointer(text)?;
            pick.plural.push(pointer.is_plural());
            pick.pointers.push(message.add(pointer));
        }
        Ok(pick)
    }

    /// Returns the values at the first pointer that has one, and whether each is one of several. `None` if no pointer
    /// has a value.
    pub fn pick<'m>(&self, message: &Scanned<'m>) -> Option<(impl Iterator<Item = Raw<'m>> + use<'m>, bool)> {
        let there = self.pointers.iter().zip(&self.plural).find(|(id, _)| message.first(**id).is_some())?;
        Some((message.all(*there.0), *there.1))
    }
}
