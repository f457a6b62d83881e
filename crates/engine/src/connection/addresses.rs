//! The order of a host's addresses: each attempt begins with the one after the last, so that a dead server behind one
//! address does not fail every attempt.

use std::net::SocketAddr;

/// The most hosts whose last address is kept: the feed or its proxy, and those of redirects.
const MAX_HOSTS: usize = 8;

/// The last tried address of each host. The session keeps it from one attempt to the next.
#[derive(Debug, Default)]
pub struct Addresses {
    tried: Vec<(String, SocketAddr)>,
}

impl Addresses {
    /// The last tried address.
    pub(super) fn last(&self, host: &str) -> Option<SocketAddr> {
        self.tried.iter().find(|(name, _)| name == host).map(|&(_, address)| address)
    }

    /// Returns the resolver's addresses in its order, beginning with the one after the last tried. If the resolver
    /// changes the order itself, that order is used.
    pub(super) fn in_turn(&self, host: &str, mut resolved: Vec<SocketAddr>) -> Vec<SocketAddr> {
        if let Some(at) = self.last(host).and_then(|last| resolved.iter().position(|&address| address == last)) {
            resolved.rotate_left(at + 1);
        }
        resolved
    }

    pub(super) fn trying(&mut self, host: &str, address: SocketAddr) {
        self.tried.retain(|(name, _)| name != host);
        self.tried.truncate(MAX_HOSTS - 1);
        self.tried.insert(0, (host.to_owned(), address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 80))
    }

    #[test]
    fn the_next_attempt_begins_at_the_next_address() {
        let mut addresses = Addresses::default();
        let resolved = vec![address(1), address(2), address(3)];
        let mut first = Vec::new();
        for _ in 0..4 {
            let turn = addresses.in_turn("feed", resolved.clone());
            assert_eq!(turn.len(), 3);
            addresses.trying("feed", turn[0]);
            first.push(turn[0]);
        }
        assert_eq!(first, [address(1), address(2), address(3), address(1)]);
    }

    #[test]
    fn hosts_are_distinguished_and_not_remembered_without_end() {
        let mut addresses = Addresses::default();
        addresses.trying("feed", address(1));
        assert_eq!(addresses.in_turn("other", vec![address(1), address(2)])[0], address(1));
        (0..100).for_each(|n| addresses.trying(&format!("host{n}"), address(1)));
        assert_eq!(addresses.tried.len(), MAX_HOSTS);
    }

    #[test]
    fn an_address_that_is_gone_changes_nothing() {
        let mut addresses = Addresses::default();
        addresses.trying("feed", address(9));
        assert_eq!(addresses.in_turn("feed", vec![address(1), address(2)]), [address(1), address(2)]);
    }
}
