package io.conduktor.connect.websocket;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javax.management.Attribute;
import javax.management.AttributeList;
import javax.management.AttributeNotFoundException;
import javax.management.DynamicMBean;
import javax.management.MBeanAttributeInfo;
import javax.management.MBeanInfo;
import javax.management.MBeanOperationInfo;
import javax.management.ReflectionException;

/** An MBean of a task. Its attributes' names, types, meanings and values come from the native half. */
final class Figures implements DynamicMBean {
    private static final String CONNECTOR_NAME = "ConnectorName";
    private static final String RESET = "resetCounters";

    /** A JMX client reads attribute by attribute; within this time they are of one reading. */
    private static final long READ_EVERY_NANOS = 500_000_000L;

    private final NativeTask task;
    /** Of the existing connector's MBean, which has its name as an attribute and can be reset; null for the other. */
    private final String connector;
    private final Map<String, Figure> figures = new LinkedHashMap<>();
    private double[] values = {};
    private long readAt;

    /** Where the value of an attribute is, and its Java type. */
    private static final class Figure {
        final int position;
        final String type;
        final String meaning;

        Figure(int position, String type, String meaning) {
            this.position = position;
            this.type = type;
            this.meaning = meaning;
        }

        Object of(double value) {
            switch (type) {
                case "int":
                    return (int) value;
                case "long":
                    return (long) value;
                case "boolean":
                    return value != 0;
                default:
                    return value;
            }
        }
    }

    private Figures(NativeTask task, String type, String connector) {
        this.task = task;
        this.connector = connector;
        List<String> rows = Strings.decode(NativeLibrary.figureNames());
        for (int i = 0; i < rows.size(); i += 4) {
            if (rows.get(i).equals(type)) {
                figures.put(rows.get(i + 1), new Figure(i / 4, rows.get(i + 2), rows.get(i + 3)));
            }
        }
        read();
    }

    /** Every figure of the task. */
    static Figures all(NativeTask task) {
        return new Figures(task, "WebSocketTask", null);
    }

    /** Those that dashboards of the existing connector know. */
    static Figures ofExistingConnector(NativeTask task, String connector) {
        return new Figures(task, "WebSocketConnector", connector);
    }

    /** Reads anew; the last values stay when the task is closed. */
    private synchronized void read() {
        double[] now = task.figures();
        if (now.length > 0) {
            values = now;
        }
        readAt = System.nanoTime();
    }

    /** The latest value, or null if there is no such attribute. */
    private synchronized Object get(String name) {
        if (name.equals(CONNECTOR_NAME)) {
            return connector;
        }
        if (System.nanoTime() - readAt >= READ_EVERY_NANOS) {
            read();
        }
        Figure figure = figures.get(name);
        return figure == null ? null : figure.of(values[figure.position]);
    }

    @Override
    public Object getAttribute(String name) throws AttributeNotFoundException {
        Object value = get(name);
        if (value == null) {
            throw new AttributeNotFoundException(name);
        }
        return value;
    }

    @Override
    public AttributeList getAttributes(String[] names) {
        AttributeList list = new AttributeList();
        for (String name : names) {
            Object value = get(name);
            if (value != null) {
                list.add(new Attribute(name, value));
            }
        }
        return list;
    }

    @Override
    public void setAttribute(Attribute attribute) throws AttributeNotFoundException {
        throw new AttributeNotFoundException(attribute.getName() + " cannot be set");
    }

    @Override
    public AttributeList setAttributes(AttributeList attributes) {
        return new AttributeList();
    }

    @Override
    public Object invoke(String action, Object[] arguments, String[] signature) throws ReflectionException {
        if (connector == null || !action.equals(RESET)) {
            throw new ReflectionException(new NoSuchMethodException(action));
        }
        task.resetCounters();
        read();
        return null;
    }

    @Override
    public MBeanInfo getMBeanInfo() {
        List<MBeanAttributeInfo> attributes = new ArrayList<>();
        figures.forEach((name, figure) -> attributes.add(
                new MBeanAttributeInfo(name, figure.type, figure.meaning, true, false, figure.type.equals("boolean"))));
        List<MBeanOperationInfo> operations = new ArrayList<>();
        if (connector != null) {
            attributes.add(new MBeanAttributeInfo(CONNECTOR_NAME, "java.lang.String", "", true, false, false));
            operations.add(new MBeanOperationInfo(
                    RESET, "Lets MessagesReceived, MessagesDropped and RecordsProduced begin at 0", null, "void", MBeanOperationInfo.ACTION));
        }
        return new MBeanInfo(
                Figures.class.getName(),
                "Figures of one task of the WebSocket connector, since its start",
                attributes.toArray(new MBeanAttributeInfo[0]),
                null,
                operations.toArray(new MBeanOperationInfo[0]),
                null);
    }
}
