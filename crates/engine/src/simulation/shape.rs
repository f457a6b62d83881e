//! What a feed is like, and the configuration for it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::config::Config;
use crate::config_def::Properties;
use crate::mutation::Random;

/// So many shapes there are; a configuration is made once for each.
const SHAPES: usize = 512;
/// How far the cursor of a rewound feed goes back.
const REWIND: u64 = 3;
pub(super) const KEYS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cursor {
    None,
    Exclusive,
    Inclusive,
    /// It goes back further than the cursor, and what comes again is dropped by its key.
    Rewound,
}

/// What a feed does when it no longer has what comes behind a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It refuses the handshake.
    Status,
    /// It says so in a message, and goes on with what is new.
    Message,
    /// It begins with what it has, and says nothing.
    Clamps,
}

#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) cursor: Cursor,
    /// Each key has a subscription and a cursor of its own.
    pub(super) keyed: bool,
    /// A message may hold several records.
    pub(super) split: bool,
    /// Each key's messages are numbered.
    pub(super) numbered: bool,
    /// The numbers begin anew with each connection.
    pub(super) per_connection: bool,
    /// Messages without records, which have a number and a cursor.
    pub(super) heartbeats: bool,
    /// Some records are filtered.
    pub(super) filter: bool,
    /// Messages may come twice.
    pub(super) doubles: bool,
    pub(super) refusal: Refusal,
    pub(super) continues_when_lost: bool,
    pub(super) small_queue: bool,
    pub(super) max_age: bool,
    linger_ms: u64,
}

impl Shape {
    fn of(number: usize) -> Shape {
        let mut random = Random::seeded(number as u64);
        let cursors =
            [Cursor::None, Cursor::Exclusive, Cursor::Exclusive, Cursor::Inclusive, Cursor::Inclusive, Cursor::Rewound];
        let cursor = cursors[random.below(cursors.len())];
        let keyed = cursor != Cursor::None && random.percent(40);
        let refusal = match random.below(3) {
            // A feed that silently leaves something out is found out by the record that has to come again alone.
            0 if cursor == Cursor::Inclusive => Refusal::Clamps,
            1 if !keyed => Refusal::Status,
            _ => Refusal::Message,
        };
        let numbered = random.percent(60);
        Shape {
            cursor,
            keyed,
            split: random.percent(40),
            numbered,
            per_connection: numbered && cursor == Cursor::None && random.percent(30),
            // A cursor of a message that does not come again, and a number that does, say something else to a feed that repeats.
            heartbeats: matches!(cursor, Cursor::None | Cursor::Exclusive) && random.percent(40),
            filter: random.percent(30),
            doubles: random.percent(20),
            refusal,
            continues_when_lost: refusal == Refusal::Message && random.percent(40),
            small_queue: random.percent(40),
            max_age: cursor != Cursor::None && random.percent(10),
            linger_ms: [0, 7, 50][random.below(3)],
        }
    }

    pub(super) fn keys(&self) -> usize {
        if self.keyed { KEYS.len() } else { 2 }
    }

    pub(super) fn resumes(&self) -> bool {
        self.cursor != Cursor::None
    }

    fn properties(&self) -> Properties {
        let mut properties = Properties::new();
        let mut set = |name: &str, value: &str| drop(properties.insert(name.to_owned(), value.to_owned()));
        set("name", "simulation");
        set("kafka.topic", "messages");
        set("websocket.gaps.topic", "gaps");
        set("websocket.handover.dir", "");
        set("websocket.reconnect.interval.ms", "500");
        set("websocket.reconnect.backoff.max.ms", "5000");
        set("websocket.reconnect.first.delay.ms", "100");
        set("websocket.ping.interval.ms", "2000");
        set("websocket.pong.timeout.ms", "3000");
        set("websocket.idle.timeout.ms", "20000");
        set("websocket.receive.linger.ms", &self.linger_ms.to_string());
        let asks = self.resumes() && !self.keyed;
        set("websocket.url", if asks { "ws://feed.test/?cursor={{cursor}}" } else { "ws://feed.test/" });
        let mut steps = "connect".to_owned();
        if self.keyed {
            set("websocket.subscription.topics", &KEYS.join(","));
            set("websocket.subscription.message", "{{topic}} from {{cursor ?? null}}");
            set("websocket.cursor.key", "{{/k}}");
            steps += ",subscribe";
        }
        if self.heartbeats {
            steps += ",beat";
            set("websocket.session.beat.on", "/hb exists");
        }
        set("websocket.session.steps", &steps);
        if self.resumes() {
            set("websocket.cursor", "{{/n}}");
            let lost = if self.refusal == Refusal::Status { "status == 410" } else { "/error == 'gone'" };
            set("websocket.resume.lost", lost);
            set("websocket.resume.lost.action", if self.continues_when_lost { "continue" } else { "fresh" });
        }
        match self.cursor {
            Cursor::Inclusive => set("websocket.cursor.inclusive", "true"),
            Cursor::Rewound => set("websocket.cursor.rewind", &REWIND.to_string()),
            Cursor::None | Cursor::Exclusive => {}
        }
        if self.cursor == Cursor::Rewound || self.doubles {
            set("websocket.dedup.key", "{{/n}}-{{/i}}");
        }
        if self.max_age {
            set("websocket.resume.max.age.ms", "600000");
        }
        if self.numbered {
            set("websocket.sequence", "{{/s}}");
            set("websocket.sequence.key", "{{/k}}");
            set("websocket.sequence.scope", if self.per_connection { "connection" } else { "feed" });
        }
        if self.split {
            set("websocket.frame.split", "json.array");
        }
        if self.filter {
            set("websocket.record.filter", "/f == 0");
        }
        if self.small_queue {
            set("websocket.message.queue.size", "7");
        }
        properties
    }
}

/// A shape and its configuration, which many histories share.
type Made = Arc<(Shape, Arc<Config>)>;

/// A shape for this seed, and its configuration.
pub(super) fn shape(random: &mut Random) -> Made {
    thread_local! {
        static MADE: RefCell<HashMap<usize, Made>> = RefCell::default();
    }
    let number = random.below(SHAPES);
    MADE.with_borrow_mut(|made| {
        let of = || {
            let shape = Shape::of(number);
            let config = Config::parse(&shape.properties()).unwrap_or_else(|errors| panic!("{shape:?}: {errors:?}"));
            Arc::new((shape, Arc::new(config)))
        };
        made.entry(number).or_insert_with(of).clone()
    })
}
