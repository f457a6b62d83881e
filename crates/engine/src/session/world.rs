//! The network, the clock and chance, as a trait. In production these are sockets and the machine's own. The simulation
//! has others, and runs the same session.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ClientConfig;
use tokio::time::{Instant, sleep_until};
use tracing::info;

use super::connect_rate;
use crate::config::Config;
use crate::connection::frame::Event;
use crate::connection::http_request::{self, HttpResponse};
use crate::connection::violation::Violation;
use crate::connection::{Addresses, Connection, Discarded, OpenError, Request};
use crate::dialogue::rate::Limit;
use crate::dialogue::{Handshake, HttpRequest, Moment};
use crate::observer::{Sight, Watched};
use crate::redact::Redactor;

/// An HTTP request that is under way.
pub(crate) type Asked = Pin<Box<dyn Future<Output = Result<HttpResponse, OpenError>> + Send>>;

pub(crate) trait World {
    type Wire: Wire;

    fn now(&self) -> Instant;

    /// The time of day.
    fn at(&self) -> SystemTime;

    /// Returns the time, with a source of chance.
    fn moment(&self) -> Moment<'_>;

    /// Returns a random number from 0 to 1.
    fn luck(&self) -> f64;

    /// Returns the observer of what happens. Usually there is none.
    fn watched(&self) -> Watched {
        Watched::default()
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + Send;

    /// Opens a connection: everything up to the end of the opening handshake.
    fn open(&mut self, handshake: Handshake) -> impl Future<Output = Result<Self::Wire, OpenError>> + Send;

    /// Makes an HTTP request.
    fn ask(&self, request: HttpRequest) -> Asked;
}

/// An open connection. [`Connection`] documents the methods.
pub(crate) trait Wire {
    /// Returns the headers of the server's response to the opening handshake.
    fn headers(&self) -> &[(String, String)];
    fn at_configured_origin(&self) -> bool;
    fn next(&mut self) -> Result<Option<Event<'_>>, Violation>;
    fn exchange(&mut self, read: bool) -> impl Future<Output = io::Result<usize>> + Send;
    fn flush(&mut self) -> impl Future<Output = io::Result<()>> + Send;
    fn unsent_since(&self) -> Option<Instant>;
    fn unfinished(&self) -> usize;
    fn send_text(&mut self, text: &[u8]);
    fn send_binary(&mut self, data: &[u8]);
    fn send_ping(&mut self);
    fn send_close(&mut self, code: u16);
    fn rest(&mut self);
    fn sleep(&mut self, time: Duration);
    fn farewell(self) -> impl Future<Output = Discarded> + Send;
}

/// This machine's network, clock and source of chance.
pub(crate) struct Sockets {
    request: Request,
    addresses: Addresses,
    tls: Arc<ClientConfig>,
    connect_rate: Vec<Limit>,
    redactor: Arc<Redactor>,
}

impl Sockets {
    pub(crate) fn new(config: &Config, tls: Arc<ClientConfig>) -> Sockets {
        Sockets {
            request: Request::new(config),
            addresses: Addresses::default(),
            tls,
            connect_rate: config.connect_rate.clone(),
            redactor: config.redactor.clone(),
        }
    }

    /// Adds an observer of how connections are opened.
    pub(crate) fn watched_by(mut self, watched: Watched) -> Sockets {
        self.request.watched = watched;
        self
    }

    /// Reports the server's response to the opening handshake to the observer.
    fn tell(&self, opened: &Result<Connection, OpenError>) {
        let watched = &self.request.watched;
        match opened {
            Ok(connection) => {
                let (subprotocol, compression) = (connection.subprotocol(), connection.compressed());
                watched.tell(Sight::Handshake { status: connection.answer().status, subprotocol, compression });
                watched.tell(Sight::Read(connection.unread()));
            }
            Err(error) => {
                if let Some(answer) = &error.answer {
                    watched.tell(Sight::Handshake { status: answer.status, subprotocol: None, compression: false });
                }
            }
        }
    }

    /// Waits until `websocket.connect.rate` allows a connection. Logs how long, because no message comes meanwhile.
    async fn wait_for_rate(&self, authority: &str) {
        while let Err(later) = connect_rate::attempt(authority, &self.connect_rate, Instant::now()) {
            let wait_ms = later.saturating_duration_since(Instant::now()).as_millis();
            info!("event=connect_held_back wait_ms={wait_ms} option=websocket.connect.rate");
            sleep_until(later).await;
        }
    }
}

impl World for Sockets {
    type Wire = Connection;

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn at(&self) -> SystemTime {
        SystemTime::now()
    }

    fn moment(&self) -> Moment<'_> {
        Moment { now: Instant::now(), at: SystemTime::now(), chance: &|bytes| rand::fill(bytes) }
    }

    fn luck(&self) -> f64 {
        rand::random()
    }

    async fn sleep_until(&self, at: Instant) {
        sleep_until(at).await;
    }

    async fn open(&mut self, handshake: Handshake) -> Result<Connection, OpenError> {
        let request = self.request.rendered(handshake)?;
        self.wait_for_rate(&request.endpoint.authority()).await;
        let opened = Connection::open(&request, &self.tls, &mut self.addresses).await;
        self.tell(&opened);
        let connection = opened?;
        info!(
            "event=websocket_opened address={} compression={} subprotocol={}",
            connection.address(),
            if connection.compressed() { "permessage-deflate" } else { "none" },
            connection.subprotocol().map_or_else(|| "none".to_owned(), |chosen| self.redactor.foreign(chosen, 100)),
        );
        Ok(connection)
    }

    fn ask(&self, request: HttpRequest) -> Asked {
        let (like, tls) = (self.request.clone(), self.tls.clone());
        Box::pin(async move { http_request::request(&request, &like, &tls).await })
    }
}

impl Wire for Connection {
    fn headers(&self) -> &[(String, String)] {
        &self.answer().headers
    }

    fn at_configured_origin(&self) -> bool {
        self.at_configured_origin()
    }

    fn next(&mut self) -> Result<Option<Event<'_>>, Violation> {
        self.next()
    }

    async fn exchange(&mut self, read: bool) -> io::Result<usize> {
        self.exchange(read).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.flush().await
    }

    fn unsent_since(&self) -> Option<Instant> {
        self.unsent_since()
    }

    fn unfinished(&self) -> usize {
        self.unfinished()
    }

    fn send_text(&mut self, text: &[u8]) {
        self.send_text(text);
    }

    fn send_binary(&mut self, data: &[u8]) {
        self.send_binary(data);
    }

    fn send_ping(&mut self) {
        self.send_ping(b"");
    }

    fn send_close(&mut self, code: u16) {
        self.send_close(code, "");
    }

    fn rest(&mut self) {
        self.rest();
    }

    fn sleep(&mut self, time: Duration) {
        self.sleep(time);
    }

    async fn farewell(self) -> Discarded {
        self.farewell().await
    }
}
