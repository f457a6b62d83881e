import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.Map;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JavaType;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.kafka.connect.runtime.rest.entities.ConfigInfos;
import org.apache.kafka.connect.runtime.rest.entities.ConfigKeyInfo;
import org.apache.kafka.connect.runtime.rest.entities.ConnectorInfo;
import org.apache.kafka.connect.runtime.rest.entities.ConnectorOffsets;
import org.apache.kafka.connect.runtime.rest.entities.ConnectorStateInfo;
import org.apache.kafka.connect.runtime.rest.entities.ErrorMessage;
import org.apache.kafka.connect.runtime.rest.entities.LoggerLevel;
import org.apache.kafka.connect.runtime.rest.entities.Message;
import org.apache.kafka.connect.runtime.rest.entities.PluginInfo;
import org.apache.kafka.connect.runtime.rest.entities.ServerInfo;
import org.apache.kafka.connect.runtime.rest.entities.TaskInfo;
import org.apache.kafka.connect.runtime.rest.entities.WorkerStatus;

/**
 * Reads a worker's answers with Kafka Connect's own entity classes and a default ObjectMapper, which refuses a key that
 * a class does not have; writes them out again and compares, which finds a key that is missing or of another type.
 *
 * <pre>java -cp 'e2e/.kafka/libs/*' e2e/kafka/EntityCheck.java http://127.0.0.1:8083 connector</pre>
 *
 * The connector must run and have offsets; at the end it is stopped and its offsets are gone. Prints a line for each
 * request; the exit code is 1 if an answer is not as Connect's.
 */
public class EntityCheck {
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final HttpClient CLIENT = HttpClient.newHttpClient();

    private final String base;
    private int requests;
    private int wrong;

    private EntityCheck(String base) {
        this.base = base;
    }

    public static void main(String[] args) throws Exception {
        EntityCheck check = new EntityCheck(args[0]);
        check.everything(args[1]);
        System.out.printf("%d requests, %d wrong%n", check.requests, check.wrong);
        System.exit(check.wrong == 0 ? 0 : 1);
    }

    private void everything(String name) throws Exception {
        String connector = "/connectors/" + name;

        // These two classes are only ever written by Connect: their keys are compared with an answer of its own making.
        sameKeys("/", 200, new ServerInfo("a cluster"));
        sameKeys("/health", 200, WorkerStatus.healthy());

        is("GET", "/connectors", null, 200, list(String.class));
        JsonNode expanded = request("GET", "/connectors?expand=info&expand=status", null, 200);
        fits("expanded info", expanded.path(name).path("info"), type(ConnectorInfo.class));
        fits("expanded status", expanded.path(name).path("status"), type(ConnectorStateInfo.class));
        is("GET", connector, null, 200, type(ConnectorInfo.class));
        JsonNode config = is("GET", connector + "/config", null, 200, map(String.class));
        is("PUT", connector + "/config", config, 200, type(ConnectorInfo.class));
        is("PATCH", connector + "/config", MAPPER.createObjectNode(), 200, type(ConnectorInfo.class));
        is("GET", connector + "/status", null, 200, type(ConnectorStateInfo.class));
        is("POST", connector + "/restart?includeTasks=true&onlyFailed=true", null, 202, type(ConnectorStateInfo.class));
        is("GET", connector + "/tasks", null, 200, list(TaskInfo.class));
        is("GET", connector + "/tasks/0/status", null, 200, type(ConnectorStateInfo.TaskState.class));
        // ActiveTopicsInfo is only a part of what Connect writes: {"connector": {"topics": […]}}.
        is("GET", connector + "/topics", null, 200,
            MAPPER.constructType(new TypeReference<Map<String, Map<String, List<String>>>>() { }.getType()));

        JsonNode plugins = is("GET", "/connector-plugins?connectorsOnly=false", null, 200, list(PluginInfo.class));
        for (JsonNode plugin : plugins) {
            String path = "/connector-plugins/" + plugin.path("class").asText() + "/config";
            is("GET", path, null, 200, list(ConfigKeyInfo.class));
        }
        String validate = "/connector-plugins/" + config.path("connector.class").asText() + "/config/validate";
        is("PUT", validate, config, 200, type(ConfigInfos.class));
        JsonNode faulty = MAPPER.createObjectNode()
            .put("connector.class", config.path("connector.class").asText())
            .put("tasks.max", "none").put("producer.override.linger.ms", "5").put("transforms", "a");
        is("PUT", validate, faulty, 200, type(ConfigInfos.class));

        is("GET", "/admin/loggers", null, 200, map(LoggerLevel.class));
        is("GET", "/admin/loggers/root", null, 200, type(LoggerLevel.class));
        JsonNode level = MAPPER.createObjectNode().put("level", "INFO");
        is("PUT", "/admin/loggers/org.apache.kafka.clients", level, 200, list(String.class));

        JavaType error = type(ErrorMessage.class);
        is("GET", "/connectors/none", null, 404, error);
        is("GET", "/connectors/none/status", null, 404, error);
        is("GET", "/nowhere", null, 404, error);
        is("PATCH", "/connectors", null, 405, error);
        is("POST", "/connectors", MAPPER.createObjectNode().put("name", name).set("config", config), 409, error);
        is("PUT", connector + "/config", faulty, 400, error);
        is("DELETE", connector + "/offsets", null, 400, error);

        JsonNode offsets = is("GET", connector + "/offsets", null, 200, type(ConnectorOffsets.class));
        if (offsets.path("offsets").isEmpty()) {
            fault("the connector has no offsets, so that their keys were not seen");
        }
        stop(connector);
        offsets = is("GET", connector + "/offsets", null, 200, type(ConnectorOffsets.class));
        is("PATCH", connector + "/offsets", offsets, 200, type(Message.class));
        is("DELETE", connector + "/offsets", null, 200, type(Message.class));
    }

