import java.io.File;
import java.lang.management.ManagementFactory;
import java.lang.reflect.Constructor;
import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.FutureTask;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.management.MBeanServer;
import javax.management.ObjectName;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigValue;
import org.apache.kafka.connect.source.SourceConnector;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.source.SourceTask;
import org.apache.kafka.connect.source.SourceTaskContext;
import org.apache.kafka.connect.storage.OffsetStorageReader;

/**
 * Drives the packaged plugin as Kafka Connect does, but for what Connect hides: class loaders, late calls, leaks. Arguments: the
 * check's name, the JAR, the feed's URL. Ends with exit code 1 and an exception if something is not as it must be.
 */
public class PluginCheck {
    private static final String PACKAGE = "io.conduktor.connect.websocket.";

    /** Where a record is that Kafka has taken; Connect gives null for one that it left out. */
    private static final RecordMetadata IN_KAFKA = new RecordMetadata(new TopicPartition("topic", 0), 0, 0, 0, 0, 0);

    public static void main(String[] arguments) throws Exception {
        Path jar = Paths.get(arguments[1]);
        String url = arguments[2];
        switch (arguments[0]) {
            case "scanning" -> scanning(jar);
            case "unsupported-platform" -> unsupportedPlatform(jar);
            case "two-loaders" -> twoLoaders(jar, url);
            case "late-calls" -> lateCalls(jar, url);
            case "leaks" -> leaks(jar, url);
            case "mbeans" -> mbeans(jar, url);
            case "mbeans-change-hands" -> mbeansChangeHands(jar);
            case "acknowledgements" -> acknowledgements(jar, url);
            default -> throw new IllegalArgumentException(arguments[0]);
        }
        System.out.println("ok: " + arguments[0]);
    }

    /** Looking at the plugin, as Connect does with every plugin at its start, loads nothing native. */
    private static void scanning(Path jar) throws Exception {
        Plugin plugin = new Plugin(jar);
        require(!plugin.connector().version().isEmpty(), "a version");
        require(plugin.connector().version().equals(plugin.task().version()), "connector and task are of one version");
        require(mappedLibraries() == 0, "no library is loaded by constructors and version()");
        plugin.connector().config();
        require(mappedLibraries() == 1, "config() loads it");
        require(leftovers().isEmpty(), "the copy is unlinked: " + leftovers());
    }

    /** Started with another os.arch. */
    private static void unsupportedPlatform(Path jar) throws Exception {
        SourceConnector connector = new Plugin(jar).connector();
        require(!connector.version().isEmpty(), "a version");
        List<String> errors = connector.validate(config("x", "ws://127.0.0.1:1/")).configValues().stream()
                .flatMap((ConfigValue value) -> value.errorMessages().stream())
                .collect(Collectors.toList());
        require(errors.size() == 1 && errors.get(0).contains("does not support the platform linux-sparc"), "one sentence: " + errors);
    }

    /** The same JAR twice in one JVM, both running. */
    private static void twoLoaders(Path jar, String url) throws Exception {
        SourceTask one = new Plugin(jar).started("one", url);
        SourceTask two = new Plugin(jar).started("two", url);
        require(one.getClass() != two.getClass(), "two classes of the same name");
        require(mappedLibraries() == 2, "two copies of the library");
        require(records(one, 10) >= 10 && records(two, 10) >= 10, "both deliver");
        one.stop();
        require(records(two, 10) >= 10, "the other goes on");
        two.stop();
        require(leftovers().isEmpty(), "no file is left: " + leftovers());
    }

