package io.conduktor.connect.websocket;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Locale;
import java.util.stream.Stream;
import org.apache.kafka.connect.errors.ConnectException;

/**
 * The native half. It is loaded when it is first needed, and not when Connect lists its plugins.
 *
 * <p>Each class loader loads a private copy, because the JVM refuses the same file twice, and hard links would share state. The
 * copy is unlinked at once.
 */
final class NativeLibrary {
    /** A library to load instead of the one in the JAR. */
    static final String PATH_PROPERTY = "connect.websocket.native.path";

    /** Where to put the copy; for systems whose {@code java.io.tmpdir} is mounted noexec. */
    static final String TMPDIR_PROPERTY = "connect.websocket.native.tmpdir";

    private static final String NAME = "libconnect_websocket_plugin.so";

    private NativeLibrary() {}

    /**
     * Loads the library unless this class loader has it.
     *
     * @throws ConnectException if there is none for this platform, or it cannot be loaded
     */
    static void load() {
        if (Loaded.FAILURE != null) {
            throw new ConnectException(Loaded.FAILURE);
        }
    }

    /** Initialised once per class loader, by the first {@link #load}. */
    private static final class Loaded {
        static final String FAILURE = tryLoad();

        private static String tryLoad() {
            String platform = platform();
            try {
                String path = System.getProperty(PATH_PROPERTY);
                if (path != null) {
                    System.load(Paths.get(path).toAbsolutePath().toString());
                } else {
                    extractAndLoad("/native/" + platform + "/" + NAME);
                }
                init();
                String version = Strings.decode(version()).get(0);
                return version.equals("kafka-connect-websocket " + Version.get()) ? null
                        : "The native library is that of " + version + ", the JAR that of kafka-connect-websocket " + Version.get()
                                + "; remove -D" + PATH_PROPERTY + " or give the matching file.";
            } catch (UnsupportedOperationException e) {
                return "The WebSocket connector does not support the platform " + platform + "; it runs on Linux on x86_64 and"
                        + " aarch64, with glibc or musl.";
            } catch (IOException | LinkageError | SecurityException e) {
                return "The native library of the WebSocket connector for " + platform + " cannot be loaded: " + e.getMessage()
                        + ". If the temporary directory is mounted noexec, full or not writable, set -D" + TMPDIR_PROPERTY
                        + " to a directory where files can be executed.";
            }
        }

        private static void extractAndLoad(String resource) throws IOException {
            try (InputStream library = NativeLibrary.class.getResourceAsStream(resource)) {
                if (library == null) {
                    throw new UnsupportedOperationException(resource);
                }
                Path parent = Paths.get(System.getProperty(TMPDIR_PROPERTY, System.getProperty("java.io.tmpdir")));
                // Java's own messages contain only the path.
                if (!Files.isDirectory(parent)) {
                    throw new IOException("there is no directory " + parent);
                }
                if (!Files.isWritable(parent)) {
                    throw new IOException("no file can be made in " + parent);
                }
                FileAttribute<?>[] mine = FileSystems.getDefault().supportedFileAttributeViews().contains("posix")
                        ? new FileAttribute<?>[] {
                            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------"))
                        }
                        : new FileAttribute<?>[0];
                Path directory = Files.createTempDirectory(parent, "connect-websocket-", mine);
                Path copy = directory.resolve(NAME);
                try {
                    Files.copy(library, copy, StandardCopyOption.REPLACE_EXISTING);
                    System.load(copy.toAbsolutePath().toString());
                } finally {
                    Files.deleteIfExists(copy);
                    Files.deleteIfExists(directory);
                }
            }
        }
    }

    /** The resource directory of this machine, such as {@code linux-x86_64-musl}. */
    static String platform() {
        String os = System.getProperty("os.name", "").toLowerCase(Locale.ROOT);
        String arch = System.getProperty("os.arch", "").toLowerCase(Locale.ROOT);
        switch (arch) {
            case "amd64":
                arch = "x86_64";
                break;
            case "arm64":
                arch = "aarch64";
                break;
            default:
        }
        return os + "-" + arch + (os.equals("linux") && hasMusl() ? "-musl" : "");
    }

    /** Whether the C library of this JVM is musl: its loader is mapped into the process. */
    private static boolean hasMusl() {
        try (Stream<String> maps = Files.lines(Paths.get("/proc/self/maps"))) {
            return maps.anyMatch(line -> line.contains("/ld-musl-"));
        } catch (IOException | RuntimeException e) {
            return false;
        }
    }

    private static native void init();

    private static native byte[] version();

    /** See the Rust function of the same name, here and below. */
    static native byte[] options();

    static native byte[] errors(byte[] config);

    static native byte[] shown(byte[] config);

    static native byte[] warnings(byte[] config);

    static native byte[] exactlyOnceObstacle(byte[] config);

    static native byte[] partitions(byte[] config);

    static native byte[] figureNames();

    static native void setLogLevel(int level);
}
