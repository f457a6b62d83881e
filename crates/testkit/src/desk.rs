//! A simulator's connections on their sockets: its requests and opening handshakes, and each open connection's peer and timers.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::deflate::{Deflater, Inflater};
use crate::frame::{BINARY, FIN};
use crate::handshake::{self, Incoming};
use crate::link::{Io, Link, Received, Stop};
use crate::play::{LINGER, Player};
use crate::script::{Accept, Deflate, Reject};
use crate::shared::Record;
use crate::simulator::{Accepted, Action, Answer, HttpRequest, Peer, Simulator, Timers, Turn, World};
use crate::stats::Ended;
use crate::step::Close;

/// The largest body of a request.
const MAX_BODY: usize = 1024 * 1024;

/// What all connections of a simulation use.
pub(crate) struct Desk {
    simulator: &'static Simulator,
    world: Mutex<World>,
    began: Instant,
    /// What the test has asked of every open connection so far.
    asked: watch::Sender<Asked>,
}

/// What a test asks of open connections: how often each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// To send what was published.
    pub(crate) news: u64,
    /// To be half-open from now on: nothing is read, and nothing that is sent arrives.
    pub(crate) silences: u64,
    /// To end as the feed announces it.
    pub(crate) planned_ends: u64,
}

impl Desk {
    pub(crate) fn new(simulator: &'static Simulator, host: &str, speed: u32) -> Desk {
        let world = Mutex::new(World::new(host, speed));
        Desk { simulator, world, began: Instant::now(), asked: watch::Sender::default() }
    }

    /// Asks every open connection for something.
    pub(crate) fn ask(&self, what: impl FnOnce(&mut Asked)) {
        self.asked.send_modify(what);
    }

    /// The world, with the time of day set.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        world
    }

    /// Calls the peer; returns what it does.
    fn turn(
        &self,
        peer: &mut dyn Peer,
        timers: &mut Timers,
        place: &mut Option<u64>,
        act: impl FnOnce(&mut dyn Peer, &mut Turn<'_>),
    ) -> Vec<Action> {
        let mut world = self.world();
        let mut turn = Turn { now: self.began.elapsed(), world: &mut world, timers, place, actions: Vec::new() };
        act(peer, &mut turn);
        turn.actions
    }

    fn connect(&self, request: &HttpRequest) -> Result<Accepted, Answer> {
        let mut world = self.world();
        if let Some(history) = world.history.as_mut().filter(|history| history.refuses) {
            history.refused += 1;
            return Err(Answer::text(503, "the service is away for a moment"));
        }
        (self.simulator.connect)(request, &mut world)
    }

    fn until(&self, timers: &Timers) -> Option<tokio::time::Instant> {
        timers.next().map(|at| tokio::time::Instant::from_std(self.began + at))
    }
}

/// Serves one request; a WebSocket is served to its end.
pub(crate) async fn serve(mut io: Io, incoming: Incoming, record: &Record, desk: &Desk) -> Ended {
    let is_websocket = incoming.request.header("Upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    if is_websocket {
        let request = HttpRequest { head: incoming.request.clone(), body: Vec::new() };
        return match desk.connect(&request) {
            Ok(accepted) => open(io, &incoming, accepted, record, desk).await,
            Err(answer) => refuse(io, answer, record).await,
        };
    }
    let body = match handshake::read_body(&mut io, &incoming, MAX_BODY).await {
        Ok(body) => body,
        Err(error) => return Ended::Failed(error.to_string()),
    };
    let request = HttpRequest { head: incoming.request, body };
    let answer = (desk.simulator.http)(&request, &mut desk.world());
    refuse(io, answer, record).await
}

async fn refuse(mut io: Io, answer: Answer, record: &Record) -> Ended {
    record.change(|stats| stats.status = Some(answer.status));
    let answer = Reject { status: answer.status, headers: answer.headers, body: answer.body };
    if handshake::write_response(&mut io, &answer).await.is_err() {
        return Ended::ClientGone;
    }
    // The client may have gone already, which is as good.
    let _ = io.shutdown().await;
    Ended::Refused
}

