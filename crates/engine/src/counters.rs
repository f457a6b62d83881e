//! What a task counts, one row each. [`crate::figures`] shows the rows, [`crate::metrics`] has the numbers.

/// The host that shows a figure. In the other it would always be 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    Worker,
    Plugin,
}

/// How a counter is shown.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) counter: Counter,
    /// The figure's name.
    pub(crate) name: &'static str,
    /// The value of the label `cause`, if the figure is split by it.
    pub(crate) cause: Option<&'static str>,
    /// The only host that shows it. `None`: both.
    pub(crate) only: Option<Host>,
    pub(crate) help: &'static str,
}

macro_rules! optional {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

/// Defines [`Counter`] and its rows: the counter, the figure's name with an optional cause, an optional host that alone
/// shows it, and the meaning.
macro_rules! counters {
    ($($counter:ident $name:literal $(cause $cause:literal)? $(only $host:ident)?: $help:literal;)*) => {
        /// What a task counts from its start.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Counter {
            $(#[doc = $help] $counter,)*
        }

        /// In the order of [`Counter`].
        pub(crate) const ROWS: &[Row] = &[$(Row {
            counter: Counter::$counter,
            name: $name,
            cause: optional!($($cause)?),
            only: optional!($(Host::$host)?),
            help: $help,
        },)*];
    };
}

counters! {
    MessagesReceived "messages_received_total": "messages received";
    BytesReceived "received_bytes_total": "bytes of messages received, decompressed";
    RecordsPolled "records_polled_total": "records given to Kafka Connect, or to the worker's converter";
    RecordsCommitted "records_committed_total": "records that Kafka has acknowledged, together with all records before them";
    RecordsSkipped "records_skipped_total":
        "records that a converter, a transformation or Kafka refused and that were left out: they are lost";
    RecordsFiltered "records_filtered_total" only Plugin: "records that a transformation left out, as configured";
    RecordsTakenOver "records_taken_over_total": "records read from a hand-over file";
    RecordsLeftBehind "records_left_behind_total" only Worker:
        "received records that were neither in Kafka nor in a hand-over file when the task ended: they are lost";
    MessagesDroppedOldest "messages_dropped_total" cause "queue_full_oldest": "messages that were not written as records";
    MessagesDroppedNewest "messages_dropped_total" cause "queue_full_newest": "messages that were not written as records";
    BinaryMessagesSkipped "messages_dropped_total" cause "binary_skipped": "messages that were not written as records";
    MessagesWithoutRecord "messages_dropped_total" cause "no_record": "messages that were not written as records";
    MessagesFiltered "messages_dropped_total" cause "filtered": "messages that were not written as records";
    MessagesIncomplete "messages_dropped_total" cause "incomplete": "messages that were not written as records";
    MessagesTooLarge "messages_dropped_total" cause "too_large": "messages that were not written as records";
    MessagesDuplicate "messages_dropped_total" cause "duplicate": "messages that were not written as records";
    Connections "connections_total": "connections opened";
    MessagesBackfilled "backfilled_records_total": "records fetched from the feed's history to fill gaps";
    MessagesMissed "gap_missed_messages_total": "messages known to be missing in gaps";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_index_their_own_row() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(row.counter as usize, index, "{row:?}");
        }
    }
}
