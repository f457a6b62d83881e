package io.conduktor.connect.websocket;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.header.ConnectHeaders;
import org.apache.kafka.connect.source.SourceRecord;

/**
 * The direct buffer that the native half fills, and the records made from it. Its layout stands in the plugin's
 * {@code batch.rs}, that of a record in the engine's {@code record/wire.rs}.
 */
final class RecordBatch {
    /** Holds every batch of the engine but those of one very large message. */
    private static final int USUAL_CAPACITY = 512 << 10;

    /** Behind whether log lines wait. */
    private static final int FIRST_RECORD = Byte.BYTES;

    private static final int TEXT = 1;
    private static final int HAS_PARTS = 0x80;

    private static final int TOPIC = 1;
    private static final int TEXT_KEY = 2;
    private static final int BYTES_KEY = 3;
    private static final int TIMESTAMP = 4;
    private static final int HEADER = 5;

    private static final Parts NO_PARTS = new Parts();

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
        // Behind the kind of the first record.
        long first = buffer.getLong(FIRST_RECORD + Byte.BYTES);
        Acknowledgements.Batch batch = acknowledgements.polled(first + count - 1, count);
        buffer.position(FIRST_RECORD);
        // Records that were read together have one, and share the object.
        Long received = null;
        for (int i = 0; i < count; i++) {
            int kind = buffer.get() & 0xff;
            SourceOffset offset = new SourceOffset(sessionId, buffer.getLong(), batch);
            long millis = buffer.getLong();
            if (received == null || received != millis) {
                received = millis;
            }
            Parts parts = (kind & HAS_PARTS) == 0 ? NO_PARTS : parts();
            boolean text = (kind & ~HAS_PARTS) == TEXT;
            records.add(new SourceRecord(
                    partition,
                    offset,
                    parts.topic == null ? topic : parts.topic,
                    null,
                    parts.keySchema,
                    parts.key,
                    text ? Schema.STRING_SCHEMA : Schema.BYTES_SCHEMA,
                    text ? text() : bytes(),
                    parts.timestamp == null ? received : parts.timestamp,
                    parts.headers));
        }
        if (buffer.capacity() > USUAL_CAPACITY) {
            buffer = allocate(USUAL_CAPACITY);
            scratch = new byte[4096];
        }
        return records;
    }

    /** What a record has beside its value; null is nothing. */
    private static final class Parts {
        private String topic;
        private Schema keySchema;
        private Object key;
        private Long timestamp;
        private ConnectHeaders headers;
    }

    private Parts parts() {
        Parts parts = new Parts();
        int end = buffer.getInt() + buffer.position();
        while (buffer.position() < end) {
            int part = buffer.get();
            switch (part) {
                case TOPIC:
                    parts.topic = text();
                    break;
                case TEXT_KEY:
                    parts.keySchema = Schema.STRING_SCHEMA;
                    parts.key = text();
                    break;
                case BYTES_KEY:
                    parts.keySchema = Schema.BYTES_SCHEMA;
                    parts.key = bytes();
                    break;
                case TIMESTAMP:
                    parts.timestamp = buffer.getLong();
                    break;
                case HEADER:
                    if (parts.headers == null) {
                        parts.headers = new ConnectHeaders();
                    }
                    parts.headers.add(text(), text(), Schema.STRING_SCHEMA);
                    break;
                default:
                    throw new IllegalStateException("the native half wrote the unknown part " + part);
            }
        }
        return parts;
    }

    private String text() {
        int length = buffer.getInt();
        if (scratch.length < length) {
            scratch = new byte[Math.max(length, scratch.length * 2)];
        }
        buffer.get(scratch, 0, length);
        return new String(scratch, 0, length, UTF_8);
    }

    private byte[] bytes() {
        byte[] bytes = new byte[buffer.getInt()];
        buffer.get(bytes);
        return bytes;
    }

    private static ByteBuffer allocate(int capacity) {
        return ByteBuffer.allocateDirect(capacity);
    }
}
