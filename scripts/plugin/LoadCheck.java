import io.conduktor.connect.websocket.WebSocketSourceConnector;
import io.conduktor.connect.websocket.WebSocketSourceTask;
import java.lang.reflect.Proxy;
import java.util.Map;
import org.apache.kafka.connect.source.SourceTaskContext;
import org.apache.kafka.connect.storage.OffsetStorageReader;

/** Runs the plugin's native library in this JVM: its options, and a task that finds nobody who listens. */
public class LoadCheck {
    public static void main(String[] args) {
        WebSocketSourceConnector connector = new WebSocketSourceConnector();
        int options = connector.config().names().size();
        if (!connector.config().names().contains("websocket.url")) {
            throw new AssertionError("the options do not name websocket.url");
        }

        OffsetStorageReader nothingStored = proxy(OffsetStorageReader.class, Map.of());
        WebSocketSourceTask task = new WebSocketSourceTask();
        task.initialize(proxy(SourceTaskContext.class, nothingStored));
        task.start(Map.of("name", "load-check", "websocket.url", "ws://127.0.0.1:1/", "kafka.topic", "topic"));
        if (task.poll() != null) {
            throw new AssertionError("there are records from nowhere");
        }
        task.stop();
        System.out.printf("version %s, %d options, a task started and stopped, Java %s (%s)%n",
                connector.version(), options, System.getProperty("java.version"), System.getProperty("os.arch"));
        System.exit(0);
    }

    /** An object of which every method answers the same. */
    private static <T> T proxy(Class<T> type, Object answer) {
        return type.cast(Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, (proxy, method, args) -> answer));
    }
}
