//! Stored offsets of Connect, as `WebSocketSourceTask.java` writes them: rows of partition, name, text and number, of
//! which the last two exclude each other. The rows of a partition follow one another.

use connect_websocket_engine::config::Config;
use connect_websocket_engine::offset::{StoredOffset, partition};
use connect_websocket_engine::record::OffsetValue;
use connect_websocket_engine::secret::Secret;

/// Returns the partitions of stored offsets of this feed: its own, former ones, and those of its keys.
pub(crate) fn partitions(config: &Config) -> Vec<String> {
    let former = config.former_partitions.iter().map(|former| former.reveal().to_owned());
    let keyed = config.partition_keys().iter().map(|key| partition(&config.partition, Some(key)));
    [config.partition.clone()].into_iter().chain(former).chain(keyed).collect()
}

/// Returns the stored offset: the one with the larger sequence of the feed's partition and the former ones, and those
/// of keys.
pub(crate) fn stored(config: &Config, rows: &[Option<String>]) -> Option<StoredOffset> {
    let rows: Vec<[Option<&str>; 4]> =
        rows.as_chunks().0.iter().map(|row| row.each_ref().map(Option::as_deref)).collect();
    let of = |partition: &str| {
        let own = rows.iter().filter(|row| row[0] == Some(partition)).filter_map(|&[_, name, text, number]| {
            let number = number.and_then(|number| number.parse().ok()).map(OffsetValue::Number);
            Some((name?, text.map(OffsetValue::Text).or(number)?))
        });
        own.collect::<Vec<_>>().into_iter()
    };
    let bases = [config.partition.as_str()].into_iter().chain(config.former_partitions.iter().map(Secret::reveal));
    let base = bases.filter_map(|base| StoredOffset::add(None, None, of(base))).max_by_key(|stored| stored.sequence);
    config
        .partition_keys()
        .iter()
        .fold(base, |found, key| StoredOffset::add(found, Some(key), of(&partition(&config.partition, Some(key)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &[(&str, &str)]) -> Config {
        let base = [("websocket.url", "wss://user:secret@host/"), ("kafka.topic", "t")];
        Config::parse(&base.iter().chain(more).map(|(k, v)| (k.to_string(), v.to_string())).collect()).unwrap()
    }

    fn rows(rows: &[[&str; 4]]) -> Vec<Option<String>> {
        let text = |text: &&str| (!text.is_empty()).then(|| (*text).to_owned());
        rows.iter().flatten().map(text).collect()
    }

    #[test]
    fn the_offset_that_is_further_counts_whatever_partition_it_is_under() {
        let config = config(&[]);
        let partitions = partitions(&config);
        assert_eq!(partitions.len(), 2, "the URL without secrets, and as it was configured");
        let row = |at: usize, sequence| [partitions[at].as_str(), "sequence", "", sequence];
        let found =
            stored(&config, &rows(&[row(0, "5"), row(1, "7"), [&partitions[1], "session_id", "s", ""]])).unwrap();
        assert_eq!((found.sequence, found.session_id.as_deref()), (7, Some("s")));
        assert_eq!(stored(&config, &rows(&[[&partitions[0], "session_id", "s", ""]])), None, "no sequence");
    }

    #[test]
    fn keys_have_positions_of_their_own() {
        let keyed = [
            ("websocket.subscription.topics", "a,b"),
            ("websocket.cursor", "{{/n}}"),
            ("websocket.cursor.key", "{{/k}}"),
        ];
        let config = config(&keyed);
        let partitions = partitions(&config);
        let of_a = &partitions[2];
        assert!(of_a.ends_with("#a"), "{of_a}");
        let found = stored(&config, &rows(&[[of_a, "sequence", "", "9"], [of_a, "cursor", "c", ""]])).unwrap();
        assert_eq!((found.sequence, found.keyed["a"].cursor.as_deref()), (9, Some("c")));
    }
}