    /** What Connect may call when a task has stopped. */
    private static void lateCalls(Path jar, String url) throws Exception {
        Plugin plugin = new Plugin(jar);
        SourceTask task = plugin.started("late", url);
        SourceRecord record = null;
        while (record == null) {
            List<SourceRecord> records = task.poll();
            record = records == null ? null : records.get(0);
        }
        MBeanServer server = ManagementFactory.getPlatformMBeanServer();
        require(server.queryNames(new ObjectName(PACKAGE.substring(0, PACKAGE.length() - 1) + ":*"), null).size() == 2, "two MBeans");
        task.stop();
        task.commitRecord(record, null);
        task.commit();
        require(task.poll() == null, "a poll after stop gives nothing");
        task.stop();
        require(server.queryNames(new ObjectName(PACKAGE.substring(0, PACKAGE.length() - 1) + ":*"), null).isEmpty(), "no MBean is left");
        SourceTask never = plugin.task();
        never.stop();
        SourceTask refused = plugin.task();
        refused.initialize(plugin.context());
        try {
            refused.start(Map.of("name", "refused", "websocket.url", "http://h", "kafka.topic", "t"));
            throw new AssertionError("a bad configuration starts");
        } catch (org.apache.kafka.connect.errors.ConnectException e) {
            require(e.getMessage().contains("the scheme must be ws or wss"), e.getMessage());
        }
        refused.stop();
        // Connect passes on null values.
        Map<String, String> nulls = config("nulls", url);
        nulls.put("errors.tolerance", null);
        SourceTask tolerant = plugin.task();
        tolerant.initialize(plugin.context());
        tolerant.start(nulls);
        tolerant.stop();
    }

    /** 200 tasks come and go. */
    private static void leaks(Path jar, String url) throws Exception {
        Plugin plugin = new Plugin(jar);
        Path work = Files.createTempDirectory("handover");
        for (int i = 0; i < 20; i++) {
            live(plugin, url, work);
        }
        long threads = processThreads();
        long files = openFiles();
        long memory = residentKiB();
        for (int i = 0; i < 200; i++) {
            live(plugin, url, work);
        }
        require(processThreads() <= threads + 1, "threads: " + threads + " before, " + processThreads() + " after");
        require(openFiles() <= files + 2, "open files: " + files + " before, " + openFiles() + " after");
        // Direct buffers go some time after the garbage collection that finds them.
        long after = residentKiB();
        for (long since = System.nanoTime(); after > memory + 32 * 1024 && System.nanoTime() - since < 20_000_000_000L; ) {
            Thread.sleep(100);
            after = residentKiB();
        }
        require(after <= memory + 32 * 1024, "resident KiB: " + memory + " before, " + after + " after");
        try (Stream<Path> left = Files.list(work)) {
            require(left.count() == 0, "no hand-over file is left");
        }
    }

    private static void live(Plugin plugin, String url, Path work) throws Exception {
        SourceTask task = plugin.task();
        task.initialize(plugin.context());
        Map<String, String> config = config("leaks", url);
        config.put("websocket.handover.dir", work.toString());
        task.start(config);
        require(records(task, 1) > 0, "records");
        task.stop();
        // The next one takes over what was left, so that at the end nothing is.
        task = plugin.task();
        task.initialize(plugin.context());
        config.put("websocket.handover.dir", "");
        task.start(config);
        task.stop();
        for (File file : work.toFile().listFiles()) {
            require(file.delete(), "the file of a task that is gone");
        }
    }

    /** Every attribute of both MBeans. */
    private static void mbeans(Path jar, String url) throws Exception {
        SourceTask task = new Plugin(jar).started("feed: \"a\"", url);
        MBeanServer server = ManagementFactory.getPlatformMBeanServer();
        ObjectName known = new ObjectName(PACKAGE.substring(0, PACKAGE.length() - 1) + ":type=WebSocketConnector,name="
                + ObjectName.quote("feed: \"a\"") + ",url=" + ObjectName.quote(url.substring(5).replace(':', '_').replace('/', '_')));
        for (int count = 0; count < 100; ) {
            List<SourceRecord> records = task.poll();
            for (SourceRecord record : records == null ? List.<SourceRecord>of() : records) {
                commit(task, record);
                count++;
            }
        }
        task.poll();
        forgetFigures();
        Map<String, Class<?>> types = new HashMap<>();
        for (String name : List.of("MessagesReceived", "MessagesDropped", "RecordsProduced", "MillisSinceLastMessage", "UptimeMillis",
                "TotalReconnects", "LagCount")) {
            types.put(name, Long.class);
        }
        types.put("QueueSize", Integer.class);
        types.put("QueueCapacity", Integer.class);
        types.put("QueueUtilizationPercent", Double.class);
        types.put("DropRate", Double.class);
        types.put("Connected", Boolean.class);
        types.put("ConnectorName", String.class);
        for (Map.Entry<String, Class<?>> type : types.entrySet()) {
            Object value = server.getAttribute(known, type.getKey());
            require(type.getValue().isInstance(value), type.getKey() + " is " + value);
        }
        require(server.getMBeanInfo(known).getAttributes().length == types.size(), "no other attribute");
        require((Long) server.getAttribute(known, "MessagesReceived") >= 100, "MessagesReceived");
        require((Long) server.getAttribute(known, "RecordsProduced") >= 100, "RecordsProduced");
        require((Boolean) server.getAttribute(known, "Connected"), "Connected");
        require((Integer) server.getAttribute(known, "QueueCapacity") == 10_000, "QueueCapacity");
        server.invoke(known, "resetCounters", null, null);
        require((Long) server.getAttribute(known, "RecordsProduced") < 100, "RecordsProduced after resetCounters");

        ObjectName ours = new ObjectName(PACKAGE.substring(0, PACKAGE.length() - 1) + ":type=WebSocketTask,connector="
                + ObjectName.quote("feed: \"a\"") + ",task=0");
        require((Long) server.getAttribute(ours, "ConnectionsTotal") == 1, "ConnectionsTotal");
        require(server.getMBeanInfo(ours).getAttributes().length > 20, "figures");
        task.stop();
    }

