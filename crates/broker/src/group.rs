//! A consumer group: the classic protocol (KIP-62), as a state machine over given instants.
//!
//! ```text
//!            join                    all joined, or time is up              leader's sync
//!  Empty ───────────▶ Joining ─────────────────────────────────▶ Syncing ─────────────────▶ Stable
//!                        ▲      join, leave, or a member's silence  │                          │
//!                        └──────────────────────────────────────────┴──────────────────────────┘
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::watch;
use tokio::time::Instant;

/// Members that one group may have.
const MAX_MEMBERS: usize = 100;

/// Kafka calls these Empty, PreparingRebalance, CompletingRebalance and Stable.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    Empty,
    Joining,
    Syncing,
    Stable,
}

/// A group with its members and its committed offsets.
pub(super) struct Group {
    phase: Phase,
    generation: i32,
    protocol: String,
    leader: String,
    members: BTreeMap<String, Member>,
    /// When those who have not joined again are left behind.
    joining_until: Instant,
    /// Last time that a client asked for this group.
    used: Instant,
    changed: watch::Sender<()>,
    /// Committed offset and its metadata, by topic and partition.
    offsets: BTreeMap<(String, i32), (i64, String)>,
}

/// A member: one consumer.
pub(super) struct Member {
    session_timeout: Duration,
    rebalance_timeout: Duration,
    /// Assignment protocols with this member's subscription, preferred first.
    protocols: Vec<(String, Bytes)>,
    assignment: Bytes,
    seen: Instant,
    /// What the broker owes it; its silence is not held against it meanwhile.
    waiting_for: Option<Answer>,
}

#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Join,
    Sync,
}

/// The answer to a join.
#[derive(Default)]
pub(super) struct Joined {
    pub(super) generation: i32,
    pub(super) protocol: String,
    pub(super) leader: String,
    /// Every member with its subscription, for the leader; empty for the others.
    pub(super) members: Vec<(String, Bytes)>,
}

