//! The client's side of the Autobahn|Testsuite's fuzzing server: runs every case and echoes what it is sent.
//!
//! `cargo run --release --example autobahn -- ws://host:port`; `scripts/autobahn.sh` starts the server and judges its report.

use std::error::Error;
use std::sync::Arc;

use connect_websocket_engine::config::{Config, TOPIC, URL};
use connect_websocket_engine::connection::frame::Event;
use connect_websocket_engine::connection::{Addresses, Connection, OpenError, Request};
use connect_websocket_engine::tls;
use rustls::ClientConfig;

const AGENT: &str = "connect-websocket";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = std::env::args().nth(1).ok_or("usage: autobahn ws://host:port")?;
    let server = server.trim_end_matches('/');
    let tls = tls::Settings { check_host: true, ..tls::Settings::default() }.client_config()?;

    let mut count = open(&format!("{server}/getCaseCount"), &tls).await?;
    let count: u32 = first_text(&mut count).await?.parse()?;
    for case in 1..=count {
        echo(open(&format!("{server}/runCase?case={case}&agent={AGENT}"), &tls).await?).await;
        if case % 50 == 0 || case == count {
            println!("autobahn: {case} of {count} cases");
        }
    }
    // The server writes its report and closes.
    echo(open(&format!("{server}/updateReports?agent={AGENT}"), &tls).await?).await;
    Ok(())
}

async fn open(url: &str, tls: &Arc<ClientConfig>) -> Result<Connection, OpenError> {
    let properties = [(URL, url), (TOPIC, "autobahn")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let config = Config::parse(&properties.into_iter().collect()).unwrap_or_else(|errors| panic!("{url}: {errors:?}"));
    Connection::open(&Request::new(&config), tls, &mut Addresses::default()).await
}

async fn first_text(connection: &mut Connection) -> Result<String, Box<dyn Error>> {
    loop {
        let event = connection.next().map_err(|violation| violation.message)?;
        if let Some(Event::Text(text)) = event {
            return Ok(String::from_utf8(text.to_vec())?);
        }
        let wants_more = event.is_none();
        drop(event);
        if wants_more && connection.exchange(true).await? == 0 {
            return Err("the server sent no text".into());
        }
    }
}

/// Sends every message back, until the connection ends in whatever way the case wants.
async fn echo(mut connection: Connection) {
    loop {
        let (text, payload) = match connection.next() {
            Ok(Some(Event::Text(text))) => (true, Some(text.to_vec())),
            Ok(Some(Event::Binary(data))) => (false, Some(data.to_vec())),
            Ok(Some(Event::Ping(_) | Event::Pong(_))) => continue,
            Ok(Some(Event::Close(_))) | Err(_) => break,
            Ok(None) => (false, None),
        };
        match payload {
            Some(payload) if text => connection.send_text(&payload),
            Some(payload) => connection.send_binary(&payload),
            None => match connection.exchange(true).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            },
        }
    }
    connection.farewell().await;
}
