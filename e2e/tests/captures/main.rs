//! Recorded traffic of real feeds, replayed into Kafka: byte for byte here, through the feeds' profiles in `profiles.rs`. The recordings
//! are no part of the project: without them there is nothing to do. `CAPTURES` names their folder, whose README says what they are.

mod profiles;
mod recordings;

use std::time::Duration;

use connect_websocket_e2e::{Consumer, Kafka, Worker, source_config};
use connect_websocket_testkit::recordings::{Message, folder};
use connect_websocket_testkit::{Deflate, Play, Script, Server};

use recordings::recordings;

const WITHIN: Duration = Duration::from_secs(60);
const BYTE_ARRAY: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";
const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";

#[test]
fn recorded_feeds_arrive_byte_for_byte_plain_and_compressed() {
    let Some(folder) = folder() else { return };
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    let worker = Worker::builder(&kafka.bootstrap()).start();

    let mut running = Vec::new();
    for (name, messages) in recordings(&folder) {
        let binary = messages.iter().all(|message| matches!(message, Message::Binary(_)));
        for (way, play) in [("plain", Play::accept()), ("deflate", Play::accept_deflate(Deflate::default()))] {
            let play = messages.iter().fold(play, |play, message| play.step(message.step()));
            let feed = Server::start(Script::every(play)).unwrap_or_else(|e| panic!("no feed: {e}"));
            let topic = format!("{name}-{way}");
            let converter =
                [("value.converter", if binary { BYTE_ARRAY } else { STRING }), ("websocket.frame.binary", "bytes")];
            worker.put_connector(&topic, &source_config(feed.url(), &topic, &converter));
            running.push((topic, feed, messages.clone()));
        }
    }
    for (topic, feed, messages) in &running {
        let records = consumer.read_until(topic, messages.len(), WITHIN);
        for (i, (record, message)) in records.iter().zip(messages).enumerate() {
            assert!(record.value.as_deref() == Some(message.bytes()), "message {i} of {topic} is another one");
        }
        assert_eq!(consumer.count(topic), messages.len() as u64, "{topic}");
        assert_eq!(feed.stats().connections.len(), 1, "{topic} was interrupted");
        let agreed = feed.stats().connections[0].extensions.is_some();
        assert_eq!(agreed, topic.ends_with("deflate"), "{topic}");
    }
}
