//! Keeps log lines until Java fetches them and writes them to SLF4J, because Rust never calls Java.
//!
//! Each task has its own lines. An event belongs to the task in whose span it happened. The session's span is inside
//! that of the task.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use connect_websocket_engine::redact::is_invisible;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Span, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// The most lines of a task that wait. Beyond that, the oldest are dropped and counted.
const MAX_LINES: usize = 1000;
/// The name of the span of a task.
const SPAN: &str = "plugin_task";

static WAITING: Mutex<BTreeMap<i64, Lines>> = Mutex::new(BTreeMap::new());
/// The level of Java's logger: 0 off, 1 ERROR … 5 TRACE.
static LEVEL: AtomicU8 = AtomicU8::new(3);

#[derive(Default)]
struct Lines {
    lines: VecDeque<Line>,
    dropped: usize,
}

pub(crate) struct Line {
    pub(crate) level: Level,
    pub(crate) message: String,
}

/// Sets up logging, once for each copy of the library.
pub(crate) fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(ToJava);
        // Nobody else sets a panic hook: only this plugin uses this copy of the library.
        let _ = tracing::subscriber::set_global_default(subscriber);
        // The panic's message may contain secrets. The task's trace has it without them.
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map_or_else(String::new, ToString::to_string);
            tracing::error!("event=panic place={place}");
        }));
    });
}

/// Sets the level, so that lines that Java's logger would not write are not collected: 0 off, 1 ERROR … 5 TRACE.
pub(crate) fn set_level(level: u8) {
    if LEVEL.swap(level, Relaxed) != level {
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Returns the span of a task. Its lines are kept until [`close`].
pub(crate) fn open(task: i64) -> Span {
    waiting().insert(task, Lines::default());
    tracing::error_span!(SPAN, task)
}

pub(crate) fn is_waiting(task: i64) -> bool {
    waiting().get(&task).is_some_and(|lines| !lines.lines.is_empty())
}

/// Removes and returns the lines that wait.
pub(crate) fn take(task: i64) -> Vec<Line> {
    let Some(lines) = waiting().get_mut(&task).map(std::mem::take) else {
        return Vec::new();
    };
    let dropped = (lines.dropped > 0)
        .then(|| Line { level: Level::WARN, message: format!("event=log_lines_dropped count={}", lines.dropped) });
    dropped.into_iter().chain(lines.lines).collect()
}

pub(crate) fn close(task: i64) {
    waiting().remove(&task);
}

fn waiting() -> MutexGuard<'static, BTreeMap<i64, Lines>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

struct ToJava;

/// The data of a task's span.
struct TaskOfSpan(i64);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for ToJava {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let wanted = metadata.is_span() || *metadata.level() <= level();
        if wanted { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // The session's span has the level INFO. Without it, an event's task would not be known.
        Some(level().max(LevelFilter::INFO))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() == SPAN
            && let Some(span) = context.span(id)
        {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(TaskOfSpan(fields.task));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut scope = context.event_scope(event).into_iter().flatten();
        let Some(task) = scope.find_map(|span| span.extensions().get::<TaskOfSpan>().map(|task| task.0)) else {
            return;
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Some(lines) = waiting().get_mut(&task) {
            if lines.lines.len() == MAX_LINES {
                lines.lines.pop_front();
                lines.dropped += 1;
            }
            lines.lines.push_back(Line { level: *event.metadata().level(), message: fields.message });
        }
    }
}

fn level() -> LevelFilter {
    match LEVEL.load(Relaxed) {
        0 => LevelFilter::OFF,
        1 => LevelFilter::ERROR,
        2 => LevelFilter::WARN,
        3 => LevelFilter::INFO,
        4 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}

#[derive(Default)]
struct Fields {
    task: i64,
    message: String,
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "task" {
            self.task = value;
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Text from outside must not forge a line.
            for c in format!("{value:?}").chars() {
                if c.is_control() || is_invisible(c) || matches!(c, '\u{2028}' | '\u{2029}') {
                    self.message.extend(c.escape_default());
                } else {
                    self.message.push(c);
                }
            }
        }
    }
}
