//! The APIs over topics: cluster, topics, records, offsets of records.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::*;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::log::Log;
use super::{CLUSTER_ID, MAX_DATA, MAX_PARTITIONS, MAX_WAIT, NODE_ID, Node, State, code, millis, text};

/// `timestamp` values of ListOffsets that are no timestamps.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

impl Node {
    /// Metadata: the topics asked for, created with one partition if the client allows it; all topics if it names none.
    pub(super) fn metadata(&self, request: MetadataRequest, version: i16) -> MetadataResponse {
        let mut state = self.state();
        let all = |topics: &Vec<_>| version == 0 && topics.is_empty();
        let names: Vec<String> = match request.topics.filter(|topics| !all(topics)) {
            Some(topics) => topics.into_iter().flat_map(|topic| topic.name).map(|name| name.to_string()).collect(),
            None => state.topics.keys().cloned().collect(),
        };
        let topics = names.into_iter().map(|name| {
            let created = if version < 4 || request.allow_auto_topic_creation {
                state.ensure_topic(&name, self.retention)
            } else {
                Ok(())
            };
            let partitions =
                created.and_then(|()| state.topics.get(&name).ok_or(ResponseError::UnknownTopicOrPartition));
            MetadataResponseTopic::default()
                .with_error_code(code(&partitions))
                .with_name(Some(text(&name).into()))
                .with_partitions((0..partitions.map_or(0, Vec::len)).map(partition_metadata).collect())
        });
        let topics = topics.collect();
        let broker =
            MetadataResponseBroker::default().with_node_id(NODE_ID).with_host(self.host()).with_port(self.port());
        MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_cluster_id(Some(text(CLUSTER_ID)))
            .with_controller_id(NODE_ID)
            .with_topics(topics)
    }

    /// DescribeCluster: where a Connect worker learns the cluster's id.
    pub(super) fn describe_cluster(&self) -> DescribeClusterResponse {
        let broker =
            DescribeClusterBroker::default().with_broker_id(NODE_ID).with_host(self.host()).with_port(self.port());
        DescribeClusterResponse::default()
            .with_cluster_id(text(CLUSTER_ID))
            .with_controller_id(NODE_ID)
            .with_brokers(vec![broker])
    }

    /// CreateTopics: honours the number of partitions; topic configurations have no effect here.
    pub(super) fn create_topics(&self, request: CreateTopicsRequest) -> CreateTopicsResponse {
        let mut state = self.state();
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = match topic.num_partitions {
                -1 if !topic.assignments.is_empty() => topic.assignments.len(),
                -1 => 1,
                number => usize::try_from(number).unwrap_or(0),
            };
            let created = if state.topics.contains_key(topic.name.as_str()) {
                Err(ResponseError::TopicAlreadyExists)
            } else if !matches!(topic.replication_factor, -1 | 1) {
                Err(ResponseError::InvalidReplicationFactor)
            } else if request.validate_only {
                state.check_topic(&topic.name, partitions)
            } else {
                state.create_topic(&topic.name, partitions, self.retention)
            };
            CreatableTopicResult::default()
                .with_name(topic.name)
                .with_error_code(code(&created))
                .with_error_message(created.err().map(|error| text(&error.to_string())))
        });
        CreateTopicsResponse::default().with_topics(topics.collect())
    }

    /// InitProducerId: an id for an idempotent producer; a transactional one is refused for good.
    pub(super) fn init_producer_id(&self, request: InitProducerIdRequest) -> InitProducerIdResponse {
        if request.transactional_id.is_some() {
            let error = ResponseError::TransactionalIdAuthorizationFailed;
            return InitProducerIdResponse::default().with_error_code(error.code());
        }
        let mut state = self.state();
        state.last_producer += 1;
        InitProducerIdResponse::default().with_producer_id(state.last_producer.into()).with_producer_epoch(0)
    }

    /// Produce: appends, creating the topic with one partition where there is none.
    pub(super) fn produce(&self, request: ProduceRequest) -> ProduceResponse {
        let transactional = request.transactional_id.is_some();
        let mut state = self.state();
        let topics = request.topic_data.into_iter().map(|topic| {
            let partitions = topic.partition_data.iter().map(|partition| {
                let appended = if transactional {
                    Err(ResponseError::TransactionalIdAuthorizationFailed)
                } else {
                    state.ensure_topic(&topic.name, self.retention).and_then(|()| {
                        let log = state.log(&topic.name, partition.index)?;
                        let records = partition.records.as_ref().ok_or(ResponseError::InvalidRecord)?;
                        Ok((log.append(records)?, log.start()))
                    })
                };
                let error = code(&appended);
                let (base, start) = appended.unwrap_or((-1, -1));
                PartitionProduceResponse::default()
                    .with_index(partition.index)
                    .with_error_code(error)
                    .with_base_offset(base)
                    .with_log_start_offset(start)
            });
            let partitions = partitions.collect();
            TopicProduceResponse::default().with_name(topic.name).with_partition_responses(partitions)
        });
        ProduceResponse::default().with_responses(topics.collect())
    }

    /// Fetch: answers as soon as `min_bytes` are there or something is wrong, at the latest after `max_wait_ms`.
    pub(super) async fn fetch(&self, request: FetchRequest) -> FetchResponse {
        let deadline = Instant::now() + millis(request.max_wait_ms).min(MAX_WAIT);
        let appended = Arc::new(Notify::new());
        loop {
            let (topics, enough) = self.read(&request, &appended);
            if enough || Instant::now() >= deadline {
                return FetchResponse::default()
                    .with_responses(topics.into_iter().map(FetchedTopic::response).collect());
            }
            // Elapsed or not, the next round reads again.
            let _ = timeout_at(deadline, appended.notified()).await;
        }
    }

    /// What there is to fetch now, and whether that is enough; if not, `appended` is notified of more.
    fn read(&self, request: &FetchRequest, appended: &Arc<Notify>) -> (Vec<FetchedTopic>, bool) {
        let mut state = self.state();
        let limit = usize::try_from(request.max_bytes).unwrap_or(0).min(MAX_DATA);
        let (mut size, mut failed) = (0, false);
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                // The very first batch goes out whatever its size, so that no reader is stuck (KIP-74).
                let room = limit.saturating_sub(size).max(usize::from(size == 0));
                let room = room.min(usize::try_from(partition.partition_max_bytes).unwrap_or(0));
                let mut answer =
                    PartitionData::default().with_partition_index(partition.partition).with_high_watermark(-1);
                let read = state.log(&topic.topic, partition.partition).and_then(|log| {
                    answer.high_watermark = log.end();
                    answer.log_start_offset = log.start();
                    log.read(partition.fetch_offset, room)
                });
                answer.last_stable_offset = answer.high_watermark;
                answer.error_code = code(&read);
                failed |= read.is_err();
                let batches = read.unwrap_or_default();
                size += batches.iter().map(Bytes::len).sum::<usize>();
                partitions.push((answer, batches));
            }
            topics.push(FetchedTopic { name: topic.topic.clone(), partitions });
        }
        let wanted = usize::try_from(request.min_bytes).unwrap_or(0).min(limit);
        let enough = failed || size >= wanted;
        if !enough {
            for (topic, partition) in
                request.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |partition| (topic, partition)))
            {
                if let Ok(log) = state.log(&topic.topic, partition.partition) {
                    log.wake(appended);
                }
            }
        }
        (topics, enough)
    }

    /// ListOffsets: a partition's start, its end, or where records as young as a timestamp begin.
    pub(super) fn list_offsets(&self, request: ListOffsetsRequest) -> ListOffsetsResponse {
        let mut state = self.state();
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let found = state.log(&topic.name, partition.partition_index).map(|log| match partition.timestamp {
                    LATEST => (-1, log.end()),
                    EARLIEST => (-1, log.start()),
                    timestamp => log.offset_of(timestamp).unwrap_or((-1, -1)),
                });
                let error = code(&found);
                let (timestamp, offset) = found.unwrap_or((-1, -1));
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(error)
                    .with_timestamp(timestamp)
                    .with_offset(offset)
            });
            let partitions = partitions.collect();
            ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }
}

