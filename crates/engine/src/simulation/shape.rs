//! What a feed is like, and the configuration for it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::config::Config;
use crate::config_def::Properties;
use crate::random::Random;

/// So many shapes there are; a configuration is made once for each.
const SHAPES: usize = 512;
/// How far the cursor of a rewound feed goes back.
const REWIND: u64 = 3;
pub(super) const RECONNECT_MS: u64 = 500;
pub(super) const RECONNECT_MOST_MS: u64 = 5000;
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

/// How a message holds its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// It is one.
    Whole,
    /// It is an array of them.
    Array,
    /// It has them in an array, and is a message for the steps.
    Picked,
}

/// Which acknowledgements a feed wants; it sends again what has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acks {
    None,
    /// Of each message.
    Each,
    /// Of all messages up to one.
    Latest,
}

#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) cursor: Cursor,
    /// Each key has a subscription and a cursor of its own.
    pub(super) keyed: bool,
    pub(super) form: Form,
    pub(super) acks: Acks,
    /// Each key's messages are numbered.
    pub(super) numbered: bool,
    /// The numbers begin anew with each connection.
    pub(super) per_connection: bool,
    /// And now and then of their own.
    pub(super) resets: bool,
    /// What is missing by the numbers is in the feed's history.
    pub(super) backfill: bool,
    hold_ms: u64,
    /// Messages without records, which have a number and a cursor.
    pub(super) heartbeats: bool,
    /// Some records are filtered.
    pub(super) filter: bool,
    /// Messages may come twice.
    pub(super) doubles: bool,
    pub(super) refusal: Refusal,
    pub(super) continues_when_lost: bool,
    pub(super) small_queue: bool,
    /// A full queue drops records.
    pub(super) drops: bool,
    drops_oldest: bool,
    pub(super) max_age: bool,
    linger_ms: u64,
}

impl Shape {
    fn of(number: usize) -> Shape {
        let mut random = Random::seeded(number as u64);
        let cursors =
            [Cursor::None, Cursor::Exclusive, Cursor::Exclusive, Cursor::Inclusive, Cursor::Inclusive, Cursor::Rewound];
        let cursor = cursors[random.below(cursors.len())];
        let acks = match random.below(4) {
            0 if cursor == Cursor::None => Acks::Each,
            1 if cursor == Cursor::None => Acks::Latest,
            _ => Acks::None,
        };
        let form = match random.below(10) {
            // Of an array each part is a message for the steps.
            0..2 if acks == Acks::None => Form::Array,
            0..4 => Form::Picked,
            _ => Form::Whole,
        };
        let keyed = cursor != Cursor::None && random.percent(40);
        let refusal = match random.below(3) {
            // A feed that silently leaves something out is found out by the record that has to come again alone.
            0 if cursor == Cursor::Inclusive => Refusal::Clamps,
            1 if !keyed => Refusal::Status,
            _ => Refusal::Message,
        };
        // A feed that sends again leaves out what was acknowledged.
        let numbered = acks == Acks::None && random.percent(60);
        let per_connection = numbered && cursor == Cursor::None && random.percent(30);
        let small_queue = random.percent(40);
        Shape {
            cursor,
            keyed,
            form,
            acks,
            numbered,
            per_connection,
            // A number of the history is one record's.
            backfill: numbered
                && !per_connection
                && cursor == Cursor::None
                && form == Form::Whole
                && random.percent(70),
            hold_ms: [0, 3000][random.below(2)],
            resets: numbered && !per_connection && random.percent(30),
            // A cursor of a message that does not come again, and a number that does, say something else to a feed that repeats.
            heartbeats: matches!(cursor, Cursor::None | Cursor::Exclusive) && random.percent(40),
            filter: random.percent(30),
            doubles: acks != Acks::None || random.percent(20),
            refusal,
            continues_when_lost: refusal == Refusal::Message && random.percent(40),
            small_queue,
            drops: small_queue && acks == Acks::None && random.percent(40),
            drops_oldest: random.percent(50),
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
        set("websocket.reconnect.interval.ms", &RECONNECT_MS.to_string());
        set("websocket.reconnect.backoff.max.ms", &RECONNECT_MOST_MS.to_string());
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
        if self.acks != Acks::None {
            steps += ",ack";
            set("websocket.session.ack.on.commit", "/n exists");
            set("websocket.session.ack.on.commit.latest", if self.acks == Acks::Latest { "true" } else { "false" });
            set("websocket.session.ack.send", "ack {{/n}}");
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
        if self.backfill {
            set("websocket.sequence.action", "backfill");
            set("websocket.backfill.http", "GET http://feed.test/{{key}}?from={{from}}&to={{to}}&page={{page}}");
            set("websocket.backfill.records", "/r");
            set("websocket.backfill.next", "/next");
            set("websocket.backfill.hold.ms", &self.hold_ms.to_string());
        }
        match self.form {
            Form::Whole => {}
            Form::Array => set("websocket.frame.split", "json.array"),
            Form::Picked => {
                set("websocket.record.pointer", "/r/*");
                set("websocket.record.pointer.missing", "skip");
            }
        }
        if self.filter {
            set("websocket.record.filter", "/f == 0");
        }
        if self.small_queue {
            set("websocket.message.queue.size", "7");
        }
        if self.drops {
            set("websocket.message.queue.full", if self.drops_oldest { "drop.oldest" } else { "drop.newest" });
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