impl Group {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Empty,
            generation: 0,
            protocol: String::new(),
            leader: String::new(),
            members: BTreeMap::new(),
            joining_until: now,
            used: now,
            changed: watch::Sender::new(()),
            offsets: BTreeMap::new(),
        }
    }

    /// Takes `member` in, or in again, and starts a rebalance. `joined` resolves when it is over.
    pub(super) fn join(&mut self, now: Instant, id: &str, member: Member) -> Result<(), ResponseError> {
        let others = || self.members.iter().filter(|(other, _)| *other != id).map(|(_, other)| other);
        if others().count() >= MAX_MEMBERS {
            return Err(ResponseError::GroupMaxSizeReached);
        }
        if !member.protocols.iter().any(|(name, _)| others().all(|other| other.supports(name))) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        self.members.insert(id.to_owned(), member);
        self.rebalance(now);
        self.advance(now);
        Ok(())
    }

    /// The answer to `id`'s join as soon as there is one.
    pub(super) fn joined(&self, id: &str) -> Option<Result<Joined, ResponseError>> {
        let Some(member) = self.members.get(id) else {
            return Some(Err(ResponseError::UnknownMemberId));
        };
        if member.waiting_for == Some(Answer::Join) {
            return None;
        }
        let subscription = |(id, member): (&String, &Member)| (id.clone(), member.subscription(&self.protocol));
        let members = if id == self.leader { self.members.iter().map(subscription).collect() } else { Vec::new() };
        Some(Ok(Joined {
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members,
        }))
    }

    /// Takes the leader's assignments, or notes that a follower waits for its own.
    pub(super) fn sync(
        &mut self,
        now: Instant,
        id: &str,
        generation: i32,
        assignments: Vec<(String, Bytes)>,
    ) -> Result<(), ResponseError> {
        self.heartbeat(now, id, generation)?;
        if self.phase != Phase::Syncing {
            return Ok(());
        }
        if id != self.leader {
            if let Some(member) = self.members.get_mut(id) {
                member.waiting_for = Some(Answer::Sync);
            }
            return Ok(());
        }
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
            }
        }
        for member in self.members.values_mut() {
            (member.waiting_for, member.seen) = (None, now);
        }
        self.enter(Phase::Stable);
        Ok(())
    }

    /// The answer to `id`'s sync as soon as there is one.
    pub(super) fn synced(&self, id: &str, generation: i32) -> Option<Result<Bytes, ResponseError>> {
        let Some(member) = self.members.get(id) else {
            return Some(Err(ResponseError::UnknownMemberId));
        };
        match self.phase {
            _ if generation != self.generation => Some(Err(ResponseError::RebalanceInProgress)),
            Phase::Syncing => None,
            Phase::Stable => Some(Ok(member.assignment.clone())),
            Phase::Empty | Phase::Joining => Some(Err(ResponseError::RebalanceInProgress)),
        }
    }

    /// A sign of life. `RebalanceInProgress` asks the member to join again.
    pub(super) fn heartbeat(&mut self, now: Instant, id: &str, generation: i32) -> Result<(), ResponseError> {
        let member = self.members.get_mut(id).ok_or(ResponseError::UnknownMemberId)?;
        if generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        member.seen = now;
        if self.phase == Phase::Joining { Err(ResponseError::RebalanceInProgress) } else { Ok(()) }
    }

    /// Whether `id` of `generation` may commit offsets: a member may, also while its successors gather; a consumer
    /// without a group (generation -1) only if the group has no members.
    pub(super) fn may_commit(&mut self, now: Instant, id: &str, generation: i32) -> Result<(), ResponseError> {
        if generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        match self.heartbeat(now, id, generation) {
            Err(ResponseError::RebalanceInProgress) => Ok(()),
            Ok(()) if self.phase == Phase::Syncing => Err(ResponseError::RebalanceInProgress),
            verdict => verdict,
        }
    }

    /// Stores an offset, with the consumer's own note.
    pub(super) fn commit(&mut self, topic: &str, partition: i32, offset: (i64, String)) {
        self.offsets.insert((topic.to_owned(), partition), offset);
    }

    /// The committed offset of a partition and its note.
    pub(super) fn committed(&self, topic: &str, partition: i32) -> Option<(i64, &str)> {
        self.offsets.get(&(topic.to_owned(), partition)).map(|(offset, note)| (*offset, note.as_str()))
    }

    /// Topic and partition of every committed offset.
    pub(super) fn committed_partitions(&self) -> impl Iterator<Item = (&str, i32)> {
        self.offsets.keys().map(|(topic, partition)| (topic.as_str(), *partition))
    }

    /// Whether `id` is a member.
    pub(super) fn has(&self, id: &str) -> bool {
        self.members.contains_key(id)
    }

    /// Lets `id` go; the others share its partitions.
    pub(super) fn leave(&mut self, now: Instant, id: &str) -> Result<(), ResponseError> {
        self.members.remove(id).ok_or(ResponseError::UnknownMemberId)?;
        self.rebalance(now);
        self.advance(now);
        Ok(())
    }

    /// Does what is due: drops members that fell silent and ends a rebalance that is complete or out of time. To be
    /// called before any other question.
    pub(super) fn advance(&mut self, now: Instant) {
        self.used = now;
        let before = self.members.len();
        self.members.retain(|_, member| member.waiting_for.is_some() || now < member.seen + member.session_timeout);
        if self.members.len() < before {
            self.rebalance(now);
        }
        if self.phase == Phase::Joining && (now >= self.joining_until || self.members.values().all(Member::has_joined))
        {
            self.members.retain(|_, member| member.has_joined());
            self.begin_generation(now);
        }
    }

    /// When `advance` may have something to do, if nothing is asked before.
    pub(super) fn next_deadline(&self, now: Instant) -> Instant {
        let silent = self
            .members
            .values()
            .filter(|member| member.waiting_for.is_none())
            .map(|member| member.seen + member.session_timeout);
        let joining = (self.phase == Phase::Joining).then_some(self.joining_until);
        silent.chain(joining).min().unwrap_or(now + Duration::from_secs(60))
    }

    /// Notified of every change of phase.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Last use, if nobody is in it: the group that may be forgotten first.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.members.is_empty().then_some(self.used)
    }

    /// Asks everybody to join again, except those who just did.
    fn rebalance(&mut self, now: Instant) {
        if self.members.is_empty() {
            self.generation += 1;
            self.enter(Phase::Empty);
        } else if self.phase != Phase::Joining {
            for member in self.members.values_mut().filter(|member| member.waiting_for == Some(Answer::Sync)) {
                (member.waiting_for, member.seen) = (None, now);
            }
            let patience = self.members.values().map(|member| member.rebalance_timeout).max();
            self.joining_until = now + patience.unwrap_or_default();
            self.enter(Phase::Joining);
        }
    }

    /// Completes all joins: a new generation, whose leader stays leader if it is still there.
    fn begin_generation(&mut self, now: Instant) {
        if !self.members.contains_key(&self.leader) {
            self.leader = self.members.keys().next().cloned().unwrap_or_default();
        }
        let Some(leader) = self.members.get(&self.leader) else {
            return self.rebalance(now);
        };
        let common =
            leader.protocols.iter().find(|(name, _)| self.members.values().all(|member| member.supports(name)));
        self.protocol = common.map(|(name, _)| name.clone()).unwrap_or_default();
        for member in self.members.values_mut() {
            (member.waiting_for, member.seen, member.assignment) = (None, now, Bytes::new());
        }
        self.generation += 1;
        self.enter(Phase::Syncing);
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.changed.send_replace(());
    }
}

