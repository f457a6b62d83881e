//! Log levels by logger, which can be changed while running. The names are Java's, because people and tools use those.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::SystemTime;

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;

use crate::entities::LoggerLevel;

const ROOT: &str = "root";
/// A client can set levels for any name. These limits bound the memory for that.
const MAX_NAME_BYTES: usize = 1024;
const MAX_LOGGERS: usize = 256;
const MAX_LEVEL_SHOWN: usize = 32;

/// The loggers, and the Rust targets whose events they get. The first match is used.
const LOGGERS: [(&str, &str); 4] = [
    ("io.conduktor.connect.websocket", "connect_websocket_engine"),
    ("org.apache.kafka.connect", "connect_websocket"),
    ("org.apache.kafka.clients", "librdkafka"),
    (ROOT, ""),
];

/// The levels of all loggers. A level of a name is also that of all names below it.
#[derive(Debug)]
pub struct Levels {
    set: RwLock<BTreeMap<String, LoggerLevel>>,
    /// The levels in the order of [`LOGGERS`], read for every event.
    in_force: [AtomicU8; LOGGERS.len()],
}

impl Default for Levels {
    fn default() -> Self {
        let levels =
            LOGGERS.map(|(name, _)| (name.to_owned(), LoggerLevel { level: "INFO".to_owned(), last_modified: None }));
        Levels { set: RwLock::new(BTreeMap::from(levels)), in_force: LOGGERS.map(|_| AtomicU8::new(rank(Level::INFO))) }
    }
}

impl Levels {
    pub fn all(&self) -> BTreeMap<String, LoggerLevel> {
        self.read().clone()
    }

    pub fn get(&self, logger: &str) -> Option<LoggerLevel> {
        self.read().get(logger).cloned()
    }

