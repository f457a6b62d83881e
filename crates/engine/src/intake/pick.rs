//! A record is picked out of its envelope.

use crate::dialogue::expression::{Problem, pointer};
use crate::json::{PointerId, Pointers, Raw, Scanned};

/// What becomes of a message in which no pointer names a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Missing {
    /// It is no record, and counted.
    #[default]
    Skip,
    /// It is the record.
    Whole,
    /// The task fails.
    Fail,
}

/// Pointers to the record; the first that is there counts.
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
    /// What is wrong with the first that is no pointer.
    pub fn compile(pointers: &[String], missing: Missing, message: &mut Pointers) -> Result<Pick, Problem> {
        let mut pick = Pick { pointers: Vec::new(), plural: Vec::new(), missing };
        for text in pointers {
            let pointer = pointer(text)?;
            pick.plural.push(pointer.is_plural());
            pick.pointers.push(message.add(pointer));
        }
        Ok(pick)
    }

    /// The values of the first pointer that names one, and whether each is one of several. Nothing if none does.
    pub fn pick<'m>(&self, message: &Scanned<'m>) -> Option<(impl Iterator<Item = Raw<'m>> + use<'m>, bool)> {
        let there = self.pointers.iter().zip(&self.plural).find(|(id, _)| message.first(**id).is_some())?;
        Some((message.all(*there.0), *there.1))
    }
}
