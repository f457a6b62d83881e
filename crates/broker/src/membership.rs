//! The APIs over consumer groups.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};
use kafka_protocol::messages::*;
use tokio::time::{Instant, timeout_at};

use super::group::{Group, Joined, Member};
use super::{MAX_GROUPS, MAX_OFFSET_METADATA, NO_TRANSACTIONS, NODE_ID, Node, State, code, millis, text};

impl Node {
    /// FindCoordinator: this node for groups; no coordinator for transactions, which is final for the client.
    pub(super) fn find_coordinator(&self, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
        if request.key_type != 0 {
            return FindCoordinatorResponse::default()
                .with_error_code(ResponseError::TransactionalIdAuthorizationFailed.code())
                .with_error_message(Some(text(NO_TRANSACTIONS)));
        }
        FindCoordinatorResponse::default().with_node_id(NODE_ID).with_host(self.host()).with_port(self.port())
    }

    /// JoinGroup: answers when the rebalance that it starts is over.
    pub(super) async fn join_group(&self, request: JoinGroupRequest, client: &str) -> JoinGroupResponse {
        let group = request.group_id.as_str();
        let mut id = request.member_id.to_string();
        let joined = match self.enter_group(&request, client, &mut id) {
            Ok(()) => self.wait(group, |group| group.joined(&id)).await,
            Err(error) => Err(error),
        };
        let error = code(&joined);
        let Joined { generation, protocol, leader, members } = joined.unwrap_or_default();
        let members = members.into_iter().map(|(id, subscription)| {
            JoinGroupResponseMember::default().with_member_id(text(&id)).with_metadata(subscription)
        });
        JoinGroupResponse::default()
            .with_error_code(error)
            .with_generation_id(generation)
            .with_protocol_name(Some(text(&protocol)))
            .with_leader(text(&leader))
            .with_member_id(text(&id))
            .with_members(members.collect())
    }

    /// Puts the member into its group, under a new id if it has none.
    fn enter_group(&self, request: &JoinGroupRequest, client: &str, id: &mut String) -> Result<(), ResponseError> {
        let now = Instant::now();
        let rebalance_timeout = match request.rebalance_timeout_ms {
            -1 => request.session_timeout_ms, // version 0 has only one of the two
            timeout => timeout,
        };
        if request.session_timeout_ms <= 0 || rebalance_timeout <= 0 {
            return Err(ResponseError::InvalidSessionTimeout);
        }
        let copied = |protocol: &join_group_request::JoinGroupRequestProtocol| {
            (protocol.name.to_string(), Bytes::copy_from_slice(&protocol.metadata))
        };
        let protocols = request.protocols.iter().map(copied).collect();
        let member = Member::new(now, millis(request.session_timeout_ms), millis(rebalance_timeout), protocols);
        let mut state = self.state();
        if id.is_empty() {
            state.last_member += 1;
            *id = format!("{client}-{}", state.last_member);
        } else if !state.group(&request.group_id, now)?.has(id) {
            return Err(ResponseError::UnknownMemberId);
        }
        state.group(&request.group_id, now)?.join(now, id, member)
    }

    /// SyncGroup: a member's assignment, as soon as the leader has sent all of them.
    pub(super) async fn sync_group(&self, request: SyncGroupRequest) -> SyncGroupResponse {
        let (group, id, generation) = (request.group_id.as_str(), request.member_id.as_str(), request.generation_id);
        let assignments = request.assignments.iter();
        let assignments =
            assignments.map(|one| (one.member_id.to_string(), Bytes::copy_from_slice(&one.assignment))).collect();
        let now = Instant::now();
        let accepted = self.state().group(group, now).and_then(|group| group.sync(now, id, generation, assignments));
        let assignment = match accepted {
            Ok(()) => self.wait(group, |group| group.synced(id, generation)).await,
            Err(error) => Err(error),
        };
        SyncGroupResponse::default().with_error_code(code(&assignment)).with_assignment(assignment.unwrap_or_default())
    }

