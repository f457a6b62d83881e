//! A world with an observer: the same network, and everything that passes is reported to the observer.

use std::future::Future;
use std::io;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::world::{Asked, Wire, World};
use crate::connection::frame::Event;
use crate::connection::violation::Violation;
use crate::connection::{Discarded, OpenError};
use crate::dialogue::{Handshake, HttpRequest, Moment};
use crate::observer::{Message, Sight, Watched};

pub(crate) struct ObservedWorld<W> {
    pub(crate) world: W,
    pub(crate) watched: Watched,
}

pub(crate) struct ObservedWire<C> {
    wire: C,
    watched: Watched,
}

impl<W: World + Send + Sync> World for ObservedWorld<W>
where
    W::Wire: Send,
{
    type Wire = ObservedWire<W::Wire>;

    fn now(&self) -> Instant {
        self.world.now()
    }

    fn at(&self) -> SystemTime {
        self.world.at()
    }

    fn moment(&self) -> Moment<'_> {
        self.world.moment()
    }

    fn luck(&self) -> f64 {
        self.world.luck()
    }

    fn watched(&self) -> Watched {
        self.watched.clone()
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + Send {
        self.world.sleep_until(at)
    }

    async fn open(&mut self, handshake: Handshake) -> Result<Self::Wire, OpenError> {
        let wire = self.world.open(handshake).await?;
        Ok(ObservedWire { wire, watched: self.watched.clone() })
    }

    fn ask(&self, request: HttpRequest) -> Asked {
        self.world.ask(request)
    }
}

impl<C: Wire + Send> Wire for ObservedWire<C> {
    fn headers(&self) -> &[(String, String)] {
        self.wire.headers()
    }

    fn at_configured_origin(&self) -> bool {
        self.wire.at_configured_origin()
    }

    fn next(&mut self) -> Result<Option<Event<'_>>, Violation> {
        let event = self.wire.next()?;
        match &event {
            Some(Event::Text(text)) => self.watched.tell(Sight::Received(Message::Text(text))),
            Some(Event::Binary(data)) => self.watched.tell(Sight::Received(Message::Binary(data))),
            Some(Event::Ping(_)) => self.watched.tell(Sight::Ping),
            Some(Event::Close(close)) => {
                self.watched.tell(Sight::Close { code: close.code, reason: &close.reason });
            }
            Some(Event::Pong(_)) | None => {}
        }
        Ok(event)
    }

    async fn exchange(&mut self, read: bool) -> io::Result<usize> {
        let bytes = self.wire.exchange(read).await?;
        if bytes > 0 {
            self.watched.tell(Sight::Read(bytes));
        }
        Ok(bytes)
    }

    fn flush(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        self.wire.flush()
    }

    fn unsent_since(&self) -> Option<Instant> {
        self.wire.unsent_since()
    }

    fn unfinished(&self) -> usize {
        self.wire.unfinished()
    }

    fn send_text(&mut self, text: &[u8]) {
        self.wire.send_text(text);
    }

    fn send_binary(&mut self, data: &[u8]) {
        self.wire.send_binary(data);
    }

    fn send_ping(&mut self) {
        self.wire.send_ping();
    }

    fn send_close(&mut self, code: u16) {
        self.wire.send_close(code);
    }

    fn rest(&mut self) {
        self.wire.rest();
    }

    fn sleep(&mut self, time: Duration) {
        self.wire.sleep(time);
    }

    fn farewell(self) -> impl Future<Output = Discarded> + Send {
        self.wire.farewell()
    }
}
