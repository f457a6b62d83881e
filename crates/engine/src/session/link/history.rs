//! Requests missing records from the feed's history, beside the connection, and puts them in their place if they come
//! in time.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tracing::{info, warn};
use url::{Url, form_urlencoded};

use super::{Ending, Link, Listener, MAX_KEY_CHARS};
use crate::backfill::{Outcome, Plan, Question, Session, Verdict, verdict, without};
use crate::connection::OpenError;
use crate::connection::http::retry_after;
use crate::connection::http_request::HttpResponse;
use crate::dialogue::{HttpRequest, Moment};
use crate::intake::{Ground, Origin};
use crate::record::Batch;

/// Why a request brought no page.
enum NoPage {
    Later(String, Option<Duration>),
    Never(String),
}

impl Link {
    /// Returns the next request to the feed's history, if one is due.
    pub(in crate::session) fn next_question(&mut self, moment: &Moment<'_>) -> Option<HttpRequest> {
        let plan = self.config.backfill.clone()?;
        // Fetched records go to the queue before more are requested, so that memory is bounded.
        if self.is_stopping() || !self.ready.is_empty() {
            return None;
        }
        let question = self.intake.as_mut().ok()?.memory().backfill.ask(moment.now)?;
        match plan.request(&question, self.session(moment)) {
            Ok(request) => {
                self.learn(&request, &question.key);
                Some(request)
            }
            Err(failure) => {
                self.warn(&question, &format!("websocket.backfill: {failure}"), None);
                // No record is involved, so it cannot be a record that fails the task.
                let _ = self.end_repair(moment);
                None
            }
        }
    }

    /// Takes the response to a request to the feed's history.
    ///
    /// # Errors
    /// A record of it fails the task.
    pub(in crate::session) fn history_answered(
        &mut self,
        answer: Result<HttpResponse, OpenError>,
        moment: &Moment<'_>,
    ) -> Result<(), Ending> {
        let Some(plan) = self.config.backfill.clone() else { return Ok(()) };
        let Some(question) = self.intake.as_mut().ok().and_then(|intake| intake.memory().backfill.asked()) else {
            return Ok(());
        };
        match self.page(&plan, answer, &question, moment) {
            Ok(is_last) if !is_last => return Ok(()),
            Ok(_) => {}
            Err(NoPage::Later(why, retry_after)) => {
                let intake = self.intake.as_mut().ok();
                let wait = intake.and_then(|intake| intake.memory().backfill.put_off(moment.now, retry_after));
                self.warn(&question, &why, wait);
                if wait.is_some() {
                    return Ok(());
                }
            }
            Err(NoPage::Never(why)) => self.warn(&question, &why, None),
        }
        self.end_repair(moment)
    }