    /// Waits until `answer` has one; the group's own deadlines see to it that this ends.
    async fn wait<T>(
        &self,
        group: &str,
        answer: impl Fn(&Group) -> Option<Result<T, ResponseError>>,
    ) -> Result<T, ResponseError> {
        loop {
            let (mut changes, deadline) = {
                let now = Instant::now();
                let mut state = self.state();
                let group = state.group(group, now)?;
                if let Some(answer) = answer(group) {
                    return answer;
                }
                (group.changes(), group.next_deadline(now))
            };
            // Changed or too late, the group is asked again.
            let _ = timeout_at(deadline, changes.changed()).await;
        }
    }

    /// Heartbeat.
    pub(super) fn heartbeat(&self, request: HeartbeatRequest) -> HeartbeatResponse {
        let now = Instant::now();
        let mut state = self.state();
        let alive = state.group(&request.group_id, now);
        let alive = alive.and_then(|group| group.heartbeat(now, &request.member_id, request.generation_id));
        HeartbeatResponse::default().with_error_code(code(&alive))
    }

    /// LeaveGroup.
    pub(super) fn leave_group(&self, request: LeaveGroupRequest) -> LeaveGroupResponse {
        let now = Instant::now();
        let left = self.state().group(&request.group_id, now).and_then(|group| group.leave(now, &request.member_id));
        LeaveGroupResponse::default().with_error_code(code(&left))
    }

    /// OffsetCommit: for partitions that exist.
    pub(super) fn offset_commit(&self, request: OffsetCommitRequest) -> OffsetCommitResponse {
        let now = Instant::now();
        let mut state = self.state();
        let (id, generation) = (request.member_id.as_str(), request.generation_id_or_member_epoch);
        let allowed = state.group(&request.group_id, now).and_then(|group| group.may_commit(now, id, generation));
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
                let committed = allowed.and_then(|()| {
                    if !state.has_partition(&topic.name, partition.partition_index) {
                        return Err(ResponseError::UnknownTopicOrPartition);
                    }
                    if metadata.len() > MAX_OFFSET_METADATA {
                        return Err(ResponseError::OffsetMetadataTooLarge);
                    }
                    let offset = (partition.committed_offset, metadata.to_owned());
                    state.group(&request.group_id, now)?.commit(&topic.name, partition.partition_index, offset);
                    Ok(())
                });
                OffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code(&committed))
            });
            let partitions = partitions.collect();
            OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
        });
        OffsetCommitResponse::default().with_topics(topics.collect())
    }

    /// OffsetFetch: for the partitions asked for (-1: nothing committed), or all that were committed.
    pub(super) fn offset_fetch(&self, request: OffsetFetchRequest) -> OffsetFetchResponse {
        let mut state = self.state();
        let group = match state.group(&request.group_id, Instant::now()) {
            Ok(group) => group,
            Err(error) => return OffsetFetchResponse::default().with_error_code(error.code()),
        };
        let wanted: Vec<(String, Vec<i32>)> = match request.topics {
            Some(topics) => topics.into_iter().map(|topic| (topic.name.to_string(), topic.partition_indexes)).collect(),
            None => {
                group.committed_partitions().map(|(topic, partition)| (topic.to_owned(), vec![partition])).collect()
            }
        };
        let topics = wanted.into_iter().map(|(topic, partitions)| {
            let partitions = partitions.into_iter().map(|partition| {
                let (offset, metadata) = group.committed(&topic, partition).unwrap_or((-1, ""));
                OffsetFetchResponsePartition::default()
                    .with_partition_index(partition)
                    .with_committed_offset(offset)
                    .with_metadata(Some(text(metadata)))
            });
            let partitions = partitions.collect();
            OffsetFetchResponseTopic::default().with_name(text(&topic).into()).with_partitions(partitions)
        });
        OffsetFetchResponse::default().with_topics(topics.collect())
    }
}

impl State {
    /// The group, up to date, created if need be; the longest unused one without members makes room for it.
    fn group(&mut self, name: &str, now: Instant) -> Result<&mut Group, ResponseError> {
        if !self.groups.contains_key(name) && self.groups.len() >= MAX_GROUPS {
            let idle = self.groups.iter().filter_map(|(name, group)| Some((group.idle_since()?, name.clone())));
            let (_, oldest) = idle.min().ok_or(ResponseError::CoordinatorNotAvailable)?;
            self.groups.remove(&oldest);
        }
        let group = self.groups.entry(name.to_owned()).or_insert_with(|| Group::new(now));
        group.advance(now);
        Ok(group)
    }
}
