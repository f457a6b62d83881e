package io.conduktor.connect.websocket;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.source.SourceRecord;

/** The direct buffer that the native half fills, and the records made from it. Its layout stands in {@code batch.rs}. */
final class RecordBatch {
    /** Holds every batch of the engine but those of one very large message. */
    private static final int USUAL_CAPACITY = 512 << 10;

    private static final byte STRING = 0;

    private ByteBuffer buffer = allocate(USUAL_CAPACITY);
    private byte[] scratch = new byte[4096];

    ByteBuffer buffer() {
        return buffer;
    }

    /** Makes room for a batch of {@code size} bytes. */
    void grow(int size) {
        buffer = allocate(size);
    }

    /** Whether the native half had log lines when the last poll came back. */
    boolean logLinesWait() {
        return buffer.get(0) != 0;
    }

    List<SourceRecord> read(
            int count, String topic, Map<String, String> partition, String sessionId, Acknowledgements acknowledgements) {
        List<SourceRecord> records = new ArrayList<>(count);
        buffer.position(Byte.BYTES);
        long sequence = buffer.getLong();
        Acknowledgements.Batch batch = acknowledgements.polled(sequence + count - 1, count);
        // Records that were read together have one, and share the object.
        Long timestamp = null;
        for (int i = 0; i < count; i++, sequence++) {
            long millis = buffer.getLong();
            if (timestamp == null || timestamp != millis) {
                timestamp = millis;
            }
            boolean text = buffer.get() == STRING;
            int length = buffer.getInt();
            records.add(new SourceRecord(
                    partition,
                    new SourceOffset(sessionId, sequence, batch),
                    topic,
                    null,
                    null,
                    null,
                    text ? Schema.STRING_SCHEMA : Schema.BYTES_SCHEMA,
                    text ? text(length) : bytes(length),
                    timestamp));
        }
        if (buffer.capacity() > USUAL_CAPACITY) {
            buffer = allocate(USUAL_CAPACITY);
            scratch = new byte[4096];
        }
        return records;
    }

    private String text(int length) {
        if (scratch.length < length) {
            scratch = new byte[Math.max(length, scratch.length * 2)];
        }
        buffer.get(scratch, 0, length);
        return new String(scratch, 0, length, UTF_8);
    }

    private byte[] bytes(int length) {
        byte[] bytes = new byte[length];
        buffer.get(bytes);
        return bytes;
    }

    private static ByteBuffer allocate(int capacity) {
        return ByteBuffer.allocateDirect(capacity).order(ByteOrder.nativeOrder());
    }
}
