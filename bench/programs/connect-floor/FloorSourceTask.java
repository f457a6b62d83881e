import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.source.SourceTask;

/**
 * The least that a source task in Kafka Connect can cost: returns the same ready-made records again and again, as fast as
 * Connect takes them, or at a rate.
 *
 * <pre>
 * topic             where they go
 * size              bytes of a value
 * binary            true: schema BYTES, otherwise STRING
 * warm.up.burst     records that are returned at once, as fast as Connect takes them
 * warm.up           records until the start mark, those of the burst among them, the others at the rate
 * start.file        the start mark: the rest is returned when this file exists
 * messages          records in all
 * rate              records per second; 0: as fast as Connect takes them
 * </pre>
 */
public class FloorSourceTask extends SourceTask {
    /** About as many as a batch of the plugin has while it reads a burst of 512 B. */
    private static final int BATCH = 500;

    /** How long the plugin waits for a batch to grow, by default. */
    private static final long LINGER_MS = 6;

    private final List<SourceRecord> records = new ArrayList<>(BATCH);
    private long burst;
    private long warmUp;
    private long messages;
    private double rate;
    private Path startFile;

    private long sent;
    private boolean started;
    /** Since when, and after how many records, the rate counts; 0: not yet. */
    private long pacedSince;
    private long pacedFrom;

    @Override
    public String version() {
        return "0";
    }

    @Override
    public void start(Map<String, String> config) {
        burst = Long.parseLong(config.get("warm.up.burst"));
        warmUp = Long.parseLong(config.get("warm.up"));
        messages = Long.parseLong(config.get("messages"));
        rate = Double.parseDouble(config.get("rate"));
        startFile = Path.of(config.get("start.file"));
        int size = Integer.parseInt(config.get("size"));
        boolean binary = Boolean.parseBoolean(config.get("binary"));
        Map<String, String> partition = Map.of("websocket_url", "ws://127.0.0.1/");
        long now = System.currentTimeMillis();
        for (long n = 0; n < BATCH; n++) {
            String start = "{\"n\":" + n + ",\"pad\":\"";
            String text = start + "x".repeat(Math.max(0, size - start.length() - 2)) + "\"}";
            records.add(new SourceRecord(
                    partition,
                    Map.of("session_id", "00000000-0000-0000-0000-000000000000", "sequence", n),
                    config.get("topic"),
                    null,
                    null,
                    null,
                    binary ? Schema.BYTES_SCHEMA : Schema.STRING_SCHEMA,
                    binary ? text.getBytes(UTF_8) : text,
                    now));
        }
    }

    @Override
    public List<SourceRecord> poll() throws InterruptedException {
        if (sent < burst) {
            return next(burst - sent);
        }
        if (sent < warmUp) {
            return due(warmUp);
        }
        if (!started) {
            started = Files.exists(startFile);
            pacedSince = 0;
            Thread.sleep(started ? 0 : 5);
            return null;
        }
        if (sent < messages) {
            return rate > 0 ? due(messages) : next(messages - sent);
        }
        Thread.sleep(500);
        return null;
    }

    @Override
    public void stop() {}

    /** What the rate has made due since the last call, up to {@code end} records in all. */
    private List<SourceRecord> due(long end) throws InterruptedException {
        if (pacedSince == 0) {
            pacedSince = System.nanoTime();
            pacedFrom = sent;
        }
        Thread.sleep(LINGER_MS);
        long due = pacedFrom + (long) ((System.nanoTime() - pacedSince) * rate / 1e9);
        return next(Math.min(due, end) - sent);
    }

    private List<SourceRecord> next(long count) {
        int size = (int) Math.min(count, BATCH);
        sent += size;
        return size == BATCH ? records : size == 0 ? null : records.subList(0, size);
    }
}
