package io.conduktor.connect.websocket;

import java.io.IOException;
import java.io.InputStream;
import java.util.Properties;

/** The version of this JAR, written into it by the build. */
final class Version {
    private Version() {}

    static String get() {
        Properties properties = new Properties();
        try (InputStream file = Version.class.getResourceAsStream("/kafka-connect-websocket.properties")) {
            properties.load(file);
        } catch (IOException | NullPointerException e) {
            return "unknown";
        }
        return properties.getProperty("version", "unknown");
    }
}
