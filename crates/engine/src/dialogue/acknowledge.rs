//! Acknowledgements to a feed when Kafka has its messages: `.on.commit`.

use super::step::{Act, Trigger};
use super::{Dialogue, End, Job, Made, Moment, Target, Values};
use crate::commits::Committed;
use crate::json::Scanned;

/// An acknowledgement that is sent when Kafka has the message.
pub(super) struct Owed {
    step: usize,
    rendered: String,
    /// Whether only the newest one of the step is sent (`.on.commit.latest`).
    latest: bool,
}

impl Dialogue {
    /// Renders the acknowledgements of a message, whose number is `id`.
    ///
    /// # Errors
    /// One cannot be rendered.
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

    /// Sends the acknowledgements of messages that Kafka has.
    ///
    /// # Errors
    /// Too many messages wait for `websocket.send.rate`.
    pub(crate) fn committed(&mut self, committed: &Committed, moment: &Moment<'_>) -> Result<(), End> {
        let mut said = Vec::new();
        for id in &committed.messages {
            let Some(owed) = self.owed.get_mut(id) else { continue };
            said.extend(owed.extract_if(.., |owed| !owed.latest));
        }
        if let Some(up_to) = committed.up_to {
            let later = self.owed.split_off(&(up_to + 1));
            let done = std::mem::replace(&mut self.owed, later);
            // Of each step, the newest one.
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
        // The task may be stopping, where no answer is late any more.
        self.proceed(moment, false)
    }

    /// Whether something that says what Kafka has waits for the rate.
    pub(crate) fn is_acknowledging(&self) -> bool {
        let acknowledges = |job: &Job| matches!(self.plan.steps[job.step].trigger, Trigger::OnCommit { .. });
        self.jobs.iter().any(acknowledges)
    }
}
