//! The options of the connector, found by name.

use std::collections::HashMap;

use crate::config_def::ConfigKey;
use crate::nearest::nearest;

/// Options and families of options. In a family's name, the user chooses the part in angle brackets.
pub(super) struct Table {
    options: &'static [ConfigKey],
    by_name: HashMap<&'static str, &'static ConfigKey>,
    families: Vec<&'static ConfigKey>,
}

impl Table {
    pub(super) fn new(options: &'static [ConfigKey], families: &[&'static [ConfigKey]]) -> Table {
        let by_name = options.iter().map(|key| (key.name, key)).collect();
        Table { options, by_name, families: families.iter().copied().flatten().collect() }
    }

    /// Returns the options without the families, in their order.
    pub(super) fn options(&self) -> impl Iterator<Item = &'static ConfigKey> + use<> {
        self.options.iter()
    }

    pub(super) fn find(&self, name: &str) -> Option<&'static ConfigKey> {
        self.by_name.get(name).copied().or_else(|| self.family(name))
    }

    /// Returns whether the name has the prefix of a family.
    pub(super) fn is_of_a_family(&self, name: &str) -> bool {
        self.families.iter().filter_map(|row| row.name.split_once('<')).any(|(before, _)| name.starts_with(before))
    }

    /// Returns the row of the family that this name belongs to.
    fn family(&self, name: &str) -> Option<&'static ConfigKey> {
        self.families.iter().copied().find(|row| {
            let (before, rest) = row.name.split_once('<').unwrap_or((row.name, ">"));
            let after = rest.split_once('>').map_or("", |(_, after)| after);
            let chosen = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            // The name of a step has no dot. The name of a variable can have one.
            chosen.is_some_and(|chosen| !chosen.is_empty() && (after.is_empty() || !chosen.contains('.')))
        })
    }

    /// Returns the sentence for a name with the prefix of a family that is not an option.
    pub(super) fn unknown(&self, name: &str) -> String {
        let rest_of = |row: &&'static ConfigKey| {
            let (before, rest) = row.name.split_once('<')?;
            rest.split_once(">.").filter(|_| name.starts_with(before))
        };
        let keys: Vec<(&str, &str)> = self.families.iter().filter_map(rest_of).collect();
        let Some((chosen, _)) = keys.first() else { return format!("{name} is not an option of this connector") };
        let keys: Vec<&str> = keys.iter().map(|(_, key)| *key).collect();
        // The name of a step has no dot.
        let (before, key) = name.match_indices('.').nth(2).map_or(("", ""), |(at, _)| name.split_at(at + 1));
        match nearest(key, keys.iter().copied()) {
            Some(near) => format!("{name} is not an option of this connector; did you mean {before}{near}?"),
            None => format!("{name} is not an option of this connector; a {chosen} has {}", keys.join(", ")),
        }
    }
}
