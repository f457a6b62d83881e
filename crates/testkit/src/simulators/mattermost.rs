//! Mattermost, after api.mattermost.com (WebSocket), and webapp/platform/client/src/websocket.ts and
//! server/channels/app/platform/web_conn.go of mattermost/mattermost.

use serde_json::json;

use super::{EARLY, HALF, turns};
use crate::simulator::history::{Held, History};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const CHANNELS: [&str; 2] = ["ch-town-square", "ch-off-topic"];
const TOKEN: &str = "mattermost-token-b1c9";

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "mattermost",
    hosts: &[],
    right: &[
        ("websocket.url", "{ws}/api/v4/websocket?connection_id={{cid}}&sequence_number={{add(cursor, 1)}}"),
        ("websocket.auth.token", TOKEN),
    ],
    beats: &["websocket.session.beat.every.ms"],
    wrong: &[Wrong {
        what: "a token that is not known",
        set: &[("websocket.auth.token", "mattermost-token-0000")],
        words: "WebSocket connection is not authenticated",
    }],
    record,
    http: Simulator::no_http,
    connect,
};

fn record(n: u64) -> Expected {
    let channel = turns(n, CHANNELS);
    // The greeting is event 0.
    let sequence = n + 1;
    let value = format!(
        r#"{{"event":"posted","data":{{"post":"{{\"id\":\"p{n}\"}}"}},"broadcast":{{"omit_users":null,"user_id":"","channel_id":"{channel}","team_id":""}},"seq":{sequence}}}"#
    );
    Expected { timestamp: None, ..Expected::new(value, channel, 0) }
}

fn connect(request: &HttpRequest, world: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/api/v4/websocket" {
        return Err(Answer::text(404, "not found"));
    }
    let logged_in = request.is_of_bearer(TOKEN);
    let known = connection_id(world);
    let asked_for = request.query("connection_id").filter(|_| logged_in);
    let is_known = asked_for.as_deref() == Some(&known);
    let next = request.query("sequence_number").and_then(|number| number.parse::<u64>().ok());
    if is_known && next.is_none() {
        return Err(Answer::text(400, "sequence number not present in websocket request"));
    }
    // The next event is numbered by how many came before it, the greeting among them.
    let from = next.filter(|next| is_known && *next > 0).map(|next| next - 1);
    let from = from.filter(|from| world.history.as_ref().is_some_and(|history| history.held(*from) == Held::All));
    if is_known && from.is_none() {
        world.history.iter_mut().for_each(History::forget_sessions);
    }
    Accepted::by(Mattermost { logged_in, from, pings: 0 })
}

/// There is one user with one connection, and another one once what was missed cannot be had any more.
fn connection_id(world: &World) -> String {
    world.history.as_ref().map_or_else(|| "cn-1".to_owned(), |history| history.named("cn-"))
}

struct Mattermost {
    logged_in: bool,
    /// The first record that the client gets, on the connection that it goes on with; `None`: it is a new one.
    from: Option<u64>,
    pings: u64,
}

impl Mattermost {
    /// The greeting of a new connection.
    fn greet(&self, turn: &mut Turn<'_>) {
        let sequence = turn.world.history.as_ref().map_or(0, |history| history.published());
        let hello = json!({"connection_id": connection_id(turn.world), "server_version": "10.5.0"});
        turn.send(json!({"event": "hello", "data": hello, "broadcast": {"user_id": "u1"}, "seq": sequence}));
    }

    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            turn.send(record(n).value);
        }
    }
}

impl Peer for Mattermost {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        if !self.logged_in {
            return turn.after(seconds(5), "log-in");
        }
        turn.after_quick(seconds(90), "no ping");
        match self.from {
            Some(first) => turn.start_at(first),
            None => self.greet(turn),
        }
        self.send(EARLY, turn);
    }

    fn published(&mut self, turn: &mut Turn<'_>) {
        if self.logged_in {
            self.send(RECORDS, turn);
        }
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        let reply = &message["seq"];
        match message["action"].as_str() {
            _ if !self.logged_in => {
                let words = "WebSocket connection is not authenticated. Please log in and try again.";
                let error = json!({"id": "api.web_socket_router.not_authenticated.app_error", "message": words});
                turn.send(json!({"status": "FAIL", "error": error, "seq_reply": reply}));
            }
            Some("ping") => {
                turn.after_quick(seconds(90), "no ping");
                turn.send(json!({"status": "OK", "data": {"text": "pong", "version": "10.5.0"}, "seq_reply": reply}));
                self.pings += 1;
                self.send(if self.pings == 1 { HALF } else { RECORDS }, turn);
            }
            _ => turn.send(json!({"status": "FAIL", "error": {"message": "unknown action"}, "seq_reply": reply})),
        }
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        match timer {
            "log-in" => turn.cut("no log-in within five seconds"),
            _ => turn.cut("no ping for ninety seconds"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn a_token_a_greeting_and_pings() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut stranger = stage.connect("/api/v4/websocket");
        let ping = |seq| json!({"action": "ping", "seq": seq});
        stage.say(&mut stranger, ping(1));
        assert!(stranger.texts()[0].contains(SIMULATOR.wrong[0].words));
        stage.pass(&mut stranger, seconds(5));
        assert!(stranger.heard().contains(&Action::Cut));
        stage.world.faults.clear();
        let bearer = format!("Bearer {TOKEN}");
        let mut line = stage.connect_with("/api/v4/websocket", &[("Authorization", &bearer)]).ok().unwrap();
        assert_eq!(line.json()[0]["event"], "hello");
        for seq in 1..=2 {
            stage.say(&mut line, ping(seq));
            assert_eq!(line.json()[0]["data"]["text"], "pong");
        }
        stage.is_over();
        stage.pass(&mut line, seconds(90));
        assert!(line.heard().contains(&Action::Cut));
    }
}