    /** A task stops, late, while its successor starts: the successor's MBeans stay. */
    private static void mbeansChangeHands(Path jar) throws Exception {
        Plugin plugin = new Plugin(jar);
        plugin.connector().config();
        Class<?> beans = plugin.loader.loadClass(PACKAGE + "TaskMBeans");
        Class<?> task = plugin.loader.loadClass(PACKAGE + "NativeTask");
        Constructor<?> ofHandle = task.getDeclaredConstructor(long.class);
        Method register = beans.getDeclaredMethod("register", task, String.class, String.class);
        Method unregister = beans.getDeclaredMethod("unregister");
        List.of(ofHandle, register, unregister).forEach(member -> member.setAccessible(true));
        Object closed = ofHandle.newInstance(0L);
        MBeanServer server = ManagementFactory.getPlatformMBeanServer();
        ObjectName all = new ObjectName(PACKAGE.substring(0, PACKAGE.length() - 1) + ":*");
        Object running = register.invoke(null, closed, "handed", "ws://h/");
        for (int i = 0; i < 5_000; i++) {
            Object late = running;
            FutureTask<Object> stop = new FutureTask<>(() -> unregister.invoke(late));
            new Thread(stop).start();
            running = register.invoke(null, closed, "handed", "ws://h/");
            stop.get();
            require(server.queryNames(all, null).size() == 2, "the successor's MBeans, after " + i + " tasks");
        }
        unregister.invoke(running);
        require(server.queryNames(all, null).isEmpty(), "no MBean is left");
    }

    /** Kafka is as far as the first record that is open, whatever it has beyond. */
    private static void acknowledgements(Path jar, String url) throws Exception {
        SourceTask task = new Plugin(jar).started("acknowledged", url);
        ObjectName figures = new ObjectName(
                PACKAGE.substring(0, PACKAGE.length() - 1) + ":type=WebSocketTask,connector=\"acknowledged\",task=0");
        List<SourceRecord> first = batch(task);
        List<SourceRecord> second = batch(task);
        second.forEach(record -> commit(task, record));
        first.stream().skip(1).forEach(record -> commit(task, record));
        List<SourceRecord> third = batch(task);
        forgetFigures();
        require(committed(figures) == 0, "the first record is open, yet " + committed(figures) + " are committed");
        commit(task, first.get(0));
        List<SourceRecord> fourth = batch(task);
        forgetFigures();
        require(committed(figures) == first.size() + second.size(), committed(figures) + " are committed");

        // No error is tolerated: what Connect leaves out was filtered.
        task.commitRecord(third.get(0), null);
        third.stream().skip(1).forEach(record -> commit(task, record));
        fourth.forEach(record -> commit(task, record));
        batch(task);
        forgetFigures();
        int received = first.size() + second.size() + third.size() + fourth.size();
        require(committed(figures) == received - 1, committed(figures) + " of " + received + " are committed");
        require(figure(figures, "RecordsFilteredTotal") == 1 && figure(figures, "RecordsSkippedTotal") == 0, "one is filtered");
        task.stop();
    }

    private static List<SourceRecord> batch(SourceTask task) throws Exception {
        List<SourceRecord> records = null;
        for (int polls = 0; records == null && polls < 30; polls++) {
            records = task.poll();
        }
        require(records != null, "records within half a minute");
        return records;
    }

