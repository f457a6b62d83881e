#!/bin/sh
# usage: connect.sh worker.properties [connector.properties]
# Apache Kafka Connect, standalone, from the jars of the end-to-end tests, with the JVM options that the distribution's
# connect-standalone.sh and kafka-run-class.sh give it. The shell becomes the JVM, so that the JVM is what is measured.
e2e=$(cd "$(dirname "$0")/../../e2e" && pwd)
exec java -Xms256M -Xmx2G -server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 \
  -XX:+ExplicitGCInvokesConcurrent -XX:MaxInlineLevel=15 -Djava.awt.headless=true \
  -Dlog4j2.configurationFile="$e2e/kafka/log4j2.properties" -cp "$e2e/.kafka/libs/*" \
  org.apache.kafka.connect.cli.ConnectStandalone "$@"
