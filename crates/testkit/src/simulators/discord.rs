//! Discord's gateway, after discord.com/developers/docs/events/gateway.

use serde_json::{Value, json};

use super::{EARLY, HALF, turns};
use crate::simulator::history::Held;
use crate::simulator::limit::Limit;
use crate::simulator::{Accepted, Answer, Expected, HttpRequest, Peer, Simulator, Turn, World, Wrong, json, seconds};

const CHANNELS: [&str; 2] = ["41771983423143937", "41771983423143938"];
const TOKEN: &str = "discord-bot-token-2f19";
/// Of guilds and of messages; the others need a permission that this bot has not.
const INTENTS: u64 = 513;
const MOST_BYTES: usize = 4096;

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "discord",
    hosts: &["discord.com"],
    right: &[("websocket.secret.bot", TOKEN), ("websocket.var.intents", "513")],
    beats: &[],
    wrong: &[
        Wrong {
            what: "a token that is not known",
            set: &[("websocket.secret.bot", "discord-bot-token-0000")],
            words: "401: Unauthorized",
        },
        Wrong {
            what: "intents that the bot may not have",
            set: &[("websocket.var.intents", "33281")],
            words: "Disallowed intent(s).",
        },
    ],
    record,
    http,
    connect,
};

fn record(n: u64) -> Expected {
    let channel = turns(n, CHANNELS);
    let value = format!(r#"{{"id":"1{n:04}","channel_id":"{channel}","guild_id":"290926798","content":"number {n}"}}"#);
    Expected { timestamp: None, ..Expected::new(value, channel, 0) }
}

fn http(request: &HttpRequest, world: &mut World) -> Answer {
    if request.path() != "/api/v10/gateway/bot" {
        return Answer::json(404, json!({"message": "404: Not Found", "code": 0}));
    }
    if request.header("Authorization") != Some(&format!("Bot {TOKEN}")) {
        return Answer::json(401, json!({"message": "401: Unauthorized", "code": 0}));
    }
    let limit = json!({"total": 1000, "remaining": 999, "reset_after": 14_400_000, "max_concurrency": 1});
    Answer::json(200, json!({"url": format!("ws://{}", world.host), "shards": 1, "session_start_limit": limit}))
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.query("v").as_deref() != Some("10") || request.query("encoding").as_deref() != Some("json") {
        return Err(Answer::text(400, "a version and an encoding are wanted"));
    }
    Accepted::by(Discord { identified: false, sequence: 0, offset: 0, limit: Limit::new(120, seconds(60)) })
}

/// What a session is issued as; another one once the sessions are forgotten.
fn session_of(world: &World, offset: i64) -> String {
    world.history.as_ref().map_or_else(String::new, |history| format!("{} {offset}", history.named("session")))
}

fn invalid(turn: &mut Turn<'_>) {
    turn.send(json!({"op": 9, "d": false, "s": null, "t": null}));
}

struct Discord {
    identified: bool,
    /// The number of the newest event of the session.
    sequence: u64,
    /// How many events more the session has had than there are records before its next one.
    offset: i64,
    limit: Limit,
}

impl Discord {
    fn identify(&mut self, message: &Value, turn: &mut Turn<'_>) {
        let data = &message["d"];
        if self.identified {
            return turn.refuse(4005, "Already authenticated.");
        }
        if data["token"] != TOKEN || !data["properties"]["os"].is_string() {
            return turn.close(4004, "Authentication failed.");
        }
        if data["intents"] != INTENTS {
            return turn.close(4014, "Disallowed intent(s).");
        }
        self.identified = true;
        let published = turn.world.history.as_ref().map_or(0, |history| history.published());
        // READY is event 1, and the first record event 2.
        self.offset = 2 - published as i64;
        let what_for =
            turn.world.history.as_ref().map_or_else(|| "session".to_owned(), |_| session_of(turn.world, self.offset));
        let session = turn.world.issue_id(&what_for);
        let url = format!("ws://{}", turn.world.host);
        self.event("READY", &json!({"v": 10, "session_id": session, "resume_gateway_url": url}).to_string(), turn);
        // The server may ask for a heartbeat at any time.
        turn.send(json!({"op": 1, "d": null, "s": null, "t": null}));
        self.send(EARLY, turn);
        self.send(HALF, turn);
    }

    /// Goes on with a session, whose missed events come first.
    fn resume(&mut self, message: &Value, turn: &mut Turn<'_>) {
        let data = &message["d"];
        if data["token"] != TOKEN {
            return turn.close(4004, "Authentication failed.");
        }
        let session =
            turn.world.issued.get(data["session_id"].as_str().unwrap_or_default()).cloned().unwrap_or_default();
        let offset = session.rsplit(' ').next().and_then(|offset| offset.parse::<i64>().ok());
        let known = offset.filter(|offset| session == session_of(turn.world, *offset));
        let Some((offset, sequence)) = known.zip(data["seq"].as_u64()) else { return invalid(turn) };
        // The record after event `sequence`.
        let next = u64::try_from(sequence as i64 + 1 - offset).unwrap_or_default();
        let held = turn.world.history.as_ref().map(|history| history.held(next));
        match held {
            Some(Held::Future) => return turn.close(4007, "Invalid seq."),
            Some(Held::All) => {}
            _ => return invalid(turn),
        }
        (self.identified, self.offset, self.sequence) = (true, offset, sequence);
        turn.start_at(next);
        self.send(HALF, turn);
        turn.send(json!({"t": "RESUMED", "s": self.sequence, "op": 0, "d": {"_trace": []}}));
    }

    fn event(&mut self, name: &str, data: &str, turn: &mut Turn<'_>) {
        self.sequence += 1;
        turn.send(format!(r#"{{"t":"{name}","s":{},"op":0,"d":{data}}}"#, self.sequence));
    }

    fn send(&mut self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            self.event("MESSAGE_CREATE", &record(n).value, turn);
        }
    }

    /// A heartbeat carries the number of the newest event that the client has. The first connection is told to reconnect.
    fn beat(&mut self, message: &Value, turn: &mut Turn<'_>) {
        turn.after_quick(seconds(62), "heartbeat");
        let number = message["d"].as_u64();
        if number.is_none_or(|number| number > self.sequence) && (self.identified || !message["d"].is_null()) {
            turn.fault(format!("a heartbeat with {} after event {}", message["d"], self.sequence));
        }
        turn.send(json!({"op": 11, "d": null, "s": null, "t": null}));
        if number.is_some_and(|number| number > HALF) && turn.world.notices == 0 {
            turn.world.notices += 1;
            self.planned_end(turn);
        }
    }
}

impl Peer for Discord {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        let interval = turn.world.quick(seconds(41)).as_millis() as u64;
        turn.send(json!({"op": 10, "d": {"heartbeat_interval": interval}, "s": null, "t": null}));
        turn.after_quick(seconds(62), "heartbeat");
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        if text.len() > MOST_BYTES {
            return turn.refuse(4002, "a message of more than 4096 bytes");
        }
        if !self.limit.allows(turn.now) {
            return turn.refuse(4008, "You are being rate limited.");
        }
        let message = json(text);
        match message["op"].as_u64() {
            Some(1) => self.beat(&message, turn),
            Some(2) => self.identify(&message, turn),
            Some(6) if !self.identified => self.resume(&message, turn),
            _ => turn.refuse(4001, "Unknown opcode."),
        }
    }

    fn published(&mut self, turn: &mut Turn<'_>) {
        if self.identified {
            self.send(HALF, turn);
        }
    }

    fn planned_end(&mut self, turn: &mut Turn<'_>) {
        turn.send(json!({"op": 7, "d": null, "s": null, "t": null}));
        turn.after(seconds(30), "bye");
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        match timer {
            "bye" => turn.cut("the connection was still open after op 7"),
            _ => turn.refuse(4009, "Session timed out."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    const TARGET: &str = "/?v=10&encoding=json";

    fn identify(token: &str, intents: u64) -> Value {
        let properties = json!({"os": "linux", "browser": "x", "device": "x"});
        json!({"op": 2, "d": {"token": token, "intents": intents, "properties": properties}})
    }

    #[test]
    fn heartbeats_carry_the_newest_number_and_a_second_connection_has_the_rest() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let refused = stage.http("GET /api/v10/gateway/bot HTTP/1.1", &[("Authorization", "Bot other")], "");
        assert!(refused.status == 401 && refused.body.contains(SIMULATOR.wrong[0].words));
        let mut line = stage.connect(TARGET);
        stage.say(&mut line, identify(TOKEN, INTENTS));
        let heard = line.json();
        assert_eq!((&heard[0]["d"]["heartbeat_interval"], &heard[1]["t"]), (&json!(41_000), &json!("READY")));
        stage.say(&mut line, json!({"op": 1, "d": HALF + 1}));
        assert_eq!(line.json()[1]["op"], 7);
        let mut second = stage.connect(TARGET);
        stage.say(&mut second, identify(TOKEN, INTENTS));
        stage.is_over();
        second.texts();
        stage.pass(&mut second, seconds(62));
        assert!(matches!(second.end().1, Action::Close(4009, _)));
    }

    #[test]
    fn other_tokens_and_other_intents_end_the_connection() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        for (message, expected) in [(identify("other", INTENTS), 4004), (identify(TOKEN, 33281), 4014)] {
            let mut line = stage.connect(TARGET);
            stage.say(&mut line, message);
            assert!(matches!(line.end().1, Action::Close(code, _) if code == expected));
        }
    }
}