    /// Takes the page in a response. Returns whether it was the last one.
    fn page(
        &mut self,
        plan: &Plan,
        answer: Result<HttpResponse, OpenError>,
        question: &Question,
        moment: &Moment<'_>,
    ) -> Result<bool, NoPage> {
        let HttpResponse { status, headers, body } = answer.map_err(|error| NoPage::Later(error.message, None))?;
        let wait = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("retry-after"));
        let wait = wait.and_then(|(_, value)| retry_after(value));
        match verdict(status) {
            Verdict::Take => {}
            Verdict::Later => return Err(NoPage::Later(format!("the answer has the status {status}"), wait)),
            Verdict::Never => return Err(NoPage::Never(format!("the answer has the status {status}"))),
        }
        let page = plan.read(&body, &headers, question, self.session(moment));
        let page = page.map_err(|failure| NoPage::Never(failure.to_string()))?;
        // Some feeds report an overload in the body, and not by the status.
        let page =
            page.ok_or_else(|| NoPage::Later("the answer has nothing at websocket.backfill.records".into(), None))?;
        let Link { intake, dialogue, commits, config, .. } = self;
        let Ok(intake) = intake else { return Ok(true) };
        let ground = Ground { names: &config.plan.names, now: moment.at, chance: moment.chance };
        let steps = Listener { dialogue, moment, end: None, commits: commits.as_deref(), message: None };
        let numbered = |record: String| Some((intake.number_of(&record, &question.key, &ground, &steps)?, record));
        let records = page.records.into_iter().filter_map(numbered).collect();
        Ok(intake.memory().backfill.take_page(records, page.next))
    }

    /// Ends the repair of the first hole: the fetched records go to the queue, and then those that waited for them.
    fn end_repair(&mut self, moment: &Moment<'_>) -> Result<(), Ending> {
        let Some(outcome) = self.intake.as_mut().ok().and_then(|intake| intake.memory().backfill.outcome()) else {
            return Ok(());
        };
        let Outcome { number, hole, at, records, requests, missing } = outcome;
        let key = self.shown_key(&hole.key);
        info!(
            "event=backfilled key=\"{key}\" from={} to={} records={} missing={} requests={requests}",
            hole.from,
            hole.to,
            records.len(),
            missing.map_or_else(|| "unknown".to_owned(), |missing| missing.to_string()),
        );
        // Records that wait were received after the hole was found. So the offset of a fetched record must not have the
        // present time.
        let received = if self.held.is_empty() { moment.at } else { at };
        let taken = self.take_back(&records, received, moment);
        if let Ok(intake) = &mut self.intake {
            intake.memory().backfill.forget();
        }
        self.held.list(|list| without(list, &hole));
        let released = self.held.release(number);
        self.put(released);
        let mut gap = self.gap_of(hole, at);
        (gap.missed, gap.repaired) = (missing, missing == Some(0));
        self.repaired.push(gap);
        taken
    }

    fn take_back(
        &mut self,
        records: &[(i128, String)],
        received: SystemTime,
        moment: &Moment<'_>,
    ) -> Result<(), Ending> {
        let mut batch = Batch::default();
        let Link { intake, dialogue, commits, config, name, held, .. } = self;
        let Ok(intake) = intake else { return Ok(()) };
        intake.memory().are_held(!held.is_empty());
        let ground = Ground { names: &config.plan.names, now: received, chance: moment.chance };
        let origin = Origin { connection: name, feed: &config.partition };
        let steps = Listener { dialogue, moment, end: None, commits: commits.as_deref(), message: None };
        let mut take = |(number, record): &(i128, String)| {
            intake.memory().backfill.came_to(*number);
            intake.take_back(record, &ground, &origin, &mut batch, &steps)
        };
        let taken = records.iter().try_for_each(&mut take);
        self.received.counts += intake.counts();
        self.findings.add(intake.findings());
        intake.seen().clear();
        self.put(vec![batch]);
        Ok(taken?)
    }

    /// Holds back the records after holes that were just found in a message.
    pub(super) fn hold(&mut self, now: Instant) {
        let repairs = std::mem::take(&mut self.findings.repairs);
        let hold = self.config.backfill.as_ref().map(|plan| plan.hold).unwrap_or_default();
        if hold.is_zero() {
            return;
        }
        let mut tails = Vec::new();
        for (repair, place) in repairs.into_iter().rev() {
            tails.push((repair, self.batch.split_off(place)));
        }
        if !self.held.is_empty() {
            self.held.add(std::mem::take(&mut self.batch));
        }
        for (repair, tail) in tails.into_iter().rev() {
            self.held.begin(repair, now + hold);
            self.held.add(tail);
        }
    }

    /// Gives records that have waited long enough to the queue.
    pub(in crate::session) fn release_due(&mut self, now: Instant) {
        let released = self.held.release_due(now);
        self.put(released);
    }

    /// Gives all records that wait to the queue, because the connection or the task ends.
    pub(in crate::session) fn release_all(&mut self) {
        let released = self.held.release_all();
        self.put(released);
    }

    /// Adds batches to those that go to the queue next, after the records in the present batch.
    fn put(&mut self, batches: Vec<Batch>) {
        if batches.iter().all(Batch::is_empty) {
            return;
        }
        let limits = self.config.queue.of_a_batch();
        let before = std::mem::take(&mut self.batch);
        let all = [before].into_iter().chain(batches).flat_map(|batch| pieces(batch, limits));
        self.ready.extend(all.filter(|batch| !batch.is_empty()));
    }

    /// Returns when a request is due, or records have waited long enough.
    pub(super) fn history_wake(&self, now: Instant) -> Option<Instant> {
        let may_ask = self.config.backfill.is_some() && self.ready.is_empty();
        let due = self.intake.as_ref().ok().filter(|_| may_ask);
        let due = due.and_then(|intake| intake.remembered().backfill.due(now));
        [due, self.held.next_release()].into_iter().flatten().min()
    }

    fn session<'a>(&'a self, moment: &'a Moment<'a>) -> Session<'a> {
        Session { variables: self.dialogue.variables(), count: self.dialogue.count(), moment }
    }

    /// Adds secrets in the rendered request to the redactor. The hole's key is not a secret, because the log names it.
    fn learn(&self, request: &HttpRequest, key: &str) {
        let redactor = &self.config.redactor;
        request.headers.iter().for_each(|(name, value)| redactor.learn(&format!("header {name}"), value));
        if let Ok(mut url) = Url::parse(&request.url) {
            let is_key = |part: &&str| form_urlencoded::parse(part.as_bytes()).any(|(_, value)| value == key);
            let query: Vec<&str> = url.query().unwrap_or_default().split('&').filter(|part| !is_key(part)).collect();
            let query = query.join("&");
            url.set_query(Some(&query));
            redactor.learn_url("websocket.backfill.http", &url);
        }
    }

    fn warn(&self, question: &Question, why: &str, wait: Option<Duration>) {
        let key = self.config.redactor.foreign(&question.key, MAX_KEY_CHARS);
        let next = wait.map_or_else(|| "given_up=true".to_owned(), |wait| format!("retry_ms={}", wait.as_millis()));
        warn!("event=backfill_failed key=\"{key}\" from={} to={} {next} reason=\"{why}\"", question.from, question.to);
    }
}

/// Splits records into batches of the size that the queue accepts.
fn pieces(batch: Batch, (records, bytes): (usize, usize)) -> Vec<Batch> {
    if batch.len() <= records && batch.bytes() <= bytes {
        return vec![batch];
    }
    let mut pieces = Vec::new();
    let mut piece = Batch::default();
    for record in batch.iter() {
        if piece.len() >= records || piece.bytes() >= bytes {
            pieces.push(std::mem::take(&mut piece));
        }
        piece.push_record(&record);
    }
    pieces.push(piece);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ValueKind;

    #[test]
    fn more_than_a_batch_may_have_is_cut() {
        let mut batch = Batch::default();
        (0..5).for_each(|n: u8| batch.push(ValueKind::Text, n.to_string().as_bytes(), 0));
        let pieces = pieces(batch, (2, 1000));
        assert_eq!(pieces.iter().map(Batch::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(pieces[2].get(0).map(|record| record.value), Some(&b"4"[..]));
    }
}
