package io.conduktor.connect.websocket;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.header.ConnectHeaders;

/** Reads the byte form of records from a buffer. It stands in the engine's {@code record/wire.rs} and {@code record/value.rs}. */
final class Wire {
    static final int TEXT = 1;
    static final int BYTES = 2;
    static final int HAS_PARTS = 0x80;

    private static final Parts NO_PARTS = new Parts();

    private final ByteBuffer buffer;
    private byte[] scratch = new byte[4096];

    Wire(ByteBuffer buffer) {
        this.buffer = buffer;
    }

    /** What a record has beside its value; null is nothing. */
    static final class Parts {
        String topic;
        Schema keySchema;
        Object key;
        Long timestamp;
        ConnectHeaders headers;
        String partition;
        Long message;
        private List<Object> offset;

        /** What the source offset has beside its own: names and values in turn; null is nothing. */
        Object[] offset() {
            return offset == null ? null : offset.toArray();
        }

        private void offset(String name, Object value) {
            if (offset == null) {
                offset = new ArrayList<>(4);
            }
            offset.add(name);
            offset.add(value);
        }
    }

    /** The parts of a record of this kind. */
    Parts parts(int kind) {
        if ((kind & HAS_PARTS) == 0) {
            return NO_PARTS;
        }
        Parts parts = new Parts();
        int length = buffer.getInt();
        int end = buffer.position() + length;
        while (buffer.position() < end) {
            int part = buffer.get();
            switch (part) {
                case 1:
                    parts.topic = text();
                    break;
                case 2:
                    parts.keySchema = Schema.STRING_SCHEMA;
                    parts.key = text();
                    break;
                case 3:
                    parts.keySchema = Schema.BYTES_SCHEMA;
                    parts.key = bytes();
                    break;
                case 4:
                    parts.timestamp = buffer.getLong();
                    break;
                case 5:
                    if (parts.headers == null) {
                        parts.headers = new ConnectHeaders();
                    }
                    parts.headers.add(text(), text(), Schema.STRING_SCHEMA);
                    break;
                case 6:
                    parts.offset(text(), text());
                    break;
                case 7:
                    parts.offset(text(), buffer.getLong());
                    break;
                case 8:
                    parts.partition = text();
                    break;
                case 9:
                    parts.message = buffer.getLong();
                    break;
                default:
                    throw new IllegalStateException("the native half wrote a part of the unknown kind " + part);
            }
        }
        return parts;
    }

    /** The schema of the value of a record of this kind. */
    static Schema valueSchema(int kind) {
        switch (kind & ~HAS_PARTS) {
            case TEXT:
                return Schema.STRING_SCHEMA;
            case BYTES:
                return Schema.BYTES_SCHEMA;
            default:
                return null;
        }
    }

    /** The value of a record of this kind. */
    Object value(int kind) {
        switch (kind & ~HAS_PARTS) {
            case TEXT:
                return text();
            case BYTES:
                return bytes();
            default:
                buffer.getInt();
                return json();
        }
    }

    private Object json() {
        int tag = buffer.get();
        switch (tag) {
            case 0:
                return null;
            case 1:
                return false;
            case 2:
                return true;
            case 3:
                return buffer.getLong();
            case 4:
                return buffer.getDouble();
            case 5:
                return text();
            case 6:
                int elements = buffer.getInt();
                List<Object> list = new ArrayList<>(elements);
                for (int i = 0; i < elements; i++) {
                    list.add(json());
                }
                return list;
            case 7:
                int members = buffer.getInt();
                Map<String, Object> map = new LinkedHashMap<>(members * 4 / 3 + 1);
                for (int i = 0; i < members; i++) {
                    String key = text();
                    map.put(key, json());
                }
                return map;
            default:
                throw new IllegalStateException("the native half wrote a value of the unknown kind " + tag);
        }
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
}
