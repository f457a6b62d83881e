//! The least that sending with librdkafka can cost: gives it ready-made messages with its batch call, as fast as it
//! takes them, with the guarantees of the others (idempotent, acks=all).
//!
//! Environment: `KAFKA_BOOTSTRAP_SERVERS`, `KAFKA_TOPIC`, `BENCH_SIZE` (bytes of a message), `BENCH_WARM_UP` (messages sent
//! at once) and `BENCH_MESSAGES` (of all messages; the rest is sent at SIGUSR1).

use std::env;
use std::error::Error;
use std::ffi::CString;
use std::ptr;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::bindings::{
    RD_KAFKA_MSG_F_BLOCK, RD_KAFKA_MSG_F_COPY, rd_kafka_message_t, rd_kafka_produce_batch, rd_kafka_topic_new,
    rd_kafka_topic_t,
};
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::types::RDKafkaRespErr;
use tokio::signal::unix::{SignalKind, signal};

const BATCH: usize = 1000;
/// JSON allows blanks before a number, so that all messages are alike but for these bytes.
const NUMBER: std::ops::Range<usize> = 5..17;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut start = signal(SignalKind::user_defined1())?;
    let mut stop = signal(SignalKind::terminate())?;
    let warm_up: u64 = env::var("BENCH_WARM_UP")?.parse()?;
    let messages: u64 = env::var("BENCH_MESSAGES")?.parse()?;
    let mut producer = BatchProducer::new(
        &env::var("KAFKA_BOOTSTRAP_SERVERS")?,
        &env::var("KAFKA_TOPIC")?,
        env::var("BENCH_SIZE")?.parse()?,
    )?;

    producer.send(0..warm_up)?;
    tokio::select! {
        _ = start.recv() => {}
        _ = stop.recv() => return Ok(()),
    }
    producer.send(warm_up..messages)?;
    stop.recv().await;
    Ok(())
}

struct BatchProducer {
    producer: BaseProducer,
    topic: *mut rd_kafka_topic_t,
    messages: Vec<Vec<u8>>,
}

impl BatchProducer {
    fn new(bootstrap: &str, topic: &str, size: usize) -> Result<BatchProducer, Box<dyn Error>> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "5")
            // A short queue stays in the processor's cache.
            .set("queue.buffering.max.messages", "10000")
            // No event for each message.
            .set("delivery.report.only.error", "true")
            .create()?;
        let name = CString::new(topic)?;
        // SAFETY: the client lives as long as `producer`; the name is a C string that librdkafka copies; a null
        // configuration stands for the default.
        #[allow(unsafe_code)]
        let topic = unsafe { rd_kafka_topic_new(producer.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
        if topic.is_null() {
            return Err("librdkafka knows no such topic".into());
        }
        let mut message = br#"{"n":            ,"pad":""#.to_vec();
        message.resize(size.max(message.len() + 2) - 2, b'x');
        message.extend_from_slice(br#""}"#);
        Ok(BatchProducer { producer, topic, messages: vec![message; BATCH] })
    }

    /// Sends these numbers and waits until Kafka has them.
    fn send(&mut self, numbers: std::ops::Range<u64>) -> Result<(), Box<dyn Error>> {
        let mut next = numbers.start;
        while next < numbers.end {
            let count = usize::try_from(numbers.end - next)?.min(BATCH);
            for (message, number) in self.messages.iter_mut().zip(next..) {
                put_number(&mut message[NUMBER], number);
            }
            self.send_batch(count)?;
            next += count as u64;
        }
        self.producer.flush(Duration::from_secs(60))?;
        Ok(())
    }

    fn send_batch(&mut self, count: usize) -> Result<(), Box<dyn Error>> {
        let mut batch: Vec<rd_kafka_message_t> = self.messages[..count]
            .iter_mut()
            .map(|message| rd_kafka_message_t {
                err: RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR,
                rkt: ptr::null_mut(),
                partition: 0,
                payload: message.as_mut_ptr().cast(),
                len: message.len(),
                key: ptr::null_mut(),
                key_len: 0,
                offset: 0,
                _private: ptr::null_mut(),
            })
            .collect();
        // SAFETY: the topic belongs to the living client; each message points to bytes of its stated length, which are
        // copied before the call returns (F_COPY).
        #[allow(unsafe_code)]
        let taken = unsafe {
            rd_kafka_produce_batch(
                self.topic,
                0,
                RD_KAFKA_MSG_F_COPY | RD_KAFKA_MSG_F_BLOCK,
                batch.as_mut_ptr(),
                i32::try_from(count)?,
            )
        };
        if usize::try_from(taken)? != count {
            return Err(format!("librdkafka took {taken} of {count} messages").into());
        }
        Ok(())
    }
}

/// Right-aligned in blanks.
fn put_number(place: &mut [u8], mut number: u64) {
    place.fill(b' ');
    for byte in place.iter_mut().rev() {
        *byte = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
}