    private void stop(String connector) throws Exception {
        send("PUT", connector + "/stop", null);
        for (int i = 0; i < 600; i++) {
            JsonNode status = MAPPER.readTree(send("GET", connector + "/status", null).body());
            if (status.at("/connector/state").asText().equals("STOPPED") && status.path("tasks").isEmpty()) {
                return;
            }
            Thread.sleep(50);
        }
        fault(connector + " did not stop");
    }

    /** Sends a request and compares its answer with what the class behind {@code type} reads and writes. */
    private JsonNode is(String method, String path, JsonNode body, int status, JavaType type) throws Exception {
        JsonNode answer = request(method, path, body, status);
        fits(method + " " + path, answer, type);
        return answer;
    }

    private void fits(String what, JsonNode answer, JavaType type) {
        try {
            Object entity = MAPPER.readValue(answer.toString(), type);
            compare(what, answer, MAPPER.readTree(MAPPER.writeValueAsString(entity)));
        } catch (Exception e) {
            fault(what + ": " + e.getMessage());
        }
    }

    private void compare(String what, JsonNode answer, JsonNode written) {
        if (answer.isMissingNode() || !answer.equals(written)) {
            fault(what + ": the answer is " + answer + ", Connect would write " + written);
        } else {
            System.out.println("ok " + what);
        }
    }

    private void sameKeys(String path, int status, Object entity) throws Exception {
        JsonNode answer = request("GET", path, null, status);
        JsonNode model = MAPPER.valueToTree(entity);
        // A field of our own beside Connect's: which release of the worker it is.
        JsonNode own = ((ObjectNode) keys(answer)).without("worker_version");
        compare("GET " + path, own, keys(model));
    }

    /** The same object with every text replaced by one. */
    private JsonNode keys(JsonNode object) {
        var keys = MAPPER.createObjectNode();
        object.fieldNames().forEachRemaining(key -> keys.put(key, object.get(key).isTextual() ? "text" : "no text"));
        return keys;
    }

    private JsonNode request(String method, String path, JsonNode body, int status) throws Exception {
        requests++;
        HttpResponse<String> answer = send(method, path, body);
        if (answer.statusCode() != status) {
            fault(method + " " + path + ": status " + answer.statusCode() + " instead of " + status + ": " + answer.body());
        }
        return MAPPER.readTree(answer.body());
    }

    private HttpResponse<String> send(String method, String path, JsonNode body) throws Exception {
        HttpRequest.BodyPublisher publisher =
            body == null ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofString(body.toString());
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(base + path)).method(method, publisher);
        if (body != null) {
            request.header("Content-Type", "application/json");
        }
        return CLIENT.send(request.build(), HttpResponse.BodyHandlers.ofString());
    }

    private void fault(String sentence) {
        wrong++;
        System.out.println("WRONG " + sentence);
    }

    private static JavaType type(Class<?> of) {
        return MAPPER.constructType(of);
    }

    private static JavaType list(Class<?> of) {
        return MAPPER.getTypeFactory().constructCollectionType(List.class, of);
    }

    private static JavaType map(Class<?> of) {
        return MAPPER.getTypeFactory().constructMapType(Map.class, String.class, of);
    }
}
