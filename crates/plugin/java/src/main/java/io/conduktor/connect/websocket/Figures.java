package io.conduktor.connect.websocket;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import javax.management.Attribute;
import javax.management.AttributeList;
import javax.management.AttributeNotFoundException;
import javax.management.DynamicMBean;
import javax.management.MBeanAttributeInfo;
import javax.management.MBeanInfo;
import javax.management.ReflectionException;

/** All figures of a task, and the MBean that shows them: names, meanings and values come from the native half. */
final class Figures implements DynamicMBean {
    /** A JMX client reads attribute by attribute; within this time they are of one reading. */
    private static final long READ_EVERY_NANOS = 500_000_000L;

    private final NativeTask task;
    private final Map<String, Integer> positions = new HashMap<>();
    private final MBeanInfo info;
    private long[] values = {};
    private long readAt;

    Figures(NativeTask task) {
        this.task = task;
        List<String> rows = Strings.decode(NativeLibrary.figureNames());
        List<MBeanAttributeInfo> attributes = new ArrayList<>();
        for (int i = 0; i < rows.size(); i += 2) {
            positions.put(rows.get(i), i / 2);
            attributes.add(new MBeanAttributeInfo(rows.get(i), "long", rows.get(i + 1), true, false, false));
        }
        info = new MBeanInfo(
                Figures.class.getName(),
                "Figures of one task of the WebSocket connector, since its start",
                attributes.toArray(new MBeanAttributeInfo[0]),
                null,
                null,
                null);
        read();
    }

    /** The latest value; the last one when the task is closed. */
    synchronized long get(String name) {
        if (System.nanoTime() - readAt >= READ_EVERY_NANOS) {
            read();
        }
        return values[positions.get(name)];
    }

    /** Reads once more, so that what is asked for from now on is no older. */
    synchronized void read() {
        long[] now = task.figures();
        if (now.length > 0) {
            values = now;
        }
        readAt = System.nanoTime();
    }

    @Override
    public Object getAttribute(String name) throws AttributeNotFoundException {
        if (!positions.containsKey(name)) {
            throw new AttributeNotFoundException(name);
        }
        return get(name);
    }

    @Override
    public AttributeList getAttributes(String[] names) {
        AttributeList list = new AttributeList();
        for (String name : names) {
            if (positions.containsKey(name)) {
                list.add(new Attribute(name, get(name)));
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
        throw new ReflectionException(new NoSuchMethodException(action));
    }

    @Override
    public MBeanInfo getMBeanInfo() {
        return info;
    }
}
