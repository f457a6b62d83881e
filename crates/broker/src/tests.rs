use std::collections::BTreeSet;
use std::time::Duration as Span;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::runtime::Runtime;

use super::*;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const PATIENCE: Span = Span::from_secs(30);
const STEP: Span = Span::from_millis(50);

/// A broker on a runtime of its own, so that the clients' blocking calls do not stop it.
struct Fixture {
    runtime: Runtime,
    broker: Broker,
}

impl Fixture {
    fn start(retention: usize) -> Self {
        let runtime = Runtime::new().unwrap();
        let broker = runtime.block_on(Broker::start(ANY_PORT, retention)).unwrap();
        Self { runtime, broker }
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.broker.addr().to_string());
        config
    }

    fn consumer(&self, group: &str) -> BaseConsumer {
        let mut config = self.config();
        config.set("group.id", group).set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
        config.set("session.timeout.ms", "6000").set("heartbeat.interval.ms", "100").create().unwrap()
    }

    fn create_topic(&self, name: &str, partitions: i32) {
        let admin: AdminClient<_> = self.config().create().unwrap();
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let created = self.runtime.block_on(admin.create_topics([&topic], &AdminOptions::new())).unwrap();
        assert_eq!(created, [Ok(name.to_owned())]);
    }

    /// Produces the numbers of `range` as text, idempotently.
    fn produce(&self, topic: &str, partition: i32, range: std::ops::Range<u32>, options: &[(&str, &str)]) {
        let mut config = self.config();
        config.set("enable.idempotence", "true").set("message.timeout.ms", "20000");
        options.iter().for_each(|(key, value)| {
            config.set(*key, *value);
        });
        let producer: BaseProducer = config.create().unwrap();
        for number in range {
            let value = number.to_string();
            producer.send(BaseRecord::<(), _>::to(topic).partition(partition).payload(&value)).unwrap();
            producer.poll(Span::ZERO);
        }
        producer.flush(PATIENCE).unwrap();
        assert_eq!(producer.in_flight_count(), 0);
    }
}

fn number<M: Message>(message: &M) -> u32 {
    std::str::from_utf8(message.payload().unwrap()).unwrap().parse().unwrap()
}

/// The next `count` messages of the consumer: offset and number.
fn take(consumer: &BaseConsumer, count: usize) -> Vec<(i64, u32)> {
    let deadline = std::time::Instant::now() + PATIENCE;
    let mut messages = Vec::new();
    while messages.len() < count {
        assert!(std::time::Instant::now() < deadline, "{} of {count} messages came", messages.len());
        if let Some(message) = consumer.poll(STEP) {
            let message = message.unwrap();
            messages.push((message.offset(), number(&message)));
        }
    }
    messages
}

/// All members' partitions, once each member has `share` of them.
fn partitions_when_each_has(members: &[BaseConsumer], share: usize) -> BTreeSet<i32> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        for member in members {
            assert!(member.poll(STEP).is_none());
        }
        let shares = members.iter().map(|member| member.assignment().unwrap());
        let shares: Vec<TopicPartitionList> = shares.collect();
        if shares.iter().all(|one| one.count() == share) {
            let elements = shares.iter().flat_map(|one| one.elements());
            return elements.map(|element| element.partition()).collect();
        }
        assert!(std::time::Instant::now() < deadline, "the partitions are not shared: {shares:?}");
    }
}

fn assign(consumer: &BaseConsumer, topic: &str, offset: Offset) {
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, offset).unwrap();
    consumer.assign(&partitions).unwrap();
}

#[test]
fn numbered_messages_arrive_in_order_with_every_compression() {
    let fixture = Fixture::start(64 << 20);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        fixture.produce(codec, 0, 0..10_000, &[("compression.type", codec)]);
        let consumer = fixture.consumer("reader");
        assign(&consumer, codec, Offset::Beginning);
        let expected: Vec<_> = (0..10_000).map(|number| (i64::from(number), number)).collect();
        assert!(take(&consumer, 10_000) == expected, "{codec}");
    }
}

