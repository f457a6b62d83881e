package io.conduktor.connect.websocket;

import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import javax.management.InstanceAlreadyExistsException;
import javax.management.InstanceNotFoundException;
import javax.management.JMException;
import javax.management.MBeanServer;
import javax.management.ObjectName;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The two MBeans of a task: the one that the existing connector has, and one with all figures. */
final class TaskMBeans {
    private static final Logger log = LoggerFactory.getLogger(TaskMBeans.class);

    private static final String DOMAIN = "io.conduktor.connect.websocket";
    private static final int URL_LENGTH = 50;

    /** Whose an object name is: a predecessor that stops late leaves its successor's beans alone. */
    private static final Map<ObjectName, TaskMBeans> OWNERS = new HashMap<>();

    private final MBeanServer server = ManagementFactory.getPlatformMBeanServer();
    private final List<ObjectName> names = new ArrayList<>();

    private TaskMBeans() {}

    /** Without them a task runs all the same: what fails is logged. */
    static TaskMBeans register(NativeTask task, String connector, String url) {
        TaskMBeans beans = new TaskMBeans();
        String name = ObjectName.quote(connector);
        beans.add(
                Figures.ofExistingConnector(task, connector),
                DOMAIN + ":type=WebSocketConnector,name=" + name + ",url=" + ObjectName.quote(cleaned(url)));
        beans.add(Figures.all(task), DOMAIN + ":type=WebSocketTask,connector=" + name + ",task=0");
        return beans;
    }

    void unregister() {
        for (ObjectName name : names) {
            try {
                synchronized (OWNERS) {
                    if (OWNERS.remove(name, this)) {
                        server.unregisterMBean(name);
                    }
                }
            } catch (InstanceNotFoundException e) {
                log.debug("event=mbean_gone name={}", name);
            } catch (JMException e) {
                log.warn("event=mbean_failed name={} reason=\"{}\"", name, e.toString());
            }
        }
    }

    private void add(Object bean, String text) {
        try {
            ObjectName name = new ObjectName(text);
            synchronized (OWNERS) {
                try {
                    server.registerMBean(bean, name);
                } catch (InstanceAlreadyExistsException e) {
                    // It belongs to an earlier task that did not stop in time.
                    server.unregisterMBean(name);
                    server.registerMBean(bean, name);
                }
                OWNERS.put(name, this);
            }
            names.add(name);
        } catch (JMException e) {
            log.warn("event=mbean_failed name={} reason=\"{}\"", text, e.toString());
        }
    }

    /** As the existing connector writes a URL into an object name. */
    private static String cleaned(String url) {
        String cleaned = url.replaceFirst("^wss?://", "").replaceAll("[^a-zA-Z0-9._-]", "_");
        return cleaned.substring(0, Math.min(URL_LENGTH, cleaned.length()));
    }
}
