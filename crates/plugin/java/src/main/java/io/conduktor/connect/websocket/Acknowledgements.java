package io.conduktor.connect.websocket;

import java.util.ArrayDeque;
import java.util.Deque;

/**
 * Up to which sequence Kafka has every record. Connect reports each record separately, in the order of its producer's
 * acknowledgements. With several partitions, that is not the order in which the records were polled.
 */
final class Acknowledgements {
    /** Polled, oldest first; bounded by what Connect's producer takes. */
    private final Deque<Batch> open = new ArrayDeque<>();

    private Progress progress = new Progress(-1, 0, 0);

    /** How far Kafka is at one moment. */
    static final class Progress {
        /** Kafka has all records up to this sequence, but for those that were left out; -1 is none. */
        final long sequence;
        /** Since when, milliseconds since the epoch. */
        final long atMillis;
        /** How many of them were left out, by a transformation or {@code errors.tolerance}. */
        final long leftOut;

        private Progress(long sequence, long atMillis, long leftOut) {
            this.sequence = sequence;
            this.atMillis = atMillis;
            this.leftOut = leftOut;
        }
    }

    /** Records that were polled together. */
    static final class Batch {
        private final long lastSequence;
        private int unanswered;
        private int leftOut;

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

    /** One more record of this batch is in Kafka, or was left out. */
    synchronized void answered(Batch batch, boolean inKafka) {
        if (!inKafka) {
            batch.leftOut++;
        }
        if (--batch.unanswered == 0) {
            while (!open.isEmpty() && open.getFirst().unanswered <= 0) {
                Batch done = open.removeFirst();
                progress = new Progress(done.lastSequence, System.currentTimeMillis(), progress.leftOut + done.leftOut);
            }
        }
    }

    /** How many records were polled and are neither in Kafka, as far as it is known, nor left out. */
    synchronized long unanswered() {
        long records = 0;
        for (Batch batch : open) {
            records += batch.unanswered;
        }
        return records;
    }

    synchronized Progress progress() {
        return progress;
    }
}