#[test]
fn a_reader_at_the_end_gets_what_comes_later() {
    let fixture = Fixture::start(1 << 20);
    fixture.create_topic("tail", 1);
    let consumer = fixture.consumer("tail");
    assign(&consumer, "tail", Offset::End);
    assert!(consumer.poll(Span::from_millis(500)).is_none());
    fixture.produce("tail", 0, 7..8, &[]);
    assert_eq!(take(&consumer, 1), [(0, 7)]);
}

#[test]
fn offsets_can_be_listed_and_sought() {
    let fixture = Fixture::start(1 << 20);
    fixture.produce("seek", 0, 0..1000, &[("batch.num.messages", "10")]);
    let consumer = fixture.consumer("seek");
    assert_eq!(consumer.fetch_watermarks("seek", 0, PATIENCE).unwrap(), (0, 1000));
    assign(&consumer, "seek", Offset::Offset(500));
    assert_eq!(take(&consumer, 1), [(500, 500)]);
    consumer.seek("seek", 0, Offset::Offset(995), PATIENCE).unwrap();
    assert_eq!(take(&consumer, 5).last(), Some(&(999, 999)));

    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset("seek", 0, Offset::Offset(1)).unwrap();
    let found = consumer.offsets_for_times(partitions.clone(), PATIENCE).unwrap();
    assert_eq!(found.elements()[0].offset(), Offset::Offset(0));
    partitions.set_partition_offset("seek", 0, Offset::Offset(i64::MAX)).unwrap();
    let found = consumer.offsets_for_times(partitions, PATIENCE).unwrap();
    assert_eq!(found.elements()[0].offset(), Offset::End);
}

#[test]
fn the_oldest_batches_go_when_the_cap_is_reached() {
    let fixture = Fixture::start(20_000);
    fixture.produce("capped", 0, 0..10_000, &[("batch.num.messages", "50")]);
    let consumer = fixture.consumer("capped");
    let (low, high) = consumer.fetch_watermarks("capped", 0, PATIENCE).unwrap();
    assert_eq!(high, 10_000);
    assert!(low > 5_000, "{low}");
    assign(&consumer, "capped", Offset::Offset(3));
    let kept: Vec<_> = (low..high).map(|offset| (offset, offset as u32)).collect();
    assert_eq!(take(&consumer, kept.len()), kept);
}

#[test]
fn two_members_share_the_partitions_and_the_last_one_takes_over() {
    let fixture = Fixture::start(1 << 20);
    fixture.create_topic("shared", 2);
    let members = [fixture.consumer("pair"), fixture.consumer("pair")];
    members.iter().for_each(|member| member.subscribe(&["shared"]).unwrap());
    assert_eq!(partitions_when_each_has(&members, 1), BTreeSet::from([0, 1]));

    fixture.produce("shared", 0, 0..10, &[]);
    fixture.produce("shared", 1, 10..20, &[]);
    for member in &members {
        assert_eq!(take(member, 10).len(), 10);
        member.commit_consumer_state(CommitMode::Sync).unwrap();
    }
    let [left, stays] = members;
    drop(left);
    assert_eq!(partitions_when_each_has(std::slice::from_ref(&stays), 2), BTreeSet::from([0, 1]));

    // Whoever comes next goes on where the group stood.
    drop(stays);
    fixture.produce("shared", 1, 20..21, &[]);
    let next = fixture.consumer("pair");
    next.subscribe(&["shared"]).unwrap();
    assert_eq!(take(&next, 1), [(10, 20)]);
}

#[test]
fn transactions_are_refused() {
    let fixture = Fixture::start(1 << 20);
    let mut config = fixture.config();
    let producer: BaseProducer = config.set("transactional.id", "t").create().unwrap();
    let refusal = producer.init_transactions(PATIENCE).unwrap_err().to_string();
    assert!(refusal.contains("authorization"), "{refusal}");
}

#[tokio::test]
async fn only_a_free_loopback_port_is_taken() {
    let public = Broker::start(([0, 0, 0, 0], 0).into(), 1 << 20).await;
    assert!(matches!(public, Err(StartError::NotLoopback(_))));
    let broker = Broker::start(ANY_PORT, 1 << 20).await.unwrap();
    let again = Broker::start(broker.addr(), 1 << 20).await;
    assert!(matches!(again, Err(StartError::PortInUse(addr)) if addr == broker.addr()));
    let addr = broker.addr();
    broker.stop().await;
    Broker::start(addr, 1 << 20).await.unwrap();
}

