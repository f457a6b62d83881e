//! Recorded feeds that number their messages, cut and reordered at random: exactly the removed messages are in the ledger. What is missing
//! is worked out by a second reading of the recording, which knows nothing of the connector.

#[path = "chaos/harness.rs"]
#[allow(dead_code, reason = "the other tests use more of it")]
mod harness;
#[path = "chaos/log_lines.rs"]
#[allow(dead_code, reason = "the other tests use more of it")]
mod log_lines;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::{Duration, SystemTime};

use connect_websocket_engine::feeds::Profile;
use connect_websocket_engine::figures::Counter;
use connect_websocket_testkit::recordings::{Message, folder, received};
use connect_websocket_testkit::{Play, Script, Server};
use serde_json::Value;

use harness::Feed;

const LEDGER: &str = "gaps";

/// A recording, and how its feed numbers its messages.
struct Recorded {
    recording: &'static str,
    /// Whose intake reads it.
    profile: &'static str,
    /// What is set beside.
    options: &'static [(&'static str, &'static str)],
    /// The same, in the words of a second reading.
    number: fn(&Value) -> Option<Numbered>,
    /// Each message names the one before, so the ledger has the numbers around a hole and no count.
    is_chain: bool,
}

/// The numbers of a message.
#[derive(Debug, Clone)]
struct Numbered {
    key: String,
    first: i64,
    last: i64,
}

const RECORDED: &[Recorded] = &[
    Recorded {
        recording: "BINANCE.ws.1.0",
        profile: "binance",
        options: &[
            ("websocket.sequence", "{{when(/data/U exists, /data/u)}}"),
            ("websocket.sequence.first", "{{/data/U}}"),
            ("websocket.sequence.key", "{{/stream}}"),
        ],
        number: binance,
        is_chain: false,
    },
    Recorded {
        recording: "BINANCE.ws.1.0",
        profile: "binance",
        options: &[
            ("websocket.sequence", "{{when(/data/U exists, /data/u)}}"),
            ("websocket.sequence.first", ""),
            ("websocket.sequence.previous", "{{add(/data/U, -1)}}"),
            ("websocket.sequence.key", "{{/stream}}"),
        ],
        number: binance,
        is_chain: true,
    },
    Recorded {
        recording: "KUCOIN.ws.1.0",
        profile: "kucoin",
        options: &[
            ("websocket.sequence", "{{/data/sequenceEnd}}"),
            ("websocket.sequence.first", "{{/data/sequenceStart}}"),
            ("websocket.sequence.key", "{{/topic}}"),
        ],
        number: kucoin,
        is_chain: false,
    },
    Recorded {
        recording: "OKX.ws.1.0",
        profile: "okx",
        options: &[
            ("websocket.sequence", "{{/tradeId}}"),
            ("websocket.sequence.key", "{{envelope(/arg/instId)}}"),
            // Acknowledgements are among what is replayed here.
            ("websocket.record.missing", "default"),
        ],
        number: okx,
        is_chain: false,
    },
];

fn binance(message: &Value) -> Option<Numbered> {
    let data = &message["data"];
    Some(Numbered { key: text(&message["stream"])?, first: data["U"].as_i64()?, last: data["u"].as_i64()? })
}

fn kucoin(message: &Value) -> Option<Numbered> {
    let data = &message["data"];
    let (first, last) = (data["sequenceStart"].as_i64()?, data["sequenceEnd"].as_i64()?);
    Some(Numbered { key: text(&message["topic"])?, first, last })
}

