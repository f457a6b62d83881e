package io.conduktor.connect.websocket;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.config.Config;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigDef.Importance;
import org.apache.kafka.common.config.ConfigDef.Type;
import org.apache.kafka.common.config.ConfigDef.Width;
import org.apache.kafka.common.config.ConfigValue;
import org.apache.kafka.connect.connector.Task;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.source.ConnectorTransactionBoundaries;
import org.apache.kafka.connect.source.ExactlyOnceSupport;
import org.apache.kafka.connect.source.SourceConnector;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Streams a WebSocket feed into a topic. Its options, and what is wrong with them, come from the native half. */
public class WebSocketSourceConnector extends SourceConnector {
    private static final Logger log = LoggerFactory.getLogger(WebSocketSourceConnector.class);

    private static final String URL = "websocket.url";
    private static final int STRINGS_OF_AN_OPTION = 10;

    private Map<String, String> config = Map.of();

    @Override
    public String version() {
        return Version.get();
    }

    @Override
    public ConfigDef config() {
        try {
            NativeLibrary.load();
        } catch (ConnectException e) {
            // validate() reports the reason to the client. An exception here would only be an error 500.
            return new ConfigDef().define(URL, Type.STRING, ConfigDef.NO_DEFAULT_VALUE, Importance.HIGH, e.getMessage());
        }
        ConfigDef definition = new ConfigDef();
        Map<String, Integer> orders = new HashMap<>();
        List<String> rows = Strings.decode(NativeLibrary.options());
        for (int i = 0; i < rows.size(); i += STRINGS_OF_AN_OPTION) {
            List<String> row = rows.subList(i, i + STRINGS_OF_AN_OPTION);
            String group = row.get(6);
            List<Object> recommended = row.get(9).isEmpty() ? List.of() : List.of((Object[]) row.get(9).split(","));
            definition.define(
                    row.get(0),
                    Type.valueOf(row.get(1)),
                    Boolean.parseBoolean(row.get(3)) ? ConfigDef.NO_DEFAULT_VALUE : row.get(2),
                    Importance.valueOf(row.get(4)),
                    row.get(5),
                    group,
                    orders.merge(group, 1, Integer::sum),
                    Width.valueOf(row.get(7)),
                    row.get(8),
                    recommended.isEmpty() ? null : new Recommended(recommended));
        }
        return definition;
    }

    @Override
    public Config validate(Map<String, String> connectorConfig) {
        Config validated = super.validate(connectorConfig);
        Map<String, ConfigValue> values = new HashMap<>();
        validated.configValues().forEach(value -> values.put(value.name(), value));
        try {
            NativeLibrary.load();
        } catch (ConnectException e) {
            values.get(URL).addErrorMessage(e.getMessage());
            return validated;
        }
        byte[] encoded = Strings.encode(connectorConfig);
        // ConfigDef has no families of options, such as websocket.session.<step>.send. So each given key gets its own
        // value.
        List<ConfigValue> all = new ArrayList<>(validated.configValues());
        List<String> shown = Strings.decode(NativeLibrary.shown(encoded));
        for (int i = 0; i < shown.size(); i += 2) {
            ConfigValue value = values.computeIfAbsent(shown.get(i), name -> added(name, all));
            value.value(shown.get(i + 1));
        }
        // The native half reports all errors, in ConfigDef's words. Unlike ConfigDef, it has the values of a profile.
        all.forEach(value -> value.errorMessages().clear());
        List<String> errors = Strings.decode(NativeLibrary.errors(encoded));
        for (int i = 0; i < errors.size(); i += 2) {
            values.getOrDefault(errors.get(i), values.get(URL)).addErrorMessage(errors.get(i + 1));
        }
        for (String warning : Strings.decode(NativeLibrary.warnings(encoded))) {
            log.warn("event=config_warning connector={} message=\"{}\"", connectorConfig.get("name"), warning);
        }
        return new Config(all);
    }

    private static ConfigValue added(String name, List<ConfigValue> all) {
        ConfigValue value = new ConfigValue(name);
        all.add(value);
        return value;
    }

    @Override
    public void start(Map<String, String> connectorConfig) {
        NativeLibrary.load();
        config = new HashMap<>(connectorConfig);
    }

    @Override
    public Class<? extends Task> taskClass() {
        return WebSocketSourceTask.class;
    }

    /** One feed is one connection, and so one task. */
    @Override
    public List<Map<String, String>> taskConfigs(int maxTasks) {
        return List.of(new HashMap<>(config));
    }

    @Override
    public void stop() {}

    /** Connect asks where {@code exactly.once.support=required}; its own answer to the user has no room for the reason. */
    @Override
    public ExactlyOnceSupport exactlyOnceSupport(Map<String, String> connectorConfig) {
        NativeLibrary.load();
        List<String> obstacle = Strings.decode(NativeLibrary.exactlyOnceObstacle(Strings.encode(connectorConfig)));
        for (String why : obstacle) {
            log.warn("event=exactly_once_unsupported connector={} message=\"{}\"", connectorConfig.get("name"), why);
        }
        return obstacle.isEmpty() ? ExactlyOnceSupport.SUPPORTED : ExactlyOnceSupport.UNSUPPORTED;
    }

    @Override
    public ConnectorTransactionBoundaries canDefineTransactionBoundaries(Map<String, String> connectorConfig) {
        return ConnectorTransactionBoundaries.UNSUPPORTED;
    }

    /**
     * Accepts offsets from which a task can continue.
     *
     * @throws ConnectException if one is none
     */
    @Override
    public boolean alterOffsets(Map<String, String> connectorConfig, Map<Map<String, ?>, Map<String, ?>> offsets) {
        offsets.forEach(WebSocketSourceTask::checkOffset);
        return true;
    }

    /** The values that a form offers. */
    private static final class Recommended implements ConfigDef.Recommender {
        private final List<Object> values;

        Recommended(List<Object> values) {
            this.values = values;
        }

        @Override
        public List<Object> validValues(String name, Map<String, Object> parsedConfig) {
            return new ArrayList<>(values);
        }

        @Override
        public boolean visible(String name, Map<String, Object> parsedConfig) {
            return true;
        }
    }
}