#[tokio::test]
async fn stopping_closes_the_connections() {
    let broker = Broker::start(ANY_PORT, 1 << 20).await.unwrap();
    let mut client = TcpStream::connect(broker.addr()).await.unwrap();
    assert_eq!(exchange(&mut client, &API_VERSIONS_0).await[..4], [0, 0, 0, 5]);
    broker.stop().await;
    let end = client.read(&mut [0]).await;
    assert!(!matches!(end, Ok(1..)), "{end:?}");
}

/// An ApiVersions request, version 0, correlation id 5, no client id; framed.
const API_VERSIONS_0: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 5, 0xff, 0xff];

async fn exchange(client: &mut TcpStream, frame: &[u8]) -> Vec<u8> {
    client.write_all(frame).await.unwrap();
    let size = client.read_i32().await.unwrap();
    let mut answer = vec![0; size as usize];
    client.read_exact(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn an_unknown_version_of_api_versions_is_told_the_known_ones() {
    let broker = Broker::start(ANY_PORT, 1 << 20).await.unwrap();
    let mut client = TcpStream::connect(broker.addr()).await.unwrap();
    let mut newer = API_VERSIONS_0;
    newer[7] = 99;
    let answer = exchange(&mut client, &newer).await;
    // Version 0: correlation id, error code, number of APIs.
    assert_eq!(answer[..10], [0, 0, 0, 5, 0, 35, 0, 0, 0, APIS.len() as u8]);
}

#[tokio::test]
async fn what_is_no_request_closes_only_its_own_connection() {
    let broker = Broker::start(ANY_PORT, 1 << 20).await.unwrap();
    let mut good = TcpStream::connect(broker.addr()).await.unwrap();
    let bad: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 64],
        &[0, 0, 0, 3, 0, 18, 0, 0],
        // An API that is not offered; Metadata that claims 2^31 - 1 topics.
        &[0, 0, 0, 10, 0, 99, 0, 0, 0, 0, 0, 5, 0xff, 0xff],
        &[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 5, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff],
    ];
    for bytes in bad {
        let mut client = TcpStream::connect(broker.addr()).await.unwrap();
        client.write_all(bytes).await.unwrap();
        let end = client.read(&mut [0]).await;
        assert!(!matches!(end, Ok(1..)), "{bytes:?}: {end:?}");
    }
    assert_eq!(exchange(&mut good, &API_VERSIONS_0).await[..4], [0, 0, 0, 5]);
}

#[tokio::test]
async fn connections_are_bounded() {
    let broker = Broker::start(ANY_PORT, 1 << 20).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut client = TcpStream::connect(broker.addr()).await.unwrap();
        exchange(&mut client, &API_VERSIONS_0).await;
        clients.push(client);
    }
    let mut refused = TcpStream::connect(broker.addr()).await.unwrap();
    assert!(!matches!(refused.read(&mut [0]).await, Ok(1..)));
}

fn node() -> Node {
    Node { addr: ([127, 0, 0, 1], 9092).into(), retention: 1 << 20, state: Mutex::default() }
}

#[tokio::test]
async fn random_bodies_never_panic() {
    let node = node();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..200_000 {
        let (api, low, high) = APIS[random() as usize % APIS.len()];
        let version = low + (random() % (high - low + 1) as u64) as i16;
        let mut request = BytesMut::new();
        request.put_i16(api as i16);
        request.put_i16(version);
        request.put_i32(round);
        request.put_i16(-1);
        for _ in 0..random() % 80 {
            // Mostly small numbers, so that lengths fit and the walk gets somewhere.
            request.put_u8(if random() % 8 == 0 {
                random() as u8
            } else {
                (random() % 3) as u8 * (random() % 2) as u8
            });
        }
        // One poll is enough: what waits has been decoded.
        tokio::select! {
            biased;
            answer = node.answer(request.freeze()) => drop(answer),
            () = std::future::ready(()) => {}
        }
    }
}

