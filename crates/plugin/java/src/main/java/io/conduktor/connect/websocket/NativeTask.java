package io.conduktor.connect.websocket;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;

/**
 * A task of the native half, by its handle. After {@link #close}, every call returns what a call to a closed task returns. The native
 * half checks that too.
 */
final class NativeTask {
    /** What {@code poll} returns when the handle is closed. */
    static final int CLOSED = Integer.MIN_VALUE;

    private final long handle;

    private NativeTask(long handle) {
        this.handle = handle;
    }

    /** {@code stored} are the offsets that Connect has, each entry as its partition, its name, and a text or a number. */
    static NativeTask start(Map<String, String> config, List<String> stored) {
        return new NativeTask(start(Strings.encode(config), Strings.encode(stored)));
    }

    /** The URL without secrets, the session's id, the topic, the source partition. */
    List<String> identity() {
        return Strings.decode(identity(handle));
    }

    /**
     * Waits up to a second for records and writes them into the buffer.
     *
     * @param filtered how many of the records that were left out a transformation filtered; the others are lost
     * @return how many records; a negative number is the size of a larger buffer that is needed; or {@link #CLOSED}
     */
    int poll(ByteBuffer buffer, Acknowledgements.Progress progress, long filtered) {
        return poll(handle, buffer, progress.sequence, progress.atMillis, progress.leftOut - filtered, filtered);
    }

    /** So many records of a message are in Kafka, or were left out. Any thread. */
    void acknowledged(long message, int records) {
        acknowledged(handle, message, records);
    }

    /** Levels and messages in turn. */
    List<String> logLines() {
        return Strings.decode(logLines(handle));
    }

    /** In the order of {@link NativeLibrary#figureNames}; empty when closed. */
    double[] figures() {
        return figures(handle);
    }

    /** Lets the counters of the existing connector's MBean begin at 0. */
    void resetCounters() {
        resetCounters(handle);
    }

    /** Closes the connection; how many records were kept for the next start, and how many are lost. */
    long[] stop(Acknowledgements.Progress progress, long filtered) {
        return stop(handle, progress.sequence, progress.atMillis, progress.leftOut - filtered, filtered);
    }

    void close() {
        close(handle);
    }

    private static native long start(byte[] config, byte[] stored);

    private static native byte[] identity(long handle);

    private static native int poll(
            long handle, ByteBuffer buffer, long committed, long committedAtMs, long skipped, long filtered);

    private static native void acknowledged(long handle, long message, long records);

    private static native byte[] logLines(long handle);

    private static native double[] figures(long handle);

    private static native void resetCounters(long handle);

    private static native long[] stop(long handle, long committed, long committedAtMs, long skipped, long filtered);

    private static native void close(long handle);
}
