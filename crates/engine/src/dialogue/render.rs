//! Renders what the steps send: for which topics, with which values.

use std::time::Duration;

use super::expression::MAX_RENDERED;
use super::rate;
use super::step::{Http, Spread, Step, Trigger};
use super::variables;
use super::{
    Dialogue, End, Failure, Handshake, HttpRequest, LEAST_INTERVAL, MOST_INTERVAL, Made, Moment, Target, Template,
    Topics, Values,
};
use crate::json::Scanned;

impl Dialogue {
    /// Returns the targets of a step: those for which its `.when` holds.
    pub(super) fn targets(&self, step: usize, moment: &Moment<'_>) -> Vec<Target> {
        let mut all = match self.plan.steps[step].spread {
            Spread::Once => vec![Target::Once],
            Spread::Topics => self.each_topic(),
            Spread::Batches => self.each_batch(),
        };
        if let Some(when) = &self.plan.steps[step].when {
            let made = Made::default();
            all.retain(|target| when.holds(&Values { kept: true, ..self.values(&made, target, "", moment) }));
        }
        all
    }

    pub(super) fn each_topic(&self) -> Vec<Target> {
        (0..self.plan.topics.len()).map(Target::Topic).collect()
    }

    pub(super) fn each_batch(&self) -> Vec<Target> {
        let all = self.plan.topics.len();
        let size = if self.plan.batch_size == 0 { all.max(1) } else { self.plan.batch_size };
        (0..all).step_by(size).map(|from| Target::Batch(from..(from + size).min(all))).collect()
    }

    pub(super) fn topic_of(&self, target: &Target) -> Option<&str> {
        match target {
            Target::Topic(at) => self.plan.topics.get(*at).map(String::as_str),
            Target::Once | Target::Batch(_) => None,
        }
    }