#[tokio::test]
async fn every_offered_version_can_be_answered() {
    fn check<R: Encodable + HeaderVersion + kafka_protocol::protocol::Message>(
        api: ApiKey,
        response: impl Fn(i16) -> R,
    ) {
        let (_, low, high) = APIS.into_iter().find(|(offered, ..)| *offered == api).unwrap();
        for version in low.max(R::VERSIONS.min)..=high {
            let call = Call { correlation: 1, version, body: Bytes::new() };
            call.reply(&response(version)).unwrap_or_else(|error| panic!("{api:?} version {version}: {error}"));
        }
    }
    let node = node();
    let topic = || text("numbers");
    node.metadata(
        MetadataRequest::default()
            .with_topics(Some(vec![metadata_request::MetadataRequestTopic::default().with_name(Some(topic().into()))])),
        0,
    );
    check(ApiKey::Metadata, |version| {
        let response = node.metadata(MetadataRequest::default().with_topics(None), version);
        assert_eq!(response.topics.len(), 1);
        response
    });
    check(ApiKey::ApiVersions, |_| api_versions(None));
    check(ApiKey::DescribeCluster, |_| node.describe_cluster());
    let data = produce_request::TopicProduceData::default()
        .with_name(topic().into())
        .with_partition_data(vec![Default::default()]);
    check(ApiKey::Produce, |_| node.produce(ProduceRequest::default().with_topic_data(vec![data.clone()])));
    let data =
        fetch_request::FetchTopic::default().with_topic(topic().into()).with_partitions(vec![Default::default()]);
    let fetched = node.fetch(FetchRequest::default().with_topics(vec![data])).await;
    check(ApiKey::Fetch, |_| fetched.clone());
    let data = list_offsets_request::ListOffsetsTopic::default()
        .with_name(topic().into())
        .with_partitions(vec![Default::default()]);
    check(ApiKey::ListOffsets, |_| node.list_offsets(ListOffsetsRequest::default().with_topics(vec![data.clone()])));
    let data = create_topics_request::CreatableTopic::default().with_name(text("new").into());
    check(ApiKey::CreateTopics, |_| node.create_topics(CreateTopicsRequest::default().with_topics(vec![data.clone()])));
    check(ApiKey::InitProducerId, |_| {
        node.init_producer_id(InitProducerIdRequest::default().with_transactional_id(None))
    });
    check(ApiKey::FindCoordinator, |_| node.find_coordinator(FindCoordinatorRequest::default()));
    check(ApiKey::FindCoordinator, |_| node.find_coordinator(FindCoordinatorRequest::default().with_key_type(1)));
    let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name(text("range"));
    let join = JoinGroupRequest::default().with_session_timeout_ms(9000).with_protocols(vec![protocol]);
    let joined = node.join_group(join, "client").await;
    assert_eq!((joined.error_code, joined.members.len()), (0, 1));
    check(ApiKey::JoinGroup, |_| joined.clone());
    let sync =
        SyncGroupRequest::default().with_member_id(joined.member_id.clone()).with_generation_id(joined.generation_id);
    let synced = node.sync_group(sync).await;
    assert_eq!(synced.error_code, 0);
    check(ApiKey::SyncGroup, |_| synced.clone());
    check(ApiKey::Heartbeat, |_| node.heartbeat(HeartbeatRequest::default()));
    let data = offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(topic().into())
        .with_partitions(vec![Default::default()]);
    let commit = OffsetCommitRequest::default().with_member_id(joined.member_id.clone()).with_topics(vec![data]);
    let commit = commit.with_generation_id_or_member_epoch(joined.generation_id);
    check(ApiKey::OffsetCommit, |_| {
        let response = node.offset_commit(commit.clone());
        assert_eq!(response.topics[0].partitions[0].error_code, 0);
        response
    });
    check(ApiKey::OffsetFetch, |_| {
        let response = node.offset_fetch(OffsetFetchRequest::default().with_topics(None));
        assert_eq!(response.topics[0].partitions[0].committed_offset, 0);
        response
    });
    check(ApiKey::LeaveGroup, |_| node.leave_group(LeaveGroupRequest::default()));
}
