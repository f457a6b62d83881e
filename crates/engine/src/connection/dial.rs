//! Connects to a host over TCP: tries its addresses one after another, in another order with each attempt.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};

use super::addresses::Addresses;
use super::open_error::{OpenError, OpenErrorKind};
use crate::observer::{Sight, Watched};

/// How long to try an address of a host that has others.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(3);

/// Connects to a host. `what` names it in errors, for example as the proxy.
pub(super) async fn dial(
    what: &str,
    host: &str,
    port: u16,
    addresses: &mut Addresses,
    watched: &Watched,
) -> Result<(TcpStream, SocketAddr), OpenError> {
    let resolved = lookup_host((host, port)).await.map_err(|error| unresolved(what, &error))?;
    let in_turn = addresses.in_turn(host, resolved.collect());
    let mut failures = Vec::new();
    for (index, &address) in in_turn.iter().enumerate() {
        addresses.trying(host, address);
        watched.tell(Sight::Trying { whose: what, address });
        // A dead address, for example with a broken IPv6 route, must leave time for the next ones (RFC 8305).
        let patience = if index + 1 < in_turn.len() { ADDRESS_PATIENCE } else { Duration::MAX };
        let why = match tokio::time::timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                watched.tell(Sight::Reached(address));
                return Ok((tcp, address));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer".to_owned(),
        };
        watched.tell(Sight::Unreachable(address, &why));
        failures.push(format!("{address}: {why}"));
    }
    let message = match &failures[..] {
        [] => format!("{what} has no address"),
        failures => format!("no connection to {what} at {}", failures.join("; ")),
    };
    Err(OpenError::new(OpenErrorKind::Tcp, message))
}

fn unresolved(what: &str, error: &io::Error) -> OpenError {
    let text = error.to_string();
    // Only the text has the resolver's code: the words of glibc, musl and macOS for EAI_NONAME and EAI_NODATA. Other
    // words, such as a translation, count as an outage.
    let unknown = ["Name or service not known", "No address associated", "does not resolve", "nodename nor servname"];
    let kind = if unknown.iter().any(|words| text.contains(words)) {
        OpenErrorKind::NameUnknown
    } else {
        OpenErrorKind::NameUnresolved
    };
    OpenError::new(kind, format!("the name of {what} cannot be resolved: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_that_cannot_answer_is_distinguished_from_one_that_denies() {
        for (text, kind) in [
            ("failed to lookup address information: Name or service not known", OpenErrorKind::NameUnknown),
            ("failed to lookup address information: Name does not resolve", OpenErrorKind::NameUnknown),
            (
                "failed to lookup address information: Temporary failure in name resolution",
                OpenErrorKind::NameUnresolved,
            ),
            ("failed to lookup address information: Try again", OpenErrorKind::NameUnresolved),
            ("Temporärer Fehler bei der Namensauflösung", OpenErrorKind::NameUnresolved),
        ] {
            let error = unresolved("the proxy p.example", &io::Error::other(text));
            assert_eq!(error.kind, kind, "{text}");
            assert!(error.message.starts_with("the name of the proxy p.example cannot be resolved"), "{error}");
        }
    }

    #[tokio::test]
    async fn every_address_that_was_tried_is_in_the_error() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = dial("localhost", "localhost", closed.port(), &mut Addresses::default(), &Watched::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind, OpenErrorKind::Tcp);
        assert!(error.message.contains("no connection to localhost at "), "{error}");
        assert!(error.message.contains(&format!("127.0.0.1:{}: ", closed.port())), "{error}");
    }
}
