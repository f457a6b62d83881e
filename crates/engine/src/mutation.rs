//! Deliberate bugs, for tests alone: the simulation has to find each of them (`simulation/mutations.rs`). In what ships they are
//! constantly off, so nothing of them is left.

/// A mistake that is easily made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// The first record of a message has the message's cursor.
    CursorBeforeItsMessage,
    /// An offset counts one record of a message less than is stored.
    PartOneLess,
    /// The record that a server sends again is taken for a new one.
    InclusiveDoubleStays,
    /// The numbers of doubles are looked at.
    NumberBeforeDedupe,
    ClampNotTold,
    ResetNotTold,
    /// An attempt to connect that fails forgets since when there is no connection.
    GapBeginsWithEachAttempt,
    /// A stop drops what waits for room in the queue.
    StopForgetsWaiting,
    /// A connection that brought a message counts as one that worked.
    BackoffEndsWithAMessage,
    /// What Kafka has is counted past what it has not.
    CommittedPastAHole,
    /// An acknowledgement of the last link's message is taken for one of this link's.
    NumbersOfMessagesBeginAnew,
    /// A part of a message has the message's own cursor.
    PartBehindItsOwnCursor,
    /// What was seen is forgotten with the connection.
    WindowOfOneConnection,
    /// What is to be asked for is not stored.
    RepairsNotStored,
    /// A restart's gap begins with the last time that offsets were written.
    RestartBeginsWithTheFlush,
    /// What is dropped soon after a loss was told is never told.
    LossesForgotten,
    /// A stop closes before it looks at what Kafka has by now.
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

    /// Does what is wrong, if this bug is on.
    pub(crate) fn does(self, wrong: impl FnOnce()) {
        if self.is_on() {
            wrong();
        }
    }
}

#[cfg(test)]
thread_local! {
    /// The one that is on, on this thread.
    pub(crate) static ON: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}
