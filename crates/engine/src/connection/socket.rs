//! A TCP socket that is registered with the runtime only when it has to wait.
//!
//! A registered socket wakes its thread for every packet, also while the session waits for the linger. So a resting
//! socket is not registered. A read is tried first, and the socket is registered only if there is nothing to read.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// `poll` always reports errors and a reset, and on Linux also the end of the stream.
#[cfg(target_os = "linux")]
const HANG_UP: PollFlags = PollFlags::RDHUP;
#[cfg(not(target_os = "linux"))]
const HANG_UP: PollFlags = PollFlags::empty();

#[derive(Debug)]
pub(super) struct Socket(State);

#[derive(Debug)]
enum State {
    /// Not registered with the runtime, but non-blocking.
    Resting(std::net::TcpStream),
    Watched(TcpStream),
    /// Changing between the two has failed.
    Gone,
}

impl Socket {
    pub(super) fn new(tcp: TcpStream) -> Socket {
        Socket(State::Watched(tcp))
    }

    /// Unregisters the socket, so that no packet wakes the runtime until the next read has to wait.
    pub(super) fn rest(&mut self) {
        self.0 = match std::mem::replace(&mut self.0, State::Gone) {
            State::Watched(tcp) => tcp.into_std().map_or(State::Gone, State::Resting),
            other => other,
        };
    }

    /// Blocks this thread for `time`, or until the peer has closed or reset the connection. Packets do not wake it.
    pub(super) fn sleep(&mut self, time: Duration) {
        let State::Resting(tcp) = &self.0 else {
            return std::thread::sleep(time);
        };
        let mut hung_up = [PollFd::new(tcp, HANG_UP)];
        if let Ok(time) = Timespec::try_from(time) {
            // A signal only ends it earlier.
            let _ = poll(&mut hung_up, Some(&time));
        }
    }

    fn watch(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.0 = match std::mem::replace(&mut self.0, State::Gone) {
            State::Resting(tcp) => State::Watched(TcpStream::from_std(tcp)?),
            other => other,
        };
        match &mut self.0 {
            State::Watched(tcp) => Ok(Pin::new(tcp)),
            State::Resting(_) | State::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let State::Resting(tcp) = &mut this.0 {
            match tcp.read(buf.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(|read| buf.advance(read))),
            }
        }
        this.watch()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let State::Resting(tcp) = &mut this.0 {
            match tcp.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
        this.watch()?.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().watch()?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn pair() -> (Socket, tokio::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Socket::new(near), listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_come_whether_they_were_there_before_or_not() {
        let (mut socket, mut peer) = pair().await;
        let mut buffer = [0; 64];
        for round in 0..20 {
            let (read, ()) = tokio::join!(socket.read(&mut buffer), async {
                tokio::task::yield_now().await;
                peer.write_all(b"late").await.unwrap();
            });
            assert_eq!(&buffer[..read.unwrap()], b"late", "round {round}");
            socket.rest();
            peer.write_all(b"early").await.unwrap();
            peer.flush().await.unwrap();
            let read = socket.read(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..read], b"early", "round {round}");
        }
        drop(peer);
        assert_eq!(socket.read(&mut buffer).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_hang_up_ends_the_sleep_and_data_do_not() {
        let (mut socket, mut peer) = pair().await;
        socket.rest();
        let short = Duration::from_millis(50);
        peer.write_all(b"data").await.unwrap();
        let slept = std::time::Instant::now();
        socket.sleep(short);
        assert!(slept.elapsed() >= short, "data woke it after {:?}", slept.elapsed());
        drop(peer);
        // Otherwise the test would not end within anybody's patience.
        socket.sleep(Duration::from_secs(3600));
        let mut buffer = [0; 64];
        assert_eq!(socket.read(&mut buffer).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn a_full_socket_is_waited_for() {
        let (mut socket, mut peer) = pair().await;
        let sent = vec![7u8; 8 << 20];
        let (written, received) = tokio::join!(
            async {
                socket.write_all(&sent).await?;
                socket.shutdown().await
            },
            async {
                let mut received = Vec::new();
                peer.read_to_end(&mut received).await.map(|_| received.len())
            }
        );
        written.unwrap();
        assert_eq!(received.unwrap(), sent.len());
    }
}
