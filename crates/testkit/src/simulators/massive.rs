//! Massive (formerly Polygon.io) stocks, after massive.com/docs/websocket.

use serde_json::json;

use super::{EARLY, HALF, time_ms, turns};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const TOPICS: [&str; 2] = ["T.AAPL", "T.MSFT"];
const KEY: &str = "massive-key-8e2b";

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "massive",
    hosts: &["socket.massive.com"],
    right: &[("websocket.subscription.topics", "T.AAPL,T.MSFT"), ("websocket.secret.key", KEY)],
    beats: &[],
    wrong: &[Wrong {
        what: "an unknown key",
        set: &[("websocket.secret.key", "massive-key-0000")],
        words: "authentication failed",
    }],
    record,
    http: Simulator::no_http,
    connect,
};

fn record(n: u64) -> Expected {
    let (symbol, time) = (turns(n, ["AAPL", "MSFT"]), time_ms(n));
    let value = format!(
        r#"{{"ev":"T","sym":"{symbol}","x":4,"i":"{n}","z":3,"p":214.125,"s":100,"c":[0,12],"t":{time},"q":{}}}"#,
        3000 + 5 * n
    );
    Expected::new(value, symbol, time)
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/stocks" {
        return Err(Answer::text(404, "not found"));
    }
    Accepted::by(Massive { logged_in: false, topics: 0 })
}

struct Massive {
    logged_in: bool,
    topics: usize,
}

impl Massive {
    fn log_in(&mut self, key: &str, turn: &mut Turn<'_>) {
        if key != KEY {
            say(&[status("auth_failed", "authentication failed")], turn);
            return turn.close(1008, "authentication failed");
        }
        if turn.world.users.iter().any(|user| user == key) {
            turn.fault("a second connection");
            say(&[status("max_connections", "Maximum number of websocket connections exceeded.")], turn);
            return turn.close(1008, "max_connections");
        }
        turn.cancel("log-in");
        self.logged_in = true;
        turn.world.users.push(key.to_owned());
        say(&[status("auth_success", "authenticated")], turn);
    }

    /// One message holds what happened meanwhile: acknowledgements and trades alike.
    fn subscribe(&mut self, topics: &str, turn: &mut Turn<'_>) {
        for topic in topics.split(',') {
            if !TOPICS.contains(&topic) {
                say(&[status("error", &format!("not authorized for {topic}"))], turn);
                continue;
            }
            self.topics += 1;
            let mut events = vec![status("success", &format!("subscribed to: {topic}"))];
            let end = if self.topics == 1 { EARLY } else { HALF };
            events.extend(turn.numbers_to(end).map(|n| record(n).value));
            say(&events, turn);
        }
        if self.topics > 1 {
            turn.after_quick(seconds(5), "more");
        }
    }
}

fn status(status: &str, message: &str) -> String {
    json!({"ev": "status", "status": status, "message": message}).to_string()
}

fn say(events: &[String], turn: &mut Turn<'_>) {
    turn.send(format!("[{}]", events.join(",")));
}

impl Peer for Massive {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        say(&[status("connected", "Connected Successfully")], turn);
        turn.after(seconds(10), "log-in");
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        let params = message["params"].as_str().unwrap_or_default();
        match message["action"].as_str() {
            Some("auth") if !self.logged_in => self.log_in(params, turn),
            Some("auth") => {
                turn.fault("logged in twice");
                say(&[status("auth_failed", "already authenticated")], turn);
            }
            Some(_) if !self.logged_in => say(&[status("error", "not authenticated")], turn),
            Some("subscribe") => self.subscribe(params, turn),
            Some("unsubscribe") => say(&[status("success", &format!("unsubscribed to: {params}"))], turn),
            _ => say(&[status("error", "unknown action")], turn),
        }
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        if timer == "log-in" {
            say(&[status("auth_timeout", "authentication timed out")], turn);
            return turn.refuse(1008, "no log-in within ten seconds");
        }
        let rest: Vec<String> = turn.numbers_to(RECORDS).map(|n| record(n).value).collect();
        say(&rest, turn);
    }

    fn gone(&mut self, world: &mut World) {
        if self.logged_in {
            world.users.retain(|user| user != KEY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn acknowledgements_and_trades_share_a_message() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/stocks");
        stage.say(&mut line, json!({"action": "auth", "params": KEY}));
        stage.say(&mut line, json!({"action": "subscribe", "params": "T.AAPL,T.MSFT"}));
        let heard = line.json();
        assert_eq!((&heard[0][0]["status"], &heard[1][0]["status"]), (&json!("connected"), &json!("auth_success")));
        assert_eq!((&heard[2][0]["status"], &heard[2][1]["ev"]), (&json!("success"), &json!("T")));
        stage.pass(&mut line, seconds(5));
        stage.is_over();
    }

    #[test]
    fn one_connection_a_key_and_a_log_in_in_time() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut first = stage.connect("/stocks");
        stage.say(&mut first, json!({"action": "auth", "params": KEY}));
        let mut second = stage.connect("/stocks");
        stage.say(&mut second, json!({"action": "auth", "params": KEY}));
        assert!(matches!(second.end().1, Action::Close(1008, reason) if reason == "max_connections"));
        stage.hang_up(first);
        let mut third = stage.connect("/stocks");
        stage.say(&mut third, json!({"action": "auth", "params": KEY}));
        assert_eq!(third.json()[1][0]["status"], "auth_success");
        let mut late = stage.connect("/stocks");
        stage.pass(&mut late, seconds(10));
        assert!(matches!(late.end().1, Action::Close(..)));
    }
}
