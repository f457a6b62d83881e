//! Options of the hand-over file, which keeps records over a restart.

use std::path::PathBuf;

use super::values::Values;
use crate::config_def::{ConfigKey, Default, Kind, Width};

/// The option for the hand-over directory.
pub const HANDOVER_DIR: &str = "websocket.handover.dir";
pub(super) const HANDOVER_MAX_BYTES: &str = "websocket.handover.max.bytes";

const BASE: ConfigKey = ConfigKey { group: "Restart", ..ConfigKey::BASE };

pub(super) const OPTIONS: &[ConfigKey] = &[
    ConfigKey {
        name: HANDOVER_DIR,
        width: Width::Long,
        display_name: "Hand-over directory",
        documentation: "The directory where a stopping task writes the messages that it could not give to Kafka. The next start on this machine \
                        sends them first. It is made with mode 0700. If others own it or can write to it, it is not used, and a warning says so. Not \
                        set: kafka-connect-websocket-<user id> in the system's temporary directory. Empty: off, and such messages are counted as \
                        lost.",
        ..BASE
    },
    ConfigKey {
        name: HANDOVER_MAX_BYTES,
        kind: Kind::Long,
        default: Default::Value("134217728"),
        width: Width::Short,
        display_name: "Hand-over bytes",
        documentation: "The largest hand-over file, in bytes. Messages that do not fit are counted as lost.",
        at_least: Some(1),
        ..BASE
    },
];

/// The settings of the hand-over file.
#[derive(Debug, Clone)]
pub struct Handover {
    pub directory: PathBuf,
    pub max_bytes: u64,
}

/// `None` is off.
pub(super) fn handover(values: &Values<'_>) -> Option<Handover> {
    let directory = directory(values.text(HANDOVER_DIR))?;
    let max_bytes = u64::try_from(values.number(HANDOVER_MAX_BYTES)).unwrap_or_default();
    Some(Handover { directory, max_bytes })
}

/// Returns the hand-over directory of the option's text. `None`: off.
pub(crate) fn directory(text: Option<&str>) -> Option<PathBuf> {
    match text.map(str::trim) {
        Some("") => None,
        Some(directory) => Some(PathBuf::from(directory)),
        // Each user has a directory, because only its owner can use it.
        None => {
            let own = format!("kafka-connect-websocket-{}", rustix::process::geteuid().as_raw());
            Some(std::env::temp_dir().join(own))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::tests::{errors, properties};
    use super::*;

    #[test]
    fn the_hand_over_directory_is_the_systems_temporary_one_unless_given_and_empty_is_off() {
        let handover = |pairs: &[_]| Config::parse(&properties(pairs)).unwrap().handover;
        let default = handover(&[]).unwrap();
        let own = format!("kafka-connect-websocket-{}", rustix::process::geteuid().as_raw());
        assert_eq!(default.directory, std::env::temp_dir().join(own));
        assert_eq!(default.max_bytes, 128 << 20);
        assert_eq!(handover(&[(HANDOVER_DIR, " /data/a b ")]).unwrap().directory, PathBuf::from("/data/a b"));
        assert!(handover(&[(HANDOVER_DIR, "")]).is_none());
        assert!(errors(&[(HANDOVER_MAX_BYTES, "0")])[0].contains(HANDOVER_MAX_BYTES));
    }
}
