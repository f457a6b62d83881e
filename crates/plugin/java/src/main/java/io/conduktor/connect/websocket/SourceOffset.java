package io.conduktor.connect.websocket;

import java.util.AbstractMap;
import java.util.Map;
import java.util.Set;

/**
 * The source offset of one record, {@code {"session_id": …, "sequence": …}}, as small as it can be: there is one for each
 * record, and Connect stores one at intervals.
 */
final class SourceOffset extends AbstractMap<String, Object> {
    static final String SESSION_ID = "session_id";
    static final String SEQUENCE = "sequence";

    private final String sessionId;
    private final long sequence;
    private final Acknowledgements.Batch batch;

    SourceOffset(String sessionId, long sequence, Acknowledgements.Batch batch) {
        this.sessionId = sessionId;
        this.sequence = sequence;
        this.batch = batch;
    }

    /** The batch that the record was polled with. */
    Acknowledgements.Batch batch() {
        return batch;
    }

    @Override
    public Set<Map.Entry<String, Object>> entrySet() {
        return Map.<String, Object>of(SESSION_ID, sessionId, SEQUENCE, sequence).entrySet();
    }
}
