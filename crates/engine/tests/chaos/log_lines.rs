//! Every line that this thread logs, with the fields of the spans around it.

use std::cell::RefCell;
use std::fmt::{Debug, Write};
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::Attributes;
use tracing::{Event, Id, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

thread_local! {
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Collects until it is dropped. A task that runs on this thread's runtime logs here.
pub(crate) struct LogLines(());

/// One subscriber for all threads, before the first line of any: whether a line is of interest is decided once.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Collector)).unwrap();
    });
}

impl LogLines {
    pub(crate) fn collect() -> LogLines {
        install();
        LINES.set(Some(Vec::new()));
        LogLines(())
    }

    pub(crate) fn all(&self) -> Vec<String> {
        LINES.with_borrow(|lines| lines.clone().unwrap_or_default())
    }

    /// The numbers behind `name=` in the lines of an event.
    pub(crate) fn numbers(&self, event: &str, name: &str) -> Vec<u64> {
        let of_event = format!("event={event} ");
        let lines = self.all().into_iter().filter(|line| line.contains(&of_event));
        lines.filter_map(|line| line.split_once(&format!(" {name}="))?.1.split(' ').next()?.parse().ok()).collect()
    }
}

impl Drop for LogLines {
    fn drop(&mut self) {
        LINES.set(None);
    }
}

struct Collector;

impl Collector {
    fn add(&self, record: impl FnOnce(&mut Fields<'_>)) {
        LINES.with_borrow_mut(|lines| {
            if let Some(lines) = lines {
                let mut line = String::new();
                record(&mut Fields(&mut line));
                lines.push(line + " ");
            }
        });
    }
}

impl<S: Subscriber> Layer<S> for Collector {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.add(|fields| attributes.record(fields));
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.add(|fields| event.record(fields));
    }
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, " {}: {value:?}", field.name());
    }
}
