//! Properties of Java's producer and admin client (Kafka 4.3, `ProducerConfig` and `AdminClientConfig`) that are not
//! about security, for librdkafka 2.12. If librdkafka has another default, Java's is set, except for the sizes of batch
//! and buffer.

use connect_websocket_engine::config_def::ConfigError;

use super::translation::{Number, Translation};

/// Java's default is 5 ms. Here, the engine has waited already (`websocket.receive.linger.ms`), and records come in
/// batches. With 1 ms, a batch goes into one request.
const LINGER_MS: i64 = 1;
const LARGEST_MESSAGE: i64 = 1 << 20;
/// The buffer, if `buffer.memory` is not set. `producer.rs` uses less.
const DEFAULT_BUFFER_BYTES: i64 = 8 << 20;
const DEFAULT_BUFFER_RECORDS: i64 = 12_000;

const LARGEST_INT: i64 = i32::MAX as i64;
/// For Java the largest number means "for ever", for librdkafka 0.
const FOR_EVER: &str = "0";
/// With more requests in flight, the batches of an idempotent producer can be reordered.
const IDEMPOTENT_IN_FLIGHT: i64 = 5;
const BOOLEAN: &[&str] = &["true", "false"];

const COMMON: &[Number] = &[
    Number {
        name: "send.buffer.bytes",
        java: ("INT", -1),
        setting: "socket.send.buffer.bytes",
        range: 0..=100_000_000,
        default: None,
    },
    Number {
        name: "receive.buffer.bytes",
        java: ("INT", -1),
        setting: "socket.receive.buffer.bytes",
        range: 0..=100_000_000,
        default: None,
    },
    Number {
        name: "socket.connection.setup.timeout.ms",
        java: ("LONG", 0),
        setting: "socket.connection.setup.timeout.ms",
        range: 1_000..=LARGEST_INT,
        default: None,
    },
    Number {
        name: "metadata.recovery.rebootstrap.trigger.ms",
        java: ("LONG", 0),
        setting: "metadata.recovery.rebootstrap.trigger.ms",
        range: 0..=LARGEST_INT,
        default: None,
    },
    // -1 and other negative numbers keep idle connections open in Java, as 0 does here.
    Number {
        name: "connections.max.idle.ms",
        java: ("LONG", i64::MIN),
        setting: "connections.max.idle.ms",
        range: 0..=LARGEST_INT,
        default: Some(540_000),
    },
];

/// Translates the properties of all clients.
pub(super) fn common(t: &mut Translation) {
    bootstrap_servers(t);
    t.set("socket.keepalive.enable", "true");
    // A closed idle connection is not logged: it is opened again when it is needed.
    t.set("log.connection.close", "false");
    for name in ["client.id", "client.rack"] {
        if let Some(property) = t.take_text(name) {
            t.set(name, property.value);
        }
    }
    let lookups = ["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"];
    for (name, words) in [
        ("client.dns.lookup", &lookups[..]),
        ("enable.metrics.push", BOOLEAN),
        ("metadata.recovery.strategy", &["none", "rebootstrap"]),
    ] {
        if let Some(property) = t.take_word(name, words) {
            t.set(name, property.value);
        }
    }
    for number in COMMON {
        t.number(number);
    }
    backoff(t, "reconnect.backoff", 50, 0..=3_600_000);
    backoff(t, "retry.backoff", 100, 1..=300_000);
    let (refresh, option) =
        t.take_number("metadata.max.age.ms", ("LONG", 0)).unwrap_or((300_000, "metadata.max.age.ms".to_owned()));
    t.set_limited("topic.metadata.refresh.interval.ms", refresh, &(1..=3_600_000), &option);
    // Java refreshes metadata at this age. librdkafka discards them, so it must refresh them earlier.
    t.set("metadata.max.age.ms", refresh.saturating_mul(3).clamp(1, 86_400_000).to_string());
    let (timeout, option) =
        t.take_number("request.timeout.ms", ("INT", 0)).unwrap_or((30_000, "request.timeout.ms".to_owned()));
    t.set_limited("socket.timeout.ms", timeout, &(10..=300_000), &option);
}

