package io.conduktor.connect.websocket;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Strings on their way to and from the native half: one byte array, each as an int length and UTF-8; -1 is null. */
final class Strings {
    private Strings() {}

    static byte[] encode(List<String> texts) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        for (String text : texts) {
            put(bytes, text);
        }
        return bytes.toByteArray();
    }

    /** Names and values in turn. */
    static byte[] encode(Map<String, String> config) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        config.forEach((name, value) -> {
            put(bytes, name);
            put(bytes, value);
        });
        return bytes.toByteArray();
    }

    static List<String> decode(byte[] bytes) {
        List<String> texts = new ArrayList<>();
        ByteBuffer rest = ByteBuffer.wrap(bytes);
        while (rest.hasRemaining()) {
            int length = rest.getInt();
            if (length < 0) {
                texts.add(null);
            } else {
                texts.add(new String(bytes, rest.position(), length, UTF_8));
                rest.position(rest.position() + length);
            }
        }
        return texts;
    }

    private static void put(ByteArrayOutputStream bytes, String text) {
        byte[] utf8 = text == null ? new byte[0] : text.getBytes(UTF_8);
        bytes.writeBytes(ByteBuffer.allocate(Integer.BYTES).putInt(text == null ? -1 : utf8.length).array());
        bytes.writeBytes(utf8);
    }
}
