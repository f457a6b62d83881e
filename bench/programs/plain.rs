//! What a good engineer writes in an hour with the usual libraries: tokio-tungstenite reads, rdkafka's ThreadedProducer
//! sends. It reconnects at once, waits when the producer's queue is full, and ends with a closing handshake and a flush.
//!
//! Environment: see "The contract of a program" in bench/README.md.

mod trust;

use std::env;
use std::error::Error;
use std::time::Duration;

use futures_util::StreamExt as _;
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use tokio::net::TcpStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

type WebSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Logs what Kafka refused.
struct LogFailures;

impl ClientContext for LogFailures {}

impl ProducerContext for LogFailures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            eprintln!("a message was not delivered: {error}");
        }
    }
}

struct Bridge {
    url: String,
    connector: Connector,
    producer: ThreadedProducer<LogFailures>,
    topic: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let bridge = Bridge {
        url: env::var("WEBSOCKET_URL")?,
        connector: Connector::Rustls(trust::client_config()?),
        producer: ClientConfig::new()
            .set("bootstrap.servers", env::var("KAFKA_BOOTSTRAP_SERVERS")?)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "5")
            .create_with_context(LogFailures)?,
        topic: env::var("KAFKA_TOPIC")?,
    };
    let mut stop = signal(SignalKind::terminate())?;
    let mut failures = 0;
    loop {
        let connected = tokio::select! {
            connected = bridge.connect() => connected,
            _ = stop.recv() => break,
        };
        match connected {
            Ok(mut socket) => {
                failures = 0;
                match bridge.forward(&mut socket, &mut stop).await {
                    Ok(true) => break,
                    Ok(false) => eprintln!("the server closed the connection"),
                    Err(error) => eprintln!("the connection failed: {error}"),
                }
            }
            Err(error) => {
                eprintln!("cannot connect: {error}");
                failures += 1;
                sleep(Duration::from_millis(50 << failures.min(9))).await;
            }
        }
    }
    bridge.producer.flush(Duration::from_secs(30))?;
    Ok(())
}

impl Bridge {
    async fn connect(&self) -> Result<WebSocket, tungstenite::Error> {
        let (socket, _) = connect_async_tls_with_config(&self.url, None, false, Some(self.connector.clone())).await?;
        Ok(socket)
    }

    /// Sends what comes to Kafka, until the server closes (false) or the program is to stop (true).
    async fn forward(&self, socket: &mut WebSocket, stop: &mut Signal) -> Result<bool, Box<dyn Error>> {
        loop {
            tokio::select! {
                message = socket.next() => match message {
                    Some(message) => self.send(message?).await?,
                    None => return Ok(false),
                },
                _ = stop.recv() => break,
            }
        }
        // What the server sends before it answers the Close still counts.
        socket.close(None).await?;
        let rest = async {
            while let Some(Ok(message)) = socket.next().await {
                self.send(message).await?;
            }
            Ok::<(), KafkaError>(())
        };
        if let Ok(sent) = timeout(Duration::from_secs(5), rest).await {
            sent?;
        }
        Ok(true)
    }

    async fn send(&self, message: Message) -> Result<(), KafkaError> {
        let payload = match &message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
            _ => return Ok(()),
        };
        let mut record = BaseRecord::<(), [u8]>::to(&self.topic).payload(payload);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => record = back,
                Err((error, _)) => return Err(error),
            }
            sleep(Duration::from_millis(1)).await;
        }
    }
}
