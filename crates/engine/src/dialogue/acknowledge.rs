//! What is said to a feed once Kafka has its message: `.on.commit`.

use super::step::{Act, Trigger};
use super::{Dialogue, End, Job, Made, Moment, Target, Values};
use crate::commits::Committed;
use crate::json::Scanned;

/// A message that will be sent when Kafka has what it acknowledges.
pub(super) struct Owed {
    step: usize,
    rendered: String,
    /// Only the newest of the step is sent.
    latest: bool,
}

impl Dialogue {
    /// Makes what is to be sent once Kafka has this message, whose number is `id`.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn owe(&mut self, id: i64, message: Option<Scanned<'_>>, moment: &Moment<'_>) -> Result<(), End> {
        let plan = self.plan.clone();
        let mut owed = Vec::new();
        for (at, step) in plan.steps.iter().enumerate() {
            let Trigger::OnCommit { condition, latest } = &step.trigger else { continue };
            let matches = {
                let made = Made::default();
                let values = Values { message, ..self.values(&made, &Target::Once, "", moment) };
                condition.holds(&values) && step.when.as_ref().is_none_or(|when| when.holds(&values))
            };
            if let (true, Act::Send { text, .. }) = (matches && self.opened, &step.act) {
                let rendered = self.render(at, text, &Target::Once, message, moment)?;
                owed.push(Owed { step: at, rendered, latest: *latest });
            }
        }
        if !owed.is_empty() {
            self.owed.insert(id, owed);
        }
        Ok(())
    }

    /// Kafka has these messages: says so.
    ///
    /// # Errors
    /// More is to be said than the feed takes.
    pub(crate) fn committed(&mut self, committed: &Committed, moment: &Moment<'_>) -> Result<(), End> {
        let mut said = Vec::new();
        for id in &committed.messages {
            let Some(owed) = self.owed.get_mut(id) else { continue };
            said.extend(owed.extract_if(.., |owed| !owed.latest));
        }
        if let Some(up_to) = committed.up_to {
            let later = self.owed.split_off(&(up_to + 1));
            let done = std::mem::replace(&mut self.owed, later);
            // The newest of each step.
            let mut newest: Vec<Owed> = Vec::new();
            for owed in done.into_values().flatten().filter(|owed| owed.latest) {
                newest.retain(|before| before.step != owed.step);
                newest.push(owed);
            }
            said.append(&mut newest);
        }
        self.owed.retain(|_, owed| !owed.is_empty());
        for Owed { step, rendered, .. } in said {
            self.add_job(Job { step, target: Target::Once, rendered: Some(rendered), asks: true })?;
        }
        self.proceed(moment, true)
    }
}
