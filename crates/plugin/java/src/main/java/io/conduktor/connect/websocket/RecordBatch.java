package io.conduktor.connect.websocket;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.connect.source.SourceRecord;

/** The direct buffer that the native half fills, and the records made from it. Its layout stands in {@code batch.rs}. */
final class RecordBatch {
    /** Holds every batch of the engine but those of one very large message. */
    private static final int USUAL_CAPACITY = 512 << 10;

    /** Behind whether log lines wait. */
    private static final int FIRST_RECORD = Byte.BYTES;

    private ByteBuffer buffer = ByteBuffer.allocateDirect(USUAL_CAPACITY);
    private Wire wire = new Wire(buffer);

    ByteBuffer buffer() {
        return buffer;
    }

    /** Makes room for a batch of {@code size} bytes. */
    void grow(int size) {
        buffer = ByteBuffer.allocateDirect(size);
        wire = new Wire(buffer);
    }

    /** Whether the native half had log lines when the last poll came back. */
    boolean logLinesWait() {
        return buffer.get(0) != 0;
    }

    List<SourceRecord> read(
            int count, String topic, Partitions partitions, String sessionId, Acknowledgements acknowledgements) {
        List<SourceRecord> records = new ArrayList<>(count);
        // After the kind of the first record.
        long first = buffer.getLong(FIRST_RECORD + Byte.BYTES);
        Acknowledgements.Batch batch = acknowledgements.polled(first + count - 1, count);
        buffer.position(FIRST_RECORD);
        // Records that were read together share this object.
        Long received = null;
        for (int i = 0; i < count; i++) {
            int kind = buffer.get() & 0xff;
            long sequence = buffer.getLong();
            long millis = buffer.getLong();
            if (received == null || received != millis) {
                received = millis;
            }
            Wire.Parts parts = wire.parts(kind);
            records.add(new SourceRecord(
                    partitions.of(parts.partition),
                    new SourceOffset(sessionId, sequence, received, parts, batch),
                    parts.topic == null ? topic : parts.topic,
                    null,
                    parts.keySchema,
                    parts.key,
                    Wire.valueSchema(kind),
                    wire.value(kind),
                    parts.timestamp == null ? received : parts.timestamp,
                    parts.headers));
        }
        if (buffer.capacity() > USUAL_CAPACITY) {
            grow(USUAL_CAPACITY);
        }
        return records;
    }
}
