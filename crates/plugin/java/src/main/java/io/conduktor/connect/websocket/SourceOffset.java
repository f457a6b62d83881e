package io.conduktor.connect.websocket;

import java.util.AbstractMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * The source offset of a record: {@code {"session_id": …, "sequence": …, "at": …}} and what the feed needs to resume. It is as
 * small as possible, because each record has one, although Connect stores only some.
 */
final class SourceOffset extends AbstractMap<String, Object> {
    static final String SESSION_ID = "session_id";
    static final String SEQUENCE = "sequence";
    static final String AT = "at";
    static final String CURSOR = "cursor";

    private final String sessionId;
    private final long sequence;
    private final Long receivedMillis;
    /** Names and values in turn; null is none. */
    private final Object[] entries;
    private final Long message;
    private final Acknowledgements.Batch batch;

    SourceOffset(String sessionId, long sequence, Long receivedMillis, Wire.Parts parts, Acknowledgements.Batch batch) {
        this.sessionId = sessionId;
        this.sequence = sequence;
        this.receivedMillis = receivedMillis;
        this.entries = parts.offset();
        this.message = parts.message;
        this.batch = batch;
    }

    /** The number of the record's message, if the feed wants to hear when Kafka has it; or null. */
    Long message() {
        return message;
    }

    /** The batch that the record was polled with. */
    Acknowledgements.Batch batch() {
        return batch;
    }

    @Override
    public Set<Map.Entry<String, Object>> entrySet() {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put(SESSION_ID, sessionId);
        map.put(SEQUENCE, sequence);
        map.put(AT, receivedMillis);
        for (int i = 0; entries != null && i < entries.length; i += 2) {
            map.put((String) entries[i], entries[i + 1]);
        }
        return map.entrySet();
    }

    /** Every record has its own sequence: with exactly-once support Connect looks records up in a map. */
    @Override
    public boolean equals(Object other) {
        if (other instanceof SourceOffset) {
            SourceOffset offset = (SourceOffset) other;
            return sequence == offset.sequence && sessionId.equals(offset.sessionId);
        }
        return super.equals(other);
    }

    @Override
    public int hashCode() {
        return Long.hashCode(sequence);
    }
}
