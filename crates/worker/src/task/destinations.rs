//! The topics of a task's records: which ones exist, and for which ones Kafka has acknowledged a record.

use std::collections::{BTreeMap, BTreeSet};

use connect_websocket_engine::record::Batch;

use crate::kafka::topic_creation::{NewTopic, TopicCreation};

/// The topics of a task: the configured one, and those of records. `websocket.topics.max` limits their number.
pub(super) struct Destinations {
    configured: String,
    /// The rules for new topics. Without rules, the broker creates topics or refuses.
    creation: Option<TopicCreation>,
    /// Topics that exist.
    known: BTreeSet<String>,
    /// Topics for which Kafka has acknowledged a record.
    active: BTreeSet<String>,
    configured_is_active: bool,
    /// Records in flight whose topic has no acknowledged record yet, by sequence.
    awaited: BTreeMap<i64, String>,
}

impl Destinations {
    /// The configured topic was created or checked before the start.
    pub(super) fn new(configured: String, creation: Option<TopicCreation>) -> Destinations {
        Destinations {
            known: BTreeSet::from([configured.clone()]),
            configured,
            creation,
            active: BTreeSet::new(),
            configured_is_active: false,
            awaited: BTreeMap::new(),
        }
    }

    pub(super) fn configured(&self) -> &str {
        &self.configured
    }

    /// Whether a record with this topic may be sent. If not, the topic has to be created first.
    pub(super) fn is_ready(&self, own: Option<&str>) -> bool {
        own.is_none_or(|topic| self.creation.is_none() || self.known.contains(topic))
    }

    /// Returns the topics to create for this batch's records, each once.
    pub(super) fn missing(&self, batch: &Batch) -> Vec<NewTopic> {
        let Some(creation) = &self.creation else { return Vec::new() };
        let topics: BTreeSet<&str> = batch.iter().filter_map(|record| record.topic()).collect();
        topics.into_iter().filter(|topic| !self.known.contains(*topic)).map(|topic| creation.rule_for(topic)).collect()
    }

    pub(super) fn created(&mut self, topics: Vec<NewTopic>) {
        self.known.extend(topics.into_iter().map(|topic| topic.name));
    }

    /// Notes that the producer has taken a record with its own topic.
    pub(super) fn sent(&mut self, own: Option<&str>, sequence: i64) {
        let is_active = match own {
            None => self.configured_is_active,
            Some(topic) => self.active.contains(topic),
        };
        if !is_active {
            self.awaited.insert(sequence, own.unwrap_or(&self.configured).to_owned());
        }
    }

    /// Takes acknowledged records. Returns the topics for which they are the first.
    pub(super) fn delivered(&mut self, first: i64, last: i64) -> Vec<String> {
        if self.awaited.is_empty() {
            return Vec::new();
        }
        let mut new: Vec<String> = self.awaited.range(first..=last).map(|(_, topic)| topic.clone()).collect();
        new.retain(|topic| self.active.insert(topic.clone()));
        self.configured_is_active = self.active.contains(&self.configured);
        self.awaited.retain(|_, topic| !self.active.contains(topic));
        new
    }

    /// Forgets records up to this one: they are no longer in flight. A refused record does not make its topic active.
    pub(super) fn settled(&mut self, sequence: i64) {
        if self.awaited.first_key_value().is_some_and(|(first, _)| *first <= sequence) {
            self.awaited = self.awaited.split_off(&sequence.saturating_add(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use connect_websocket_engine::config_def::Properties;
    use connect_websocket_engine::record::{Part, ValueKind};

    use super::*;

    fn creation() -> Option<TopicCreation> {
        let mut config = Properties::new();
        for (name, value) in [("partitions", "3"), ("replication.factor", "1")] {
            config.insert(format!("topic.creation.default.{name}"), value.into());
        }
        TopicCreation::from_config(&config).unwrap()
    }

    fn batch(topics: &[Option<&str>]) -> Batch {
        let mut batch = Batch::default();
        for topic in topics {
            let mut record = batch.add(0);
            topic.iter().for_each(|topic| record.part(Part::Topic(topic)));
            record.value(ValueKind::Text, b"");
        }
        batch
    }

    #[test]
    fn topic_of_a_record_is_created_once_before_the_record_is_sent() {
        let mut destinations = Destinations::new("all".into(), creation());
        let batch = batch(&[None, Some("b"), Some("a"), Some("b"), Some("all")]);
        assert!(destinations.is_ready(None) && destinations.is_ready(Some("all")));
        assert!(!destinations.is_ready(Some("a")));
        let missing = destinations.missing(&batch);
        assert_eq!(
            missing.iter().map(|topic| (topic.name.as_str(), topic.partitions)).collect::<Vec<_>>(),
            [("a", 3), ("b", 3)]
        );
        destinations.created(missing);
        assert!(destinations.is_ready(Some("a")) && destinations.is_ready(Some("b")));
        assert!(destinations.missing(&batch).is_empty());
    }

    #[test]
    fn without_rules_topics_are_left_to_the_broker() {
        let destinations = Destinations::new("all".into(), None);
        assert!(destinations.is_ready(Some("a")));
        assert!(destinations.missing(&batch(&[Some("a")])).is_empty());
    }

    #[test]
    fn topic_is_active_when_kafka_has_a_record_of_it() {
        let mut destinations = Destinations::new("all".into(), None);
        for (sequence, own) in [(1, None), (2, Some("a")), (3, Some("a")), (4, Some("b")), (5, None), (6, Some("c"))] {
            destinations.sent(own, sequence);
        }
        assert_eq!(destinations.delivered(2, 3), ["a"]);
        assert_eq!(destinations.delivered(5, 5), ["all"]);
        destinations.settled(4);
        assert!(destinations.delivered(4, 4).is_empty(), "b was refused");
        destinations.sent(Some("a"), 7);
        destinations.sent(None, 8);
        assert_eq!(destinations.delivered(6, 8), ["c"]);
        assert!(destinations.awaited.is_empty());
        destinations.sent(Some("b"), 9);
        assert_eq!(destinations.delivered(9, 9), ["b"]);
    }
}