/// Translates the additional properties of a producer.
pub(super) fn producer(t: &mut Translation) {
    // This is the broker's wait for its replicas. The client's own wait has the same value, which `common` takes next.
    let request_timeout = t.peek_number("request.timeout.ms").unwrap_or(30_000);
    t.set("request.timeout.ms", request_timeout.clamp(1, 900_000).to_string());
    let linger = t
        .number(&Number {
            name: "linger.ms",
            java: ("LONG", 0),
            setting: "linger.ms",
            range: 0..=900_000,
            default: Some(LINGER_MS),
        })
        .unwrap_or(LINGER_MS);
    // How long records without a key stay on one partition: long enough to fill a batch, as Java's sticky partitioner.
    t.set("sticky.partitioning.linger.ms", linger.saturating_mul(2).clamp(10, 900_000).to_string());
    // librdkafka's own default. Larger batches cost less, and no record waits longer for them.
    t.number(&Number {
        name: "batch.size",
        java: ("INT", 0),
        setting: "batch.size",
        range: 1..=LARGEST_INT,
        default: Some(1_000_000),
    });
    let largest = t
        .number(&Number {
            name: "max.request.size",
            java: ("INT", 0),
            setting: "message.max.bytes",
            range: 1_000..=1_000_000_000,
            default: Some(LARGEST_MESSAGE),
        })
        .unwrap_or(LARGEST_MESSAGE);
    buffer(t, largest);
    // Java's wait for a full buffer. Connect waits for ever, or tries again after a shorter time. So does this worker.
    let _ = t.take_number("max.block.ms", ("LONG", 0));
    delivery(t, linger, request_timeout);
    compression(t);
    partitioner(t);
    idempotence(t);
    if let Some(id) = t.take_text("transactional.id") {
        let why = "this worker writes without transactions; remove the option";
        t.errors.push(ConfigError::invalid(&id.option, &id.value, why));
    }
}

/// Sets how much may wait in the producer: `buffer.memory`, as in Java. By default it is enough to keep the network
/// busy, because the engine's queue is before it. In any case one record of the `largest` size fits, or it would wait
/// for ever.
fn buffer(t: &mut Translation, largest: i64) {
    let given = t.take_number("buffer.memory", ("LONG", 0)).map(|(bytes, _)| bytes);
    let bytes = given.unwrap_or(DEFAULT_BUFFER_BYTES).max(largest);
    t.set("queue.buffering.max.kbytes", (bytes / 1024 + 1).min(LARGEST_INT).to_string());
    // For each record, librdkafka has about 200 bytes more, which it does not count.
    let records = if given.is_some() { 0 } else { DEFAULT_BUFFER_RECORDS };
    t.set("queue.buffering.max.messages", records.to_string());
}

fn bootstrap_servers(t: &mut Translation) {
    let Some(property) = t.take_text("bootstrap.servers") else {
        t.errors.push(ConfigError::missing("bootstrap.servers"));
        return;
    };
    let mut servers = Vec::new();
    for server in property.value.split(',').map(str::trim).filter(|server| !server.is_empty()) {
        let port = server.rsplit_once(':').and_then(
            |(host, port)| {
                if host.is_empty() { None } else { port.parse::<u16>().ok() }
            },
        );
        if port.is_none() {
            let why = format!("Invalid url in bootstrap.servers: {server}; write host:port");
            t.errors.push(ConfigError::invalid(&property.option, &property.value, why));
            return;
        }
        servers.push(server);
    }
    t.set("bootstrap.servers", servers.join(","));
}

/// Sets a first wait and its limit. librdkafka refuses a limit below the first wait. Java uses the first wait as the
/// limit then.
fn backoff(t: &mut Translation, name: &str, default: i64, range: std::ops::RangeInclusive<i64>) {
    let (first_name, max_name) = (format!("{name}.ms"), format!("{name}.max.ms"));
    let (first, option) = t.take_number(&first_name, ("LONG", 0)).unwrap_or((default, first_name.clone()));
    t.set_limited(&first_name, first, &range, &option);
    let (max, option) = t.take_number(&max_name, ("LONG", 0)).unwrap_or((1_000, max_name.clone()));
    t.set_limited(&max_name, max.max(first), &range, &option);
}