/// A topic's part of a Fetch answer before its batches are joined, which needs no lock.
struct FetchedTopic {
    name: TopicName,
    partitions: Vec<(PartitionData, Vec<Bytes>)>,
}

impl FetchedTopic {
    fn response(self) -> FetchableTopicResponse {
        let partitions =
            self.partitions.into_iter().map(|(partition, batches)| partition.with_records(Some(joined(batches))));
        FetchableTopicResponse::default().with_topic(self.name).with_partitions(partitions.collect())
    }
}

fn joined(mut batches: Vec<Bytes>) -> Bytes {
    if batches.len() == 1 {
        return batches.remove(0);
    }
    let mut bytes = BytesMut::with_capacity(batches.iter().map(Bytes::len).sum());
    batches.iter().for_each(|batch| bytes.extend_from_slice(batch));
    bytes.freeze()
}

fn partition_metadata(index: usize) -> MetadataResponsePartition {
    MetadataResponsePartition::default()
        .with_partition_index(index as i32) // below MAX_PARTITIONS
        .with_leader_id(NODE_ID)
        .with_leader_epoch(0)
        .with_replica_nodes(vec![NODE_ID])
        .with_isr_nodes(vec![NODE_ID])
}

impl State {
    fn log(&mut self, topic: &str, partition: i32) -> Result<&mut Log, ResponseError> {
        let logs = self.topics.get_mut(topic);
        let log = logs.zip(usize::try_from(partition).ok()).and_then(|(logs, partition)| logs.get_mut(partition));
        log.ok_or(ResponseError::UnknownTopicOrPartition)
    }

    /// Whether `topic` has this partition.
    pub(super) fn has_partition(&self, topic: &str, partition: i32) -> bool {
        self.topics
            .get(topic)
            .is_some_and(|logs| usize::try_from(partition).is_ok_and(|partition| partition < logs.len()))
    }

    fn ensure_topic(&mut self, name: &str, retention: usize) -> Result<(), ResponseError> {
        if self.topics.contains_key(name) { Ok(()) } else { self.create_topic(name, 1, retention) }
    }

    fn create_topic(&mut self, name: &str, partitions: usize, retention: usize) -> Result<(), ResponseError> {
        self.check_topic(name, partitions)?;
        self.topics.insert(name.to_owned(), (0..partitions).map(|_| Log::new(retention)).collect());
        Ok(())
    }

    /// Kafka's rules for names, and our bound on partitions.
    fn check_topic(&self, name: &str, partitions: usize) -> Result<(), ResponseError> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > 249 || matches!(name, "." | "..") || !name.bytes().all(legal) {
            return Err(ResponseError::InvalidTopicException);
        }
        let present: usize = self.topics.values().map(Vec::len).sum();
        match partitions {
            0 => Err(ResponseError::InvalidPartitions),
            _ if present.saturating_add(partitions) > MAX_PARTITIONS => Err(ResponseError::PolicyViolation),
            _ => Ok(()),
        }
    }
}
