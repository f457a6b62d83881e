package io.conduktor.connect.websocket;

/** See {@link WebSocketConnectorMBean}; the name is the one that JMX asks for. */
final class WebSocketConnector implements WebSocketConnectorMBean {
    private final Figures figures;
    private final String connector;
    private volatile long receivedBefore;
    private volatile long droppedBefore;
    private volatile long producedBefore;

    WebSocketConnector(Figures figures, String connector) {
        this.figures = figures;
        this.connector = connector;
    }

    @Override
    public long getMessagesReceived() {
        return figures.get("MessagesReceived") - receivedBefore;
    }

    @Override
    public long getMessagesDropped() {
        return dropped() - droppedBefore;
    }

    @Override
    public long getRecordsProduced() {
        return figures.get("RecordsCommitted") - producedBefore;
    }

    @Override
    public int getQueueSize() {
        return (int) figures.get("QueueRecords");
    }

    @Override
    public int getQueueCapacity() {
        return (int) figures.get("QueueCapacityRecords");
    }

    @Override
    public double getQueueUtilizationPercent() {
        return percent(getQueueSize(), getQueueCapacity());
    }

    @Override
    public boolean isConnected() {
        return figures.get("ConnectedSinceMillis") > 0;
    }

    @Override
    public long getMillisSinceLastMessage() {
        return since(figures.get("LastMessageMillis"), -1);
    }

    @Override
    public long getUptimeMillis() {
        return since(figures.get("ConnectedSinceMillis"), 0);
    }

    @Override
    public long getTotalReconnects() {
        return figures.get("Reconnects");
    }

    @Override
    public long getLagCount() {
        return Math.max(0, getMessagesReceived() - getRecordsProduced());
    }

    @Override
    public double getDropRate() {
        return percent(getMessagesDropped(), getMessagesReceived());
    }

    @Override
    public String getConnectorName() {
        return connector;
    }

    @Override
    public void resetCounters() {
        receivedBefore = figures.get("MessagesReceived");
        droppedBefore = dropped();
        producedBefore = figures.get("RecordsCommitted");
    }

    private long dropped() {
        return figures.get("MessagesDroppedOldest") + figures.get("MessagesDroppedNewest");
    }

    private static double percent(long part, long whole) {
        return whole <= 0 ? 0 : part * 100.0 / whole;
    }

    private static long since(long millis, long unknown) {
        return millis <= 0 ? unknown : Math.max(0, System.currentTimeMillis() - millis);
    }
}
