//! Answers of a feed: whether they are refusals, captured variables, and cached responses for later connections.

use tokio::time::Instant;

use super::seen::Seen;
use super::step::{Act, Http, Step};
use super::{
    Cached, Condition, Dialogue, End, HttpAnswer, Job, MAX_WORDS, MOST_INTERVAL, Made, Moment, Target, Values,
    VariableId, rate,
};
use crate::json::Found;

impl Dialogue {
    /// Finds the values in an answer that the steps read.
    pub(super) fn scan(&self, answer: &HttpAnswer<'_>) -> Found {
        let mut found = Found::default();
        self.plan.scanner.scan(answer.body, &mut found);
        found
    }

    /// Whether an HTTP response is a refusal: by the step's conditions, or otherwise by its status.
    pub(super) fn judge(
        &self,
        step: usize,
        target: &Target,
        answer: &Seen<'_>,
        moment: &Moment<'_>,
    ) -> Result<(), End> {
        if let Some(end) = self.says_no(step, target, answer, moment) {
            return Err(end);
        }
        let made = Made::default();
        let values = Values { kept: true, ..answer.values(self.values(&made, target, "", moment)) };
        let Step { expect, act, .. } = &self.plan.steps[step];
        let status = answer.status.unwrap_or_default();
        let good = match expect {
            Some(expect) => expect.holds(&values),
            None => matches!(act, Act::Connect) || (200..300).contains(&status),
        };
        let words = || self.words_of(step, target, answer, moment);
        match status {
            _ if good => Ok(()),
            429 | 500..=599 => Err(End::Outage(words())),
            _ => Err(End::Failed(words())),
        }
    }

    /// Returns what the step's `.fail.final` and `.fail` say about an answer.
    pub(super) fn says_no(&self, step: usize, target: &Target, answer: &Seen<'_>, moment: &Moment<'_>) -> Option<End> {
        let made = Made::default();
        let values = Values { kept: true, ..answer.values(self.values(&made, target, "", moment)) };
        let holds =
            |condition: &Option<Condition>| condition.as_ref().is_some_and(|condition| condition.holds(&values));
        let words = || self.words_of(step, target, answer, moment);
        let Step { fail, fail_final, .. } = &self.plan.steps[step];
        if holds(fail_final) {
            return Some(End::Final(words()));
        }
        holds(fail).then(|| End::Failed(words()))
    }

    fn words_of(&self, step: usize, target: &Target, answer: &Seen<'_>, moment: &Moment<'_>) -> String {
        self.learn_captured(step, target, moment, answer);
        format!("the step {}: {}", self.plan.steps[step].name, self.shown(answer))
    }

    /// Returns the words of a message or an answer, for an error.
    pub(super) fn shown(&self, seen: &Seen<'_>) -> String {
        let words = seen.message.map(|message| self.redactor.foreign(message.text(), MAX_WORDS)).unwrap_or_default();
        match seen.status {
            Some(status) => format!("the server answered with status {status} {words}"),
            None => words,
        }
    }

    pub(super) fn capture_answer(
        &mut self,
        step: usize,
        target: &Target,
        answer: &Seen<'_>,
        moment: &Moment<'_>,
    ) -> Result<Vec<(VariableId, String)>, End> {
        let captured = self.captures(step, target, moment, answer)?;
        self.keep(target, captured.clone());
        Ok(captured.into_iter().filter_map(|(id, value)| Some((id, value?))).collect())
    }

    /// Adds the secrets of a refused answer to the redactor, before an error shows its words.
    pub(super) fn learn_captured(&self, step: usize, target: &Target, moment: &Moment<'_>, seen: &Seen<'_>) {
        // A capture that fails has no secret to add.
        let _ = self.captures(step, target, moment, seen);
    }

    /// Returns the captured values of a step, from a message or an answer.
    pub(super) fn captures(
        &self,
        step: usize,
        target: &Target,
        moment: &Moment<'_>,
        seen: &Seen<'_>,
    ) -> Result<Vec<(VariableId, Option<String>)>, End> {
        let made = Made::default();
        let plan = &self.plan;
        let values = Values { kept: true, ..seen.values(self.values(&made, target, "", moment)) };
        let mut captured = Vec::new();
        for capture in &plan.steps[step].capture {
            let value = capture.value.text(&values).map_err(|failure| self.cannot(step, &failure))?;
            if let (true, Some(value)) = (capture.is_secret(), &value) {
                self.redactor.learn(&capture.name, value);
            }
            captured.push((capture.id, value));
        }
        Ok(captured)
    }

    pub(super) fn keep(&mut self, target: &Target, captured: Vec<(VariableId, Option<String>)>) {
        let topic = self.topic_of(target).map(str::to_owned);
        for (id, value) in captured {
            match (value, &topic) {
                (Some(value), topic) => {
                    self.keep_on(topic.as_deref(), id, &value);
                    match topic {
                        Some(topic) => self.variables.set_of(topic, id, &value),
                        None => self.variables.set(id, &value),
                    }
                }
                (None, None) => self.variables.unset(id),
                (None, Some(_)) => {}
            }
        }
    }

    pub(super) fn keep_answer(
        &mut self,
        job: &Job,
        http: &Http,
        variables: Vec<(VariableId, String)>,
        moment: &Moment<'_>,
    ) -> Result<(), End> {
        let Some(template) = &http.cache else { return Ok(()) };
        let made = Made::default();
        let text = template.render(&self.values(&made, &Target::Once, "", moment));
        let text = text.map_err(|failure| self.cannot(job.step, &failure))?;
        let Some(time) = rate::seconds(&text) else {
            let name = &self.plan.steps[job.step].name;
            return Err(End::Failed(format!("the step {name}: http.cache is not a time such as 3600s")));
        };
        // A tenth less, so that the response is renewed before it is too old.
        let until = moment.now + time.min(MOST_INTERVAL).mul_f64(0.9);
        self.carried.cache.insert((job.step, job.target.clone()), Cached { until, variables });
        Ok(())
    }

    pub(super) fn use_cached(&mut self, step: usize, target: &Target, now: Instant) -> bool {
        let cached = self.carried.cache.get(&(step, target.clone())).filter(|cached| cached.until > now);
        let Some(variables) = cached.map(|cached| cached.variables.clone()) else { return false };
        self.keep(target, variables.into_iter().map(|(id, value)| (id, Some(value))).collect());
        true
    }
}
