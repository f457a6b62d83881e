//! What both of Coinbase's feeds demand: known products, a first message within five seconds, few messages in a second. They send
//! heartbeats, which are a subscription of their own.

use crate::simulator::limit::Limit;
use crate::simulator::{Turn, seconds};

pub(super) const PRODUCTS: [&str; 2] = ["BTC-USD", "ETH-USD"];

/// What one connection has done so far.
pub(super) struct Manners {
    messages_a_second: usize,
    limit: Limit,
    heartbeats: u64,
}

impl Manners {
    pub(super) fn new(messages_a_second: usize) -> Manners {
        Manners { messages_a_second, limit: Limit::new(messages_a_second, seconds(1)), heartbeats: 0 }
    }

    pub(super) fn opened(&self, turn: &mut Turn<'_>) {
        turn.after(seconds(5), "first message");
    }

    /// Ends the connection if this message is one too many; returns whether it is not.
    pub(super) fn allows_message(&mut self, turn: &mut Turn<'_>) -> bool {
        let allowed = self.limit.allows(turn.now);
        if !allowed {
            turn.refuse(1008, &format!("more than {} messages in a second", self.messages_a_second));
        }
        allowed
    }

    /// Why these products cannot be subscribed to, if they cannot.
    pub(super) fn unknown(products: &[&str]) -> Option<String> {
        let unknown = products.iter().find(|product| !PRODUCTS.contains(product))?;
        Some(format!("{unknown} is not a valid product"))
    }

    pub(super) fn subscribed(&self, turn: &mut Turn<'_>) {
        turn.cancel("first message");
    }

    pub(super) fn begin_heartbeats(&self, turn: &mut Turn<'_>) {
        turn.after(seconds(1), "heartbeat");
    }

    /// The number of the heartbeat that is due, or `None` if the connection ends because the first message did not come.
    pub(super) fn heartbeat(&mut self, timer: &str, turn: &mut Turn<'_>) -> Option<u64> {
        if timer == "first message" {
            turn.refuse(1008, "no subscription within five seconds");
            return None;
        }
        self.heartbeats += 1;
        self.begin_heartbeats(turn);
        Some(self.heartbeats)
    }
}