/// Those of the recording that are trades have one each.
fn okx(message: &Value) -> Option<Numbered> {
    let number = message["data"][0]["tradeId"].as_str()?.parse().ok()?;
    Some(Numbered { key: text(&message["arg"]["instId"])?, first: number, last: number })
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// What the ledger says of a hole: key, from, to and how many.
type Hole = (String, String, String, Option<u64>);

#[tokio::test]
async fn exactly_the_removed_messages_of_a_recorded_feed_are_in_the_ledger() {
    let Some(folder) = folder() else { return };
    let fresh = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos() as u64;
    let mut holes = 0;
    for seed in [1, 2, 3, fresh] {
        for recorded in RECORDED {
            println!("{} with seed {seed}", recorded.recording);
            holes += check(recorded, &folder, seed).await;
        }
    }
    assert!(holes > 100, "only {holes} holes were made");
}

/// Returns how many holes there were.
async fn check(recorded: &Recorded, folder: &Path, seed: u64) -> usize {
    let mut random = Random(seed);
    let cut = cut(recorded, received(folder, recorded.recording), &mut random);
    let sent = reordered(cut.kept, &mut random);

    let play = sent.iter().fold(Play::accept(), |play, message| play.step(message.step()));
    let server = Server::start(Script::every(play)).unwrap();
    let profile = Profile::named(recorded.profile).unwrap();
    // The profile's intake, without its session.
    let is_intake = |key: &str| ["websocket.record.", "websocket.frame."].iter().any(|own| key.starts_with(own));
    let profile = profile.options.iter().filter(|(key, _)| is_intake(key));
    let mut options: Vec<(&str, &str)> = profile.map(|(key, value)| (key.as_str(), value.as_str())).collect();
    options.extend(recorded.options);
    options.push(("websocket.gaps.topic", LEDGER));
    let mut feed = Feed::start(server.url(), &options);
    feed.until(|feed| feed.snapshot()[Counter::MessagesReceived] >= sent.len() as u64).await;
    feed.stop(Duration::from_secs(5)).await;

    let mut told = told(&feed);
    let mut expected = cut.holes;
    told.sort();
    expected.sort();
    let what = format!("{} with seed {seed}", recorded.recording);
    assert_eq!(told, expected, "{what}: in the ledger, and removed");
    let missed: u64 = expected.iter().filter_map(|hole| hole.3).sum();
    assert_eq!(feed.snapshot()[Counter::MessagesMissed], missed, "{what}");
    expected.len()
}

/// The holes that the ledger has; nothing else may be in it.
fn told(feed: &Feed) -> Vec<Hole> {
    let ledger = feed.records.iter().filter(|record| record.topic.as_deref() == Some(LEDGER));
    let hole = |gap: Value| {
        assert_eq!(gap["cause"], "sequence", "{gap}");
        let part = |name: &str| text(&gap[name]).unwrap_or_default();
        (part("key"), part("from"), part("to"), gap["missing"].as_u64())
    };
    ledger.map(|record| hole(serde_json::from_slice(&record.value).unwrap())).collect()
}

/// A recording without the messages that were removed.
struct Cut {
    /// With the key that they are numbered under.
    kept: Vec<(Option<String>, Message)>,
    holes: Vec<Hole>,
}

/// Of one numbering, while messages are removed.
#[derive(Default)]
struct Course {
    /// The number before the hole.
    last: Option<i64>,
    /// The first and the last number that were removed since.
    removed: Option<(i64, i64)>,
}

/// Removes one numbered message in twenty, now and then several in a row. What is missing before the first and after the last one of a key
/// nobody can know.
fn cut(recorded: &Recorded, messages: Vec<Message>, random: &mut Random) -> Cut {
    let mut courses: BTreeMap<String, Course> = BTreeMap::new();
    let mut cut = Cut { kept: Vec::new(), holes: Vec::new() };
    let mut in_a_row = 0;
    for message in messages {
        let read = serde_json::from_slice(message.bytes()).ok();
        let Some(numbered) = read.as_ref().and_then(recorded.number) else {
            cut.kept.push((None, message));
            continue;
        };
        if in_a_row == 0 && random.below(20) == 0 {
            in_a_row = 1 + random.below(4);
        }
        let Numbered { key, first, last } = numbered;
        let course = courses.entry(key.clone()).or_default();
        if in_a_row > 0 {
            in_a_row -= 1;
            course.removed = Some((course.removed.map_or(first, |(from, _)| from), last));
            continue;
        }
        let removed = course.removed.take();
        if let (Some(before), Some((from, to))) = (course.last.replace(last), removed) {
            let from = if recorded.is_chain { before } else { from };
            let missing = (!recorded.is_chain).then_some((to - from + 1) as u64);
            cut.holes.push((key.clone(), from.to_string(), to.to_string(), missing));
        }
        cut.kept.push((Some(key), message));
    }
    cut
}

/// The messages of each key in their order, and those of different keys in any.
fn reordered(messages: Vec<(Option<String>, Message)>, random: &mut Random) -> Vec<Message> {
    let count = messages.len();
    let mut queues: BTreeMap<Option<String>, VecDeque<Message>> = BTreeMap::new();
    for (key, message) in messages {
        queues.entry(key).or_default().push_back(message);
    }
    let mut queues: Vec<VecDeque<Message>> = queues.into_values().collect();
    let mut sent = Vec::with_capacity(count);
    while !queues.is_empty() {
        let at = random.below(queues.len() as u64) as usize;
        sent.extend(queues[at].pop_front());
        queues.retain(|queue| !queue.is_empty());
    }
    sent
}

/// The same numbers for the same seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}
