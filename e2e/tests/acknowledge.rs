//! Feeds that want acknowledgements, with `connect-websocket` as host; the scenarios are in [`connect_websocket_e2e::acknowledged`].

use connect_websocket_e2e::{Kafka, Worker, acknowledged_tests};

acknowledged_tests! { Worker, |kafka: &Kafka| Worker::builder(&kafka.bootstrap()).start() }
