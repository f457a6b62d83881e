package io.conduktor.connect.websocket;

import java.util.HashMap;
import java.util.Map;

/** The source partitions of a task: one, or one for each key of the feed. */
final class Partitions {
    static final String WEBSOCKET_URL = "websocket_url";

    private final String base;
    private final Map<String, String> only;
    /** By key, each made once. */
    private final Map<String, Map<String, String>> keyed = new HashMap<>();

    Partitions(String base) {
        this.base = base;
        this.only = of(base, null);
    }

    /** The partition of a key; null is no key. */
    Map<String, String> of(String key) {
        return key == null ? only : keyed.computeIfAbsent(key, each -> of(base, each));
    }

    private static Map<String, String> of(String base, String key) {
        return Map.of(WEBSOCKET_URL, key == null ? base : base + "#" + key);
    }
}
