//! Deliberate bugs, for tests only: the simulation has to find each of them (`simulation/mutations.rs`). In other
//! builds they are always off, so the compiler removes them.

/// A mistake that is easily made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// The first record of a message has the message's cursor.
    CursorBeforeItsMessage,
    /// An offset counts one record of a message too few.
    PartOneLess,
    /// The record that a server sends again counts as a new one.
    InclusiveDoubleStays,
    /// The numbers of duplicates are checked.
    NumberBeforeDedupe,
    ClampNotTold,
    ResetNotTold,
    /// A failed attempt to connect forgets since when there is no connection.
    GapBeginsWithEachAttempt,
    /// A stop drops records that wait for room in the queue.
    StopForgetsWaiting,
    /// A connection with a message counts as one that has worked.
    BackoffEndsWithAMessage,
    /// Records count as committed although Kafka does not have one before them.
    CommittedPastAHole,
    /// An acknowledgement for a message of the last connection counts for one of this connection.
    NumbersOfMessagesBeginAnew,
    /// A part of a message has the message's own cursor.
    PartBehindItsOwnCursor,
    /// The keys of duplicates are forgotten with the connection.
    WindowOfOneConnection,
    /// Unrepaired gaps are not stored.
    RepairsNotStored,
    /// A restart's gap begins when offsets were last written.
    RestartBeginsWithTheFlush,
    /// Losses soon after a reported loss are never reported.
    LossesForgotten,
    /// A stop closes the connection before it checks what Kafka has.
    StopClosesAtOnce,
}

impl Mutation {
    #[cfg(test)]
    pub(crate) const ALL: [Mutation; 17] = [
        Mutation::CursorBeforeItsMessage,
        Mutation::PartOneLess,
        Mutation::InclusiveDoubleStays,
        Mutation::NumberBeforeDedupe,
        Mutation::ClampNotTold,
        Mutation::ResetNotTold,
        Mutation::GapBeginsWithEachAttempt,
        Mutation::StopForgetsWaiting,
        Mutation::BackoffEndsWithAMessage,
        Mutation::CommittedPastAHole,
        Mutation::NumbersOfMessagesBeginAnew,
        Mutation::PartBehindItsOwnCursor,
        Mutation::WindowOfOneConnection,
        Mutation::RepairsNotStored,
        Mutation::RestartBeginsWithTheFlush,
        Mutation::LossesForgotten,
        Mutation::StopClosesAtOnce,
    ];

    #[cfg(not(test))]
    pub(crate) const fn is_on(self) -> bool {
        false
    }

    #[cfg(test)]
    pub(crate) fn is_on(self) -> bool {
        ON.get() == Some(self)
    }

    /// Calls `wrong` if this bug is on.
    pub(crate) fn does(self, wrong: impl FnOnce()) {
        if self.is_on() {
            wrong();
        }
    }
}

#[cfg(test)]
thread_local! {
    /// The bug that is on in this thread.
    pub(crate) static ON: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}
