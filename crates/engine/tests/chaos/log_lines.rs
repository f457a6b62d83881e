//! Every line that this thread logs, with the fields of the spans around it.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::Attributes;
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Id, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Collects until it is dropped. A task that runs on this thread's runtime logs here.
pub(crate) struct LogLines {
    lines: Arc<Mutex<Vec<String>>>,
    _installed: DefaultGuard,
}

impl LogLines {
    pub(crate) fn collect() -> LogLines {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let subscriber = tracing_subscriber::registry().with(Collector(lines.clone()));
        LogLines { lines, _installed: tracing::subscriber::set_default(subscriber) }
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The numbers behind `name=` in the lines of an event.
    pub(crate) fn numbers(&self, event: &str, name: &str) -> Vec<u64> {
        let of_event = format!("event={event} ");
        let lines = self.all().into_iter().filter(|line| line.contains(&of_event));
        lines.filter_map(|line| line.split_once(&format!(" {name}="))?.1.split(' ').next()?.parse().ok()).collect()
    }
}

struct Collector(Arc<Mutex<Vec<String>>>);

impl Collector {
    fn add(&self, line: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collector {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut line = String::new();
        attributes.record(&mut Fields(&mut line));
        self.add(line);
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = String::new();
        event.record(&mut Fields(&mut line));
        self.add(line + " ");
    }
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, " {}: {value:?}", field.name());
    }
}
