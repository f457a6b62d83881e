package io.conduktor.connect.websocket;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.source.SourceTask;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.MDC;

/**
 * A task in Kafka Connect. Connect calls {@link #start}, {@link #poll} and {@link #stop} one after another in one thread. The
 * producer's thread calls {@link #commitRecord}, also after {@code stop}.
 */
public class WebSocketSourceTask extends SourceTask {
    private static final Logger log = LoggerFactory.getLogger(WebSocketSourceTask.class);

    private final RecordBatch batch = new RecordBatch();
    private final Acknowledgements acknowledgements = new Acknowledgements();
    /** What every line of this task's log has beside its message. */
    private final Map<String, String> mdc = new ConcurrentHashMap<>();

    private volatile NativeTask task;
    private TaskMBeans mbeans;
    private LeftOutRecords leftOut;
    private Partitions partitions;
    private String sessionId;
    private String topic;
    private int logLevel = -1;
    private boolean stopped;

    @Override
    public String version() {
        return Version.get();
    }

    @Override
    public void start(Map<String, String> config) {
        NativeLibrary.load();
        String connector = config.getOrDefault("name", "");
        putMdc("connector_name", connector);
        followLogLevel();
        task = NativeTask.start(config, storedOffsets(config));
        List<String> identity = task.identity();
        sessionId = identity.get(1);
        topic = identity.get(2);
        partitions = new Partitions(identity.get(3));
        putMdc("websocket_url", identity.get(0));
        putMdc("kafka_topic", topic);
        putMdc("session_id", sessionId);
        leftOut = new LeftOutRecords(config, connector);
        mbeans = TaskMBeans.register(task, connector, identity.get(0));
        writeLogLines();
        log.info("event=task_started topic={}", topic);
    }

    @Override
    public List<SourceRecord> poll() {
        followLogLevel();
        int count;
        try {
            count = pollNative();
        } catch (RuntimeException e) {
            writeLogLines();
            throw e;
        }
        if (batch.logLinesWait()) {
            writeLogLines();
        }
        return count > 0 ? batch.read(count, topic, partitions, sessionId, acknowledgements) : null;
    }

    /** One call into the native half for a batch; one more for a batch that is larger than the buffer. */
    private int pollNative() {
        Acknowledgements.Progress progress = acknowledgements.progress();
        long filtered = leftOut.filtered(progress.leftOut);
        int count = task.poll(batch.buffer(), progress, filtered);
        if (count < 0 && count != NativeTask.CLOSED) {
            batch.grow(-count);
            count = task.poll(batch.buffer(), progress, filtered);
        }
        return count;
    }

    /**
     * Only counts it. The next poll passes on up to which sequence Kafka has everything. {@code metadata} is null for a record that
     * was left out. The record is always the one that was polled, also after a transformation.
     */
    @Override
    public void commitRecord(SourceRecord record, RecordMetadata metadata) {
        if (record.sourceOffset() instanceof SourceOffset) {
            SourceOffset offset = (SourceOffset) record.sourceOffset();
            acknowledgements.answered(offset.batch(), metadata != null);
            if (offset.message() != null) {
                task.acknowledged(offset.message(), 1);
            }
        }
    }

    /** Comes every {@code offset.flush.interval.ms}, also while the task is paused and not polled, in a thread of Connect's. */
    @Override
    public void commit() {
        Map<String, String> before = MDC.getCopyOfContextMap();
        mdc.forEach(MDC::put);
        writeLogLines();
        MDC.setContextMap(before == null ? Map.of() : before);
    }

    @Override
    public void stop() {
        if (task != null && !stopped) {
            stopped = true;
            log.info("event=task_stopping");
            Acknowledgements.Progress progress = acknowledgements.progress();
            long[] kept = task.stop(progress, leftOut.filtered(progress.leftOut));
            writeLogLines();
            if (mbeans != null) {
                mbeans.unregister();
            }
            task.close();
            tellUnanswered();
            log.info("event=task_stopped records_handed_over={} records_left={}", kept[0], kept[1]);
        }
        mdc.keySet().forEach(MDC::remove);
    }

