package io.conduktor.connect.websocket;

import java.lang.management.ManagementFactory;
import java.util.Map;
import javax.management.JMException;
import javax.management.ObjectName;
import org.apache.kafka.common.utils.Sanitizer;

/**
 * Distinguishes lost records from those that a transformation left out, as configured. Connect reports both in the same way
 * ({@code commitRecord} without metadata), but counts those that it skips because of an error.
 */
final class LeftOutRecords {
    /** Without it a failure is not skipped: it fails the task. */
    private final boolean tolerant;

    private final String errorMetrics;
    private long leftOut;
    private long filtered;

    LeftOutRecords(Map<String, String> config, String connector) {
        tolerant = "all".equalsIgnoreCase(String.valueOf(config.get("errors.tolerance")).trim());
        errorMetrics = "kafka.connect:type=task-error-metrics,connector=" + Sanitizer.jmxSanitize(connector) + ",task=0";
    }

    /** How many of the records left out since the start were filtered. Neither they nor the rest ever become fewer. */
    long filtered(long leftOut) {
        if (leftOut != this.leftOut) {
            this.leftOut = leftOut;
            filtered = Math.max(filtered, leftOut - Math.min(leftOut, skipped(leftOut)));
        }
        return filtered;
    }

    /** What Connect has skipped; all of them if it does not say which: better an alarm too many. */
    private long skipped(long leftOut) {
        if (!tolerant) {
            return 0;
        }
        try {
            // total-records-skipped does not contain those that its producer refused. A failure that is tried again
            // counts twice.
            return count("total-record-failures") - count("total-retries");
        } catch (JMException | RuntimeException e) {
            return leftOut;
        }
    }

    private long count(String attribute) throws JMException {
        Object value = ManagementFactory.getPlatformMBeanServer().getAttribute(new ObjectName(errorMetrics), attribute);
        return ((Number) value).longValue();
    }
}
