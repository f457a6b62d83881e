package io.conduktor.connect.websocket;

/** The attributes that dashboards of the connector know; counters are since the start of the task or the last reset. */
public interface WebSocketConnectorMBean {
    long getMessagesReceived();

    long getMessagesDropped();

    long getRecordsProduced();

    int getQueueSize();

    int getQueueCapacity();

    /** 0 to 100. */
    double getQueueUtilizationPercent();

    boolean isConnected();

    /** -1 before the first message. */
    long getMillisSinceLastMessage();

    /** Of the present connection; 0 while there is none. */
    long getUptimeMillis();

    long getTotalReconnects();

    /** Received and not yet in Kafka. */
    long getLagCount();

    /** Dropped messages in percent of those received. */
    double getDropRate();

    String getConnectorName();

    /** Sets the counters of messages received, messages dropped and records produced to 0. */
    void resetCounters();
}