impl Member {
    /// A member that asks to join at `now`, with the assignment `protocols` it supports.
    pub(super) fn new(
        now: Instant,
        session_timeout: Duration,
        rebalance_timeout: Duration,
        protocols: Vec<(String, Bytes)>,
    ) -> Self {
        let waiting_for = Some(Answer::Join);
        Self { session_timeout, rebalance_timeout, protocols, assignment: Bytes::new(), seen: now, waiting_for }
    }

    fn has_joined(&self) -> bool {
        self.waiting_for == Some(Answer::Join)
    }

    fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    fn subscription(&self, protocol: &str) -> Bytes {
        let own = self.protocols.iter().find(|(name, _)| name == protocol);
        own.map(|(_, subscription)| subscription.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A consumer that knows `protocols`; silent for 10 s it is gone, and a rebalance waits 60 s for it.
    fn member(now: Instant, protocols: &[&str]) -> Member {
        let protocols = protocols.iter().map(|name| (name.to_string(), Bytes::from(format!("by {name}"))));
        Member::new(now, 10 * SECOND, 60 * SECOND, protocols.collect())
    }

    fn assignments(ids: &[&str]) -> Vec<(String, Bytes)> {
        ids.iter().map(|id| (id.to_string(), Bytes::from(format!("for {id}")))).collect()
    }

    /// Members a (the leader) and b, stable in the generation that is returned.
    fn pair(now: Instant) -> (Group, i32) {
        let mut group = Group::new(now);
        group.join(now, "a", member(now, &["range"])).unwrap();
        group.join(now, "b", member(now, &["range"])).unwrap();
        group.join(now, "a", member(now, &["range"])).unwrap();
        let generation = group.joined("a").unwrap().unwrap().generation;
        group.sync(now, "b", generation, Vec::new()).unwrap();
        group.sync(now, "a", generation, assignments(&["a", "b"])).unwrap();
        (group, generation)
    }

    #[test]
    fn one_member_leads_itself() {
        let now = Instant::now();
        let mut group = Group::new(now);
        group.join(now, "a", member(now, &["range"])).unwrap();
        let joined = group.joined("a").unwrap().unwrap();
        assert_eq!((joined.generation, joined.leader.as_str()), (1, "a"));
        assert_eq!(joined.members, [("a".to_owned(), Bytes::from("by range"))]);
        group.sync(now, "a", 1, assignments(&["a"])).unwrap();
        assert_eq!(group.synced("a", 1), Some(Ok(Bytes::from("for a"))));
    }

    #[test]
    fn a_second_member_waits_until_the_first_has_joined_again() {
        let now = Instant::now();
        let mut group = Group::new(now);
        group.join(now, "a", member(now, &["range"])).unwrap();
        group.sync(now, "a", 1, assignments(&["a"])).unwrap();
        group.join(now, "b", member(now, &["range"])).unwrap();
        assert!(group.joined("b").is_none());
        assert_eq!(group.heartbeat(now, "a", 1), Err(ResponseError::RebalanceInProgress));
        group.join(now, "a", member(now, &["range"])).unwrap();
        let (a, b) = (group.joined("a").unwrap().unwrap(), group.joined("b").unwrap().unwrap());
        assert_eq!((a.generation, b.generation, a.members.len(), b.members.len()), (2, 2, 2, 0));
        group.sync(now, "b", 2, Vec::new()).unwrap();
        assert!(group.synced("b", 2).is_none());
        group.sync(now, "a", 2, assignments(&["a", "b"])).unwrap();
        assert_eq!(group.synced("b", 2), Some(Ok(Bytes::from("for b"))));
        assert_eq!(group.heartbeat(now, "b", 1), Err(ResponseError::IllegalGeneration));
    }

    #[test]
    fn a_silent_member_is_dropped_and_the_other_asked_to_join_again() {
        let now = Instant::now();
        let (mut group, generation) = pair(now);
        group.advance(now + 9 * SECOND);
        group.heartbeat(now + 9 * SECOND, "b", generation).unwrap();
        assert_eq!(group.next_deadline(now), now + 10 * SECOND);
        group.advance(now + 10 * SECOND);
        assert!(!group.has("a"));
        assert_eq!(group.heartbeat(now, "b", generation), Err(ResponseError::RebalanceInProgress));
        group.join(now, "b", member(now, &["range"])).unwrap();
        assert_eq!(group.joined("b").unwrap().unwrap().leader, "b");
    }

    #[test]
    fn a_rebalance_leaves_behind_who_does_not_join_in_time() {
        let now = Instant::now();
        let (mut group, generation) = pair(now);
        group.join(now, "b", member(now, &["range"])).unwrap();
        for second in 1..60 {
            group.advance(now + second * SECOND);
            // Alive, but busy with its last batch.
            assert_eq!(
                group.heartbeat(now + second * SECOND, "a", generation),
                Err(ResponseError::RebalanceInProgress)
            );
            assert!(group.joined("b").is_none());
        }
        group.advance(now + 60 * SECOND);
        assert_eq!(group.joined("b").unwrap().unwrap().members.len(), 1);
        assert!(!group.has("a"));
    }

    #[test]
    fn a_follower_does_not_wait_forever_for_a_lost_leader() {
        let now = Instant::now();
        let (mut group, _) = pair(now);
        group.join(now, "b", member(now, &["range"])).unwrap();
        group.join(now, "a", member(now, &["range"])).unwrap();
        let generation = group.joined("b").unwrap().unwrap().generation;
        group.sync(now, "b", generation, Vec::new()).unwrap();
        assert!(group.synced("b", generation).is_none());
        group.advance(now + 10 * SECOND);
        assert_eq!(group.synced("b", generation), Some(Err(ResponseError::RebalanceInProgress)));
    }

    #[test]
    fn leaving_gives_the_partitions_to_the_others() {
        let now = Instant::now();
        let (mut group, generation) = pair(now);
        group.leave(now, "a").unwrap();
        assert_eq!(group.leave(now, "a"), Err(ResponseError::UnknownMemberId));
        assert_eq!(group.heartbeat(now, "b", generation), Err(ResponseError::RebalanceInProgress));
        group.leave(now, "b").unwrap();
        assert_eq!(group.idle_since(), Some(now));
    }

    #[test]
    fn members_agree_on_a_protocol_or_stay_out() {
        let now = Instant::now();
        let mut group = Group::new(now);
        group.join(now, "a", member(now, &["sticky", "range"])).unwrap();
        let refused = group.join(now, "b", member(now, &["own"]));
        assert_eq!(refused, Err(ResponseError::InconsistentGroupProtocol));
        group.join(now, "b", member(now, &["range"])).unwrap();
        group.join(now, "a", member(now, &["sticky", "range"])).unwrap();
        assert_eq!(group.joined("a").unwrap().unwrap().protocol, "range");
    }

    #[test]
    fn only_members_commit_while_there_are_any() {
        let now = Instant::now();
        assert_eq!(Group::new(now).may_commit(now, "", -1), Ok(()));
        let (mut group, generation) = pair(now);
        assert_eq!(group.may_commit(now, "a", generation), Ok(()));
        assert_eq!(group.may_commit(now, "", -1), Err(ResponseError::UnknownMemberId));
        assert_eq!(group.may_commit(now, "a", generation - 1), Err(ResponseError::IllegalGeneration));
        group.leave(now, "b").unwrap();
        assert_eq!(group.may_commit(now, "a", generation), Ok(()));
    }
}
