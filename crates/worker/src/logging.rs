//! The worker's log: one line per event on standard output, in the format of Kafka Connect's log.
//!
//! `[2026-11-24 11:00:00,123] INFO [my-connector|task-0] event=websocket_opened … (io.conduktor.connect.websocket)`
//!
//! Times are UTC. The prefix comes from the fields `connector` and `task` of the event or of a span around it.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::SystemTime;

use connect_websocket_engine::redact::{is_invisible, printable};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

mod levels;

pub use levels::Levels;

/// Writes all events of the process to standard output.
///
/// # Errors
/// Logging was started before.
pub fn start() -> Result<Arc<Levels>, String> {
    let levels = Arc::new(Levels::default());
    let lines = Lines { levels: Arc::clone(&levels) };
    tracing_subscriber::registry().with(lines).try_init().map_err(|error| error.to_string())?;
    Ok(levels)
}

struct Lines {
    levels: Arc<Levels>,
}

/// The connector and task of a span.
#[derive(Default)]
struct Place {
    connector: Option<String>,
    task: Option<String>,
}

impl<S> Layer<S> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // Levels change while running.
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        // Spans have the prefix of their events, so they are always on.
        metadata.is_span() || self.levels.allows(metadata.target(), *metadata.level())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.levels.most_verbose().max(LevelFilter::INFO))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields.place);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        // Events of the `log` crate, librdkafka's among them, name their target in a field.
        let target = fields.log_target.as_deref().unwrap_or(event.metadata().target());
        if fields.log_target.is_some() && !self.levels.allows(target, *event.metadata().level()) {
            return;
        }
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(place) = span.extensions().get::<Place>() {
                fields.place.connector = fields.place.connector.take().or_else(|| place.connector.clone());
                fields.place.task = fields.place.task.take().or_else(|| place.task.clone());
            }
        }
        let line = fields.line(SystemTime::now(), *event.metadata().level(), levels::logger_of(target));
        // If nobody reads the log, the worker continues.
        let _ = io::stdout().lock().write_all(line.as_bytes());
    }
}

#[derive(Default)]
struct Fields {
    place: Place,
    message: String,
    others: String,
    log_target: Option<String>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "connector" => self.place.connector = Some(format!("{value:?}")),
            "task" => self.place.task = Some(format!("{value:?}")),
            "log.target" => self.log_target = Some(format!("{value:?}")),
            name if name.starts_with("log.") => {}
            name => {
                let _ = write!(self.others, " {name}={value:?}");
            }
        }
    }
}

impl Fields {
    fn line(&self, now: SystemTime, level: tracing::Level, logger: &str) -> String {
        let mut line = format!("[{}] {level} ", Timestamp(now));
        if let Some(connector) = &self.place.connector {
            let task = self.place.task.as_deref().map_or("worker".to_owned(), |task| format!("task-{task}"));
            // A client of the REST API can choose any name.
            let connector = printable(connector).replace(['[', ']', '|'], "_");
            push_on_one_line(&mut line, &format!("[{connector}|{task}] "));
        }
        push_on_one_line(&mut line, &self.message);
        push_on_one_line(&mut line, &self.others);
        let _ = writeln!(line, " ({logger})");
        line
    }
}

/// Replaces characters from outside that could forge a line or control a terminal.
fn push_on_one_line(line: &mut String, text: &str) {
    for c in text.chars() {
        if c != '\t' && (c.is_control() || is_invisible(c) || matches!(c, '\u{2028}' | '\u{2029}')) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
}

/// Returns the time in UTC, such as `2026-11-24 11:00:00,123`.
struct Timestamp(SystemTime);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let seconds = since.as_secs();
        let (year, month, day) = civil_from_days(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let millis = since.subsec_millis();
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02},{millis:03}")
    }
}

/// Returns the date of a day since 1970-01-01. It counts in eras of 400 years that begin on 1 March.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shown(millis: u64) -> String {
        Timestamp(SystemTime::UNIX_EPOCH + Duration::from_millis(millis)).to_string()
    }

    #[test]
    fn times_are_civil_utc() {
        assert_eq!(shown(0), "1970-01-01 00:00:00,000");
        assert_eq!(shown(951_827_696_789), "2000-02-29 12:34:56,789");
        assert_eq!(shown(1_795_520_399_001), "2026-11-24 11:39:59,001");
        assert_eq!(shown(4_107_542_399_999), "2100-02-28 23:59:59,999");
        assert_eq!(shown(4_107_542_400_000), "2100-03-01 00:00:00,000");
    }

    #[test]
    fn what_came_from_outside_forges_nothing() {
        let fields = Fields {
            place: Place { connector: Some("c|task-0] event=task_failed\n\u{202e}".into()), task: None },
            message: "a\u{2028}[1970-01-01 00:00:00,000] ERROR\u{202e}b\u{200b}".into(),
            ..Fields::default()
        };
        assert_eq!(
            fields.line(SystemTime::UNIX_EPOCH, tracing::Level::INFO, "root"),
            "[1970-01-01 00:00:00,000] INFO [c_task-0_ event:task_failed|worker] \
             a\\u{2028}[1970-01-01 00:00:00,000] ERROR\\u{202e}b\\u{200b} (root)\n"
        );
    }

    #[test]
    fn a_line_has_time_level_place_message_and_logger() {
        let fields = Fields {
            place: Place { connector: Some("c".into()), task: Some("0".into()) },
            message: "event=x a\nb\u{1b}[31m".into(),
            others: " n=1".into(),
            log_target: None,
        };
        assert_eq!(
            fields.line(SystemTime::UNIX_EPOCH, tracing::Level::INFO, "root"),
            "[1970-01-01 00:00:00,000] INFO [c|task-0] event=x a\\nb\\u{1b}[31m n=1 (root)\n"
        );
    }
}