    pub(super) fn values<'a>(
        &'a self,
        made: &'a Made,
        target: &Target,
        items: &'a str,
        moment: &'a Moment<'_>,
    ) -> Values<'a> {
        let topics = match target {
            Target::Batch(range) => Some(Topics { names: &self.plan.topics[range.clone()], items }),
            _ => None,
        };
        Values {
            topic: self.topic_of(target),
            topics,
            ..Values::new(&self.plan.names, &self.variables, made, moment.at, moment.chance, &self.count)
        }
    }

    /// Returns the topics of a batch, each in the form of `websocket.subscription.item`.
    pub(super) fn items(&self, target: &Target, moment: &Moment<'_>) -> Result<String, Failure> {
        let Target::Batch(range) = target else { return Ok(String::new()) };
        let mut items = String::new();
        for at in range.clone() {
            // A longer text is refused wherever it is used.
            if items.len() > MAX_RENDERED {
                break;
            }
            if at > range.start {
                items.push(',');
            }
            let made = Made::default();
            self.plan.item.write(&self.values(&made, &Target::Topic(at), "", moment), &mut items)?;
        }
        Ok(items)
    }

    pub(super) fn render(
        &mut self,
        step: usize,
        template: &Template,
        target: &Target,
        message: Option<Scanned<'_>>,
        moment: &Moment<'_>,
    ) -> Result<String, End> {
        let made = Made::default();
        let rendered = self
            .items(target, moment)
            .and_then(|items| template.render(&Values { message, ..self.values(&made, target, &items, moment) }));
        let topic = self.topic_of(target).map(str::to_owned);
        self.variables.keep(topic.as_deref(), &made);
        let rendered = rendered.map_err(|failure| self.cannot(step, &failure))?;
        self.learn_rendered(step, template, &rendered);
        Ok(rendered)
    }

    /// Adds values that are computed from secrets to the redactor, such as signatures.
    fn learn_rendered(&self, step: usize, template: &Template, rendered: &str) {
        if template.used().any(|name| variables::is_secret(name)) {
            self.redactor.learn_message(&format!("step {}", self.plan.steps[step].name), rendered);
        }
    }

    /// Checks a rendered address, which may come from a server: if the configuration uses TLS, it must use TLS too.
    fn check_tls(&self, step: usize, url: &str) -> Result<(), End> {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
        if !self.plan.wants_tls || matches!(scheme.as_str(), "wss" | "https") {
            return Ok(());
        }
        let name = &self.plan.steps[step].name;
        Err(End::Failed(format!("the step {name}: its URL would leave TLS")))
    }

    /// Adds rendered headers to the redactor: they may contain a signature, a new one for each connection.
    pub(super) fn learn_header(&self, name: &str, value: &str) {
        self.redactor.learn(&format!("header {name}"), value);
    }

    pub(super) fn cannot(&self, step: usize, failure: &Failure) -> End {
        End::Failed(format!("the step {}: {failure}", self.plan.steps[step].name))
    }

    pub(super) fn number(&self, step: usize, template: &Template, moment: &Moment<'_>) -> Result<Duration, End> {
        let made = Made::default();
        let text = template.render(&self.values(&made, &Target::Once, "", moment));
        let text = text.map_err(|failure| self.cannot(step, &failure))?;
        let ms = rate::millis(&text).ok_or_else(|| {
            let shown = self.redactor.foreign(&text, 40);
            End::Failed(format!("the step {}: {shown} is not a number of milliseconds", self.plan.steps[step].name))
        })?;
        Ok(Duration::from_secs_f64((ms / 1000.0).min(MOST_INTERVAL.as_secs_f64())))
    }

    pub(super) fn interval(&self, step: usize, moment: &Moment<'_>) -> Result<Duration, End> {
        let plan = &self.plan;
        let Trigger::Every { ms, .. } = &plan.steps[step].trigger else { return Ok(MOST_INTERVAL) };
        Ok(self.number(step, ms, moment)?.max(LEAST_INTERVAL))
    }

    pub(super) fn timeout(&self, step: usize, moment: &Moment<'_>) -> Result<Duration, End> {
        match &self.plan.steps[step].timeout {
            Some(template) => self.number(step, template, moment),
            None => Ok(Step::default_timeout()),
        }
    }

    pub(super) fn handshake(&mut self, step: usize, moment: &Moment<'_>) -> Result<Handshake, End> {
        let plan = self.plan.clone();
        let made = Made::default();
        let values = self.values(&made, &Target::Once, "", moment);
        let render = |template: &Template| template.render(&values).map_err(|failure| self.cannot(step, &failure));
        let url = match (&self.moved, &plan.url) {
            (Some(moved), _) => Some(moved.clone()),
            (None, Some(template)) => Some(render(template)?),
            (None, None) => None,
        };
        let mut headers = Vec::new();
        for (name, value) in &plan.headers {
            headers.push((name.clone(), render(value)?));
        }
        let subprotocols = plan.subprotocols.iter().map(&render).collect::<Result<Vec<_>, _>>()?;
        let subprotocols = (!subprotocols.is_empty()).then_some(subprotocols);
        for (name, value) in &headers {
            self.learn_header(name, value);
        }
        for (template, subprotocol) in plan.subprotocols.iter().zip(subprotocols.iter().flatten()) {
            self.learn_rendered(step, template, subprotocol);
        }
        if let Some(url) = &url {
            self.check_tls(step, url)?;
        }
        if let Some(url) = url.as_deref().and_then(|url| url::Url::parse(url).ok()) {
            self.redactor.learn_url("websocket.url", &url);
        }
        Ok(Handshake { url, headers, subprotocols })
    }

    pub(super) fn request(
        &mut self,
        step: usize,
        http: &Http,
        target: &Target,
        moment: &Moment<'_>,
    ) -> Result<HttpRequest, End> {
        let timeout = self.timeout(step, moment)?;
        let made = Made::default();
        let items = self.items(target, moment).map_err(|failure| self.cannot(step, &failure))?;
        let values = self.values(&made, target, &items, moment);
        let render = |template: &Template| template.render(&values).map_err(|failure| self.cannot(step, &failure));
        let url = render(&http.url)?;
        let mut headers = Vec::new();
        for (name, value) in &http.headers {
            headers.push((name.clone(), render(value)?));
        }
        let body = http.body.as_ref().map(&render).transpose()?;
        for (name, value) in &headers {
            self.learn_header(name, value);
        }
        if let (Some(template), Some(body)) = (&http.body, &body) {
            self.learn_rendered(step, template, body);
        }
        if let Ok(url) = url::Url::parse(&url) {
            self.redactor.learn_url(&format!("step {} url", self.plan.steps[step].name), &url);
        }
        self.check_tls(step, &url)?;
        let topic = self.topic_of(target).map(str::to_owned);
        self.variables.keep(topic.as_deref(), &made);
        Ok(HttpRequest { method: http.method.clone(), url, headers, body, timeout })
    }
}