    /** What Connect has taken is no longer ours, but when it fails a task it drops what it has not given to its producer. */
    private void tellUnanswered() {
        long records = acknowledgements.unanswered();
        if (records > 0) {
            log.warn("event=records_unanswered records={} message=\"Kafka Connect has taken these records and has not said that Kafka has them;"
                    + " if a record has failed the task they are lost, but for those that its producer still delivers\"", records);
        }
    }

    private void putMdc(String key, String value) {
        mdc.put(key, value);
        MDC.put(key, value);
    }

    /**
     * Checks an offset that a client wants to store. Null resets the partition.
     *
     * @throws ConnectException if a task could not continue from it
     */
    static void checkOffset(Map<String, ?> partition, Map<String, ?> offset) {
        if (partition == null || partition.size() != 1 || !(partition.get(Partitions.WEBSOCKET_URL) instanceof String)) {
            throw new ConnectException("A source partition of this connector is {\"" + Partitions.WEBSOCKET_URL + "\": \"<url>\"}; got the keys "
                    + (partition == null ? null : partition.keySet()) + ".");
        }
        Object sequence = offset == null ? 0L : offset.get(SourceOffset.SEQUENCE);
        if (!isWhole(sequence) || ((Number) sequence).longValue() < 0) {
            throw new ConnectException("A source offset of this connector is {\"" + SourceOffset.SEQUENCE + "\": <integer, 0 or more>, …}; got the"
                    + " sequence " + sequence + ".");
        }
        Object cursor = offset == null ? null : offset.get(SourceOffset.CURSOR);
        if (cursor != null && !isWhole(cursor) && !(cursor instanceof String)) {
            throw new ConnectException("The cursor of a source offset of this connector is a text or an integer; got " + cursor + ".");
        }
    }

    private static boolean isWhole(Object value) {
        return value instanceof Long || value instanceof Integer;
    }

    /**
     * Returns Connect's offsets for the partitions of this feed, as rows of partition, name, text and number. The last two exclude
     * each other.
     */
    private List<String> storedOffsets(Map<String, String> config) {
        List<Map<String, String>> asked = new ArrayList<>();
        for (String partition : Strings.decode(NativeLibrary.partitions(Strings.encode(config)))) {
            asked.add(Map.of(Partitions.WEBSOCKET_URL, partition));
        }
        List<String> rows = new ArrayList<>();
        context.offsetStorageReader().offsets(asked).forEach((partition, offset) -> {
            if (offset != null) {
                offset.forEach((name, value) -> {
                    rows.add(partition.get(Partitions.WEBSOCKET_URL));
                    rows.add(name);
                    rows.add(value instanceof String ? (String) value : null);
                    rows.add(isWhole(value) ? value.toString() : null);
                });
            }
        });
        return rows;
    }

    private void writeLogLines() {
        NativeTask current = task;
        if (current == null) {
            return;
        }
        List<String> lines = current.logLines();
        for (int i = 0; i < lines.size(); i += 2) {
            String message = lines.get(i + 1);
            switch (lines.get(i)) {
                case "ERROR":
                    log.error(message);
                    break;
                case "WARN":
                    log.warn(message);
                    break;
                case "INFO":
                    log.info(message);
                    break;
                case "DEBUG":
                    log.debug(message);
                    break;
                default:
                    log.trace(message);
            }
        }
    }

    /** Lets the native half collect what this logger would write. */
    private void followLogLevel() {
        int level = log.isTraceEnabled() ? 5
                : log.isDebugEnabled() ? 4
                : log.isInfoEnabled() ? 3
                : log.isWarnEnabled() ? 2
                : log.isErrorEnabled() ? 1
                : 0;
        if (level != logLevel) {
            logLevel = level;
            NativeLibrary.setLogLevel(level);
        }
    }
}
