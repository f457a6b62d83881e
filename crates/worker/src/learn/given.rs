//! The options that are configured already. A finding does not repeat them, and never replaces them.

use connect_websocket_engine::config_def::Properties;

use super::{About, Certainty, Finding, Line};

const FILTER: &str = "websocket.record.filter";
const TIMESTAMP: &str = "websocket.record.timestamp";
const UNIT: &str = "websocket.record.timestamp.unit";
const MISSING: &str = "websocket.record.missing";

/// The options that the user or the feed's profile has set.
#[derive(Debug, Default)]
pub(super) struct Given(pub(super) Properties);

impl Given {
    fn value(&self, option: &str) -> Option<&str> {
        self.0.get(option).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// Whether messages are unpacked already.
    pub(super) fn unpacks(&self) -> bool {
        self.value("websocket.frame.decode").is_some()
    }

    /// Whether messages are split already.
    pub(super) fn splits(&self) -> bool {
        self.value("websocket.frame.split").is_some()
    }

    /// Whether a record differs from its message.
    pub(super) fn picks(&self) -> bool {
        ["websocket.record.pointer", "websocket.record.decode"].iter().any(|option| self.value(option).is_some())
    }

    /// Returns the finding, compared with the given options.
    pub(super) fn beside(&self, mut finding: Finding) -> Finding {
        if finding.lines.is_empty() {
            return finding;
        }
        let has = |option: &str, finding: &Finding| finding.lines.iter().any(|line| line.key == option);
        // A default is not suggested.
        if has(TIMESTAMP, &finding) && !has(UNIT, &finding) && self.value(UNIT).is_some() {
            finding.lines.push(Line { key: UNIT, value: "ms".to_owned() });
        }
        finding.lines.retain(|line| match self.value(line.key) {
            Some(value) => value != line.value && line.key != MISSING,
            None => true,
        });
        if finding.lines.is_empty() {
            finding.says.push_str(" The configuration says so already.");
            return finding;
        }
        if let (About::Control, Some(filter)) = (finding.about, self.value(FILTER)) {
            for line in finding.lines.iter_mut().filter(|line| line.key == FILTER) {
                line.value = format!("({filter}) && {}", line.value);
            }
            return finding;
        }
        let other: Vec<&str> =
            finding.lines.iter().map(|line| line.key).filter(|key| self.value(key).is_some()).collect();
        if other.is_empty() {
            return finding;
        }
        let why = format!("the configuration has another value of {}", other.join(", "));
        Finding { certainty: Certainty::Possible, ..finding.also_check(&why) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside(given: &[(&str, &str)], finding: Finding) -> (Vec<String>, Finding) {
        let given = given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let finding = Given(given).beside(finding);
        (finding.lines.iter().map(|line| format!("{}={}", line.key, line.value)).collect(), finding)
    }

    fn found(about: About, lines: &[(&'static str, &str)]) -> Finding {
        lines
            .iter()
            .fold(Finding::new(about, Certainty::Certain, "It is."), |finding, (key, value)| finding.line(key, *value))
    }

    #[test]
    fn what_is_set_is_not_said_twice() {
        let key = found(About::Key, &[("websocket.record.key", "{{/s}}")]);
        let (lines, finding) = beside(&[("websocket.record.key", "{{/s}}")], key);
        assert!(lines.is_empty(), "{lines:?}");
        assert_eq!(finding.says, "It is. The configuration says so already.");
        let time = found(About::Timestamp, &[(TIMESTAMP, "{{/t}}"), (MISSING, "default")]);
        assert_eq!(beside(&[(MISSING, "skip")], time).0, ["websocket.record.timestamp={{/t}}"], "the user has chosen");
    }

    #[test]
    fn what_differs_is_a_comment_and_says_so() {
        let key = found(About::Key, &[("websocket.record.key", "{{/s}}")]);
        let (lines, finding) = beside(&[("websocket.record.key", "{{/x}}")], key);
        assert_eq!((lines.len(), finding.certainty), (1, Certainty::Possible));
        let caveat = finding.caveat.unwrap();
        assert!(caveat.contains("another value of websocket.record.key") && !caveat.contains("/x"), "{caveat}");
    }

    #[test]
    fn a_filter_goes_on_from_the_one_that_is_set() {
        let control = found(About::Control, &[(FILTER, "/s exists")]);
        let (lines, finding) = beside(&[(FILTER, "/a == 1 || /b == 2")], control);
        assert_eq!(lines, ["websocket.record.filter=(/a == 1 || /b == 2) && /s exists"]);
        assert_eq!(finding.certainty, Certainty::Certain);
    }

    #[test]
    fn a_unit_that_is_set_is_put_right() {
        let time = found(About::Timestamp, &[(TIMESTAMP, "{{/t}}")]);
        let (lines, finding) = beside(&[(UNIT, "us")], time);
        assert_eq!(lines, ["websocket.record.timestamp={{/t}}", "websocket.record.timestamp.unit=ms"]);
        assert_eq!(finding.certainty, Certainty::Possible);
    }
}