    /// Sets the level of a logger and of those below it. Returns the ones that had another level, as Connect does.
    ///
    /// # Errors
    /// Connect's sentence for an unknown level, or a sentence for a name that is too long or one too many.
    pub fn set(&self, logger: &str, level: &str) -> Result<Vec<String>, String> {
        let level = level.to_ascii_uppercase();
        if filter(&level).is_none() {
            let shown: String = level.chars().take(MAX_LEVEL_SHOWN).collect();
            return Err(format!("invalid log level '{shown}'."));
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let changed = LoggerLevel { level, last_modified: Some(u64::try_from(now).unwrap_or(u64::MAX)) };
        let affected = {
            let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
            if !set.contains_key(logger) && (logger.len() > MAX_NAME_BYTES || set.len() >= MAX_LOGGERS) {
                return Err(format!(
                    "a logger's name has at most {MAX_NAME_BYTES} bytes, and at most {MAX_LOGGERS} loggers have a level"
                ));
            }
            let differs = |name: &String| set.get(name).is_none_or(|present| present.level != changed.level);
            let below = set.keys().filter(|name| is_below(name, logger)).cloned();
            let mut affected: Vec<String> = below.filter(differs).collect();
            if !set.contains_key(logger) {
                affected.push(logger.to_owned());
                affected.sort();
            }
            for name in &affected {
                set.insert(name.clone(), changed.clone());
            }
            for ((name, _), in_force) in LOGGERS.iter().zip(&self.in_force) {
                let filter = set.get(*name).and_then(|level| filter(&level.level)).unwrap_or(LevelFilter::INFO);
                in_force.store(filter.into_level().map_or(0, rank), Ordering::Relaxed);
            }
            affected
        };
        tracing::callsite::rebuild_interest_cache();
        Ok(affected)
    }

    pub(super) fn allows(&self, target: &str, level: Level) -> bool {
        rank(level) <= self.in_force[index_of(target)].load(Ordering::Relaxed)
    }

    pub(super) fn most_verbose(&self) -> LevelFilter {
        let rank = self.in_force.iter().map(|rank| rank.load(Ordering::Relaxed)).max();
        [
            LevelFilter::OFF,
            LevelFilter::ERROR,
            LevelFilter::WARN,
            LevelFilter::INFO,
            LevelFilter::DEBUG,
            LevelFilter::TRACE,
        ][usize::from(rank.unwrap_or_default()).min(5)]
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, LoggerLevel>> {
        self.set.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the logger of a Rust target, as log lines show it.
pub(super) fn logger_of(target: &str) -> &str {
    match LOGGERS[index_of(target)].0 {
        ROOT => target,
        logger => logger,
    }
}

fn index_of(target: &str) -> usize {
    LOGGERS.iter().position(|(_, prefix)| target.starts_with(prefix)).unwrap_or(LOGGERS.len() - 1)
}

fn is_below(name: &str, logger: &str) -> bool {
    logger == ROOT || name.strip_prefix(logger).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The levels of log4j2.
fn filter(level: &str) -> Option<LevelFilter> {
    Some(match level {
        // There is no level above ERROR here.
        "OFF" | "FATAL" => LevelFilter::OFF,
        "ERROR" => LevelFilter::ERROR,
        "WARN" => LevelFilter::WARN,
        "INFO" => LevelFilter::INFO,
        "DEBUG" => LevelFilter::DEBUG,
        "TRACE" | "ALL" => LevelFilter::TRACE,
        _ => return None,
    })
}

fn rank(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_holds_for_all_below() {
        let levels = Levels::default();
        assert_eq!(levels.set("io.conduktor", "debug").unwrap(), ["io.conduktor", "io.conduktor.connect.websocket"]);
        assert!(levels.allows("connect_websocket_engine::session", Level::DEBUG));
        assert!(!levels.allows("connect_websocket::herder", Level::DEBUG));
        assert_eq!(levels.get("io.conduktor").unwrap().level, "DEBUG");
        assert!(levels.get("io.conduktor").unwrap().last_modified.is_some());
        assert_eq!(levels.get("org.apache.kafka.clients").unwrap().last_modified, None);
    }

    #[test]
    fn root_is_above_all_and_off_is_silence() {
        let levels = Levels::default();
        assert_eq!(levels.set("root", "OFF").unwrap().len(), LOGGERS.len());
        assert!(!levels.allows("librdkafka", Level::ERROR) && !levels.allows("hyper", Level::ERROR));
        assert_eq!(levels.most_verbose(), LevelFilter::OFF);
        levels.set("org.apache.kafka.clients", "TRACE").unwrap();
        assert!(levels.allows("librdkafka", Level::TRACE));
    }

    #[test]
    fn what_has_the_level_already_is_not_affected() {
        let levels = Levels::default();
        let of = |name: &str| levels.get(name).unwrap().last_modified;
        levels.set("org.apache.kafka.clients", "WARN").unwrap();
        let first = of("org.apache.kafka.clients");
        assert!(levels.set("org.apache.kafka.clients", "warn").unwrap().is_empty());
        assert!(!levels.set("root", "WARN").unwrap().contains(&"org.apache.kafka.clients".to_owned()));
        assert_eq!(of("org.apache.kafka.clients"), first);
    }

    #[test]
    fn names_are_bounded_in_length_and_number() {
        let levels = Levels::default();
        assert!(levels.set(&"n".repeat(MAX_NAME_BYTES + 1), "WARN").unwrap_err().contains("1024 bytes"));
        for number in 0..MAX_LOGGERS {
            let _ = levels.set(&format!("n{number}"), "WARN");
        }
        assert!(levels.set("one.more", "WARN").is_err());
        assert!(levels.set("root", "WARN").is_ok());
        assert_eq!(levels.all().len(), MAX_LOGGERS);
    }

    #[test]
    fn an_unknown_level_is_refused() {
        assert_eq!(Levels::default().set("root", "loud").unwrap_err(), "invalid log level 'LOUD'.");
    }

    #[test]
    fn targets_have_javas_names() {
        assert_eq!(logger_of("connect_websocket_engine::session"), "io.conduktor.connect.websocket");
        assert_eq!(logger_of("connect_websocket::rest::server"), "org.apache.kafka.connect");
        assert_eq!(logger_of("librdkafka"), "org.apache.kafka.clients");
        assert_eq!(logger_of("hyper::proto"), "hyper::proto");
    }
}