/// Sets the delivery timeout. By default there is none, as in Connect.
fn delivery(t: &mut Translation, linger: i64, request_timeout: i64) {
    match t.take_number("delivery.timeout.ms", ("INT", 0)) {
        Some((timeout, option)) if timeout < LARGEST_INT => {
            if timeout < linger.saturating_add(request_timeout) {
                let why = "should be equal to or larger than linger.ms + request.timeout.ms";
                t.errors.push(ConfigError::invalid(&option, &timeout.to_string(), why));
            }
            t.set("delivery.timeout.ms", timeout.to_string());
        }
        _ => t.set("delivery.timeout.ms", FOR_EVER),
    }
}

fn compression(t: &mut Translation) {
    let kind = t.take_word("compression.type", &["none", "gzip", "snappy", "lz4", "zstd"]);
    let kind = kind.map_or_else(|| "none".to_owned(), |property| property.value);
    for (codec, least) in [("gzip", -1), ("lz4", 1), ("zstd", -131_072)] {
        let level = t.take_number(&format!("compression.{codec}.level"), ("INT", least));
        if let Some((level, option)) = level.filter(|_| codec == kind) {
            t.set_limited("compression.level", level, &(-1..=12), &option);
        }
    }
    t.set("compression.type", kind);
}

/// Sets the partitioner. Records with a key must go to the same partitions as those of Java producers: murmur2, not
/// CRC32.
fn partitioner(t: &mut Translation) {
    let ignore_keys = t.take_word("partitioner.ignore.keys", BOOLEAN).is_some_and(|property| property.value == "true");
    let class = t.take_text("partitioner.class");
    let kind = match class.as_ref().map(|property| property.value.rsplit('.').next().unwrap_or_default()) {
        None | Some("DefaultPartitioner") if !ignore_keys => "murmur2_random",
        None | Some("DefaultPartitioner" | "UniformStickyPartitioner" | "RoundRobinPartitioner") => "random",
        Some(_) => {
            if let Some(property) = class {
                let why = "this worker runs no Java classes; leave it out for Java's default partitioner";
                t.errors.push(ConfigError::invalid(&property.option, &property.value, why));
            }
            return;
        }
    };
    t.set("partitioner", kind);
}

/// Sets idempotence. Connect turns it off and sends one request at a time. Idempotence with up to five requests in
/// flight keeps the same order, with fewer duplicates and more throughput. So it is on, unless the user's options
/// exclude it.
fn idempotence(t: &mut Translation) {
    let wanted = t.take_word("enable.idempotence", BOOLEAN);
    let acks = t.take_word("acks", &["all", "-1", "0", "1"]);
    let in_flight = t.take_number("max.in.flight.requests.per.connection", ("INT", 1));
    let retries = t.take_number("retries", ("INT", 0));
    let acks_all = acks.as_ref().is_none_or(|property| matches!(property.value.as_str(), "all" | "-1"));
    let few = in_flight.as_ref().is_none_or(|(number, _)| *number <= IDEMPOTENT_IN_FLIGHT);
    let retrying = retries.as_ref().is_none_or(|(number, _)| *number > 0);
    let on = match &wanted {
        Some(property) if property.value == "true" => {
            for (fine, why) in [
                (
                    acks_all,
                    "Must set acks to all in order to use the idempotent producer. Otherwise we cannot guarantee idempotence.",
                ),
                (few, "Must set max.in.flight.requests.per.connection to at most 5 to use the idempotent producer."),
                (retrying, "Must set retries to non-zero when using the idempotent producer."),
            ] {
                if !fine {
                    t.errors.push(ConfigError::new(&property.option, why));
                }
            }
            true
        }
        Some(_) => false,
        None => acks_all && few && retrying,
    };
    // Without idempotence, Connect's default keeps the order over retries.
    let default_in_flight = if on { IDEMPOTENT_IN_FLIGHT } else { 1 };
    let (in_flight, option) = in_flight.unwrap_or((default_in_flight, String::new()));
    t.set_limited("max.in.flight.requests.per.connection", in_flight, &(1..=1_000_000), &option);
    t.set("enable.idempotence", on.to_string());
    t.set("acks", acks.map_or_else(|| "all".to_owned(), |property| property.value));
    if let Some((retries, _)) = retries {
        t.set("retries", retries.to_string());
    }
}
