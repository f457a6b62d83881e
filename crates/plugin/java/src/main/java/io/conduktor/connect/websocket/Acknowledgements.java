package io.conduktor.connect.websocket;

import java.util.ArrayDeque;
import java.util.Deque;

/**
 * How far Kafka is: every record up to a sequence. Connect tells of each record alone, in the order of its producer's answers;
 * of a topic with several partitions that is not the order in which they were polled.
 */
final class Acknowledgements {
    /** Polled, oldest first; bounded by what Connect's producer takes. */
    private final Deque<Batch> open = new ArrayDeque<>();

    private long sequence = -1;
    private long atMillis;

    /** Records that were polled together. */
    static final class Batch {
        private final long lastSequence;
        private int unanswered;

        private Batch(long lastSequence, int records) {
            this.lastSequence = lastSequence;
            this.unanswered = records;
        }
    }

    synchronized Batch polled(long lastSequence, int records) {
        Batch batch = new Batch(lastSequence, records);
        open.addLast(batch);
        return batch;
    }

    /** One more record of this batch is in Kafka, or was left out by a transformation or {@code errors.tolerance}. */
    synchronized void acknowledged(Batch batch) {
        if (--batch.unanswered == 0) {
            while (!open.isEmpty() && open.getFirst().unanswered <= 0) {
                sequence = open.removeFirst().lastSequence;
                atMillis = System.currentTimeMillis();
            }
        }
    }

    /** Kafka has all up to this sequence; -1 is none. */
    synchronized long sequence() {
        return sequence;
    }

    /** Since when, milliseconds since the epoch. */
    synchronized long atMillis() {
        return atMillis;
    }
}