async fn open(io: Io, incoming: &Incoming, accepted: Accepted, record: &Record, desk: &Desk) -> Ended {
    let Accepted { peer, subprotocol, deflate } = accepted;
    let accept = Accept {
        subprotocol: subprotocol.map(str::to_owned),
        deflate: deflate.then(Deflate::default),
        ..Accept::default()
    };
    let answer = handshake::answer(&accept, &incoming.request);
    record.change(|stats| {
        stats.status = Some(answer.status);
        stats.extensions = answer.extensions.clone();
    });
    let mut link = Link::new(io, record.clone(), &incoming.rest);
    link.keep_all = true;
    link.inflater = answer.deflate.as_ref().map(Inflater::new);
    if handshake::write(link.io(), &answer.bytes).await.is_err() {
        return Ended::ClientGone;
    }
    let mut player = Player::new(link, answer.deflate.as_ref().map(Deflater::new));
    let mut chair = Chair::take(desk, peer);
    let stop = match chair.converse(&mut player).await {
        Err(stop) => stop,
        Ok(()) => player.link.serve().await,
    };
    drop(chair);
    player.end(stop, Default::default()).await
}

/// One connection's place at the desk; it is left when the connection is over, however it ends.
struct Chair<'a> {
    desk: &'a Desk,
    peer: Box<dyn Peer>,
    timers: Timers,
    place: Option<u64>,
    asked: watch::Receiver<Asked>,
    /// What was asked for so far.
    seen: Asked,
}

impl<'a> Chair<'a> {
    fn take(desk: &'a Desk, peer: Box<dyn Peer>) -> Chair<'a> {
        let mut world = desk.world();
        world.opened += 1;
        world.open += 1;
        drop(world);
        let asked = desk.asked.subscribe();
        let seen = *asked.borrow();
        Chair { desk, peer, timers: Timers::default(), place: None, asked, seen }
    }

    async fn converse(&mut self, player: &mut Player) -> Result<(), Stop> {
        self.act(player, |peer, turn| peer.opened(turn)).await?;
        player.link.take_frames()?;
        loop {
            while let Some(received) = player.link.received.pop_front() {
                self.act(player, |peer, turn| match &received {
                    Received::Text(text) => peer.text(text, turn),
                    Received::Binary(bytes) => peer.binary(bytes, turn),
                    Received::Ping => peer.pinged(turn),
                    Received::Pong => peer.ponged(turn),
                })
                .await?;
            }
            while let Some(timer) = self.timers.take_due(self.desk.began.elapsed()) {
                self.act(player, |peer, turn| peer.time(timer, turn)).await?;
            }
            let due = self.desk.until(&self.timers);
            tokio::select! {
                served = player.link.serve_once() => served?,
                () = sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => {}
                Ok(()) = self.asked.changed() => self.answer(player).await?,
            }
        }
    }

    /// Does what the test has asked for.
    async fn answer(&mut self, player: &mut Player) -> Result<(), Stop> {
        let now = *self.asked.borrow_and_update();
        let before = std::mem::replace(&mut self.seen, now);
        if now.silences > before.silences {
            std::future::pending::<()>().await;
        }
        if now.news > before.news {
            self.act(player, |peer, turn| peer.published(turn)).await?;
        }
        if now.planned_ends > before.planned_ends {
            self.act(player, |peer, turn| peer.planned_end(turn)).await?;
        }
        Ok(())
    }

    async fn act(&mut self, player: &mut Player, act: impl FnOnce(&mut dyn Peer, &mut Turn<'_>)) -> Result<(), Stop> {
        for action in self.desk.turn(self.peer.as_mut(), &mut self.timers, &mut self.place, act) {
            match action {
                Action::Text(text) => player.send_text(&text, 1, false).await?,
                Action::Binary(bytes) => player.write_frame(FIN | BINARY, &bytes).await?,
                Action::Ping => player.link.ping("").await?,
                Action::Close(code, reason) => {
                    let wait_ms = Some(LINGER.as_millis() as u64);
                    player.close(&Close { code: Some(code), reason, wait_ms, ..Close::default() }).await?;
                }
                Action::Cut => return Err(Stop::Fin),
            }
        }
        Ok(())
    }
}

impl Drop for Chair<'_> {
    fn drop(&mut self) {
        let mut world = self.desk.world();
        world.open -= 1;
        self.peer.gone(&mut world);
    }
}