    private static void commit(SourceTask task, SourceRecord record) {
        try {
            task.commitRecord(record, IN_KAFKA);
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    private static long committed(ObjectName figures) throws Exception {
        return figure(figures, "RecordsCommittedTotal");
    }

    private static long figure(ObjectName figures, String name) throws Exception {
        return (Long) ManagementFactory.getPlatformMBeanServer().getAttribute(figures, name);
    }

    /** Figures are read anew after half a second. */
    private static void forgetFigures() throws InterruptedException {
        Thread.sleep(600);
    }

    /** The plugin in a class loader of its own, as Connect loads it. */
    private static final class Plugin {
        private final ClassLoader loader;

        Plugin(Path jar) throws Exception {
            loader = new URLClassLoader(new URL[] {jar.toUri().toURL()}, PluginCheck.class.getClassLoader());
        }

        SourceConnector connector() throws Exception {
            return (SourceConnector) loader.loadClass(PACKAGE + "WebSocketSourceConnector").getConstructor().newInstance();
        }

        SourceTask task() throws Exception {
            return (SourceTask) loader.loadClass(PACKAGE + "WebSocketSourceTask").getConstructor().newInstance();
        }

        SourceTask started(String name, String url) throws Exception {
            SourceTask task = task();
            task.initialize(context());
            task.start(config(name, url));
            return task;
        }

        /** Nothing is stored. */
        SourceTaskContext context() {
            OffsetStorageReader nothing = new OffsetStorageReader() {
                @Override
                public <T> Map<String, Object> offset(Map<String, T> partition) {
                    return null;
                }

                @Override
                public <T> Map<Map<String, T>, Map<String, Object>> offsets(Collection<Map<String, T>> partitions) {
                    return Map.of();
                }
            };
            return (SourceTaskContext) java.lang.reflect.Proxy.newProxyInstance(
                    PluginCheck.class.getClassLoader(), new Class<?>[] {SourceTaskContext.class}, (proxy, method, arguments) -> {
                        if (method.getName().equals("offsetStorageReader")) {
                            return nothing;
                        }
                        throw new UnsupportedOperationException(method.getName());
                    });
        }
    }

    private static Map<String, String> config(String name, String url) {
        Map<String, String> config = new HashMap<>();
        config.put("name", name);
        config.put("connector.class", PACKAGE + "WebSocketSourceConnector");
        config.put("websocket.url", url);
        config.put("kafka.topic", "t");
        config.put("websocket.handover.dir", "");
        return config;
    }

    /** Polls until at least so many records came; half a minute at most. */
    private static int records(SourceTask task, int atLeast) throws Exception {
        int count = 0;
        for (int polls = 0; polls < 30_000 && count < atLeast; polls++) {
            List<SourceRecord> records = task.poll();
            count += records == null ? 0 : records.size();
        }
        return count;
    }

    private static long mappedLibraries() throws Exception {
        try (Stream<String> maps = Files.lines(Paths.get("/proc/self/maps"))) {
            Set<String> files = maps.filter(line -> line.contains("libconnect_websocket_plugin"))
                    .map(line -> line.split(" +")[4])
                    .collect(Collectors.toSet());
            return files.size();
        }
    }

    private static List<String> leftovers() {
        File[] files = new File(System.getProperty("java.io.tmpdir")).listFiles((dir, name) -> name.startsWith("connect-websocket-"));
        return Stream.of(files).map(File::getName).collect(Collectors.toList());
    }

    private static long processThreads() throws Exception {
        try (Stream<Path> threads = Files.list(Paths.get("/proc/self/task"))) {
            return threads.count();
        }
    }

    private static long openFiles() throws Exception {
        try (Stream<Path> files = Files.list(Paths.get("/proc/self/fd"))) {
            return files.count();
        }
    }

    private static long residentKiB() throws Exception {
        System.gc();
        try (Stream<String> status = Files.lines(Paths.get("/proc/self/status"))) {
            String line = status.filter(text -> text.startsWith("VmRSS:")).findFirst().orElseThrow();
            return Long.parseLong(line.replaceAll("[^0-9]", ""));
        }
    }

    private static void require(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError("not so: " + what);
        }
    }
}
