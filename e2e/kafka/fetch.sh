#!/usr/bin/env bash
# Fetches the jars named by pom.xml, once: those of Apache Kafka and Kafka Connect into e2e/.kafka/libs, those of the last
# Connect before 4.0 into e2e/.kafka/libs-3.9, the Prometheus JMX exporter into e2e/.kafka/exporter, and into e2e/.kafka/sample
# a source connector from Connect's own tests that stores nothing and asks for nothing: under its cover a real Connect shows
# and alters the offsets of any connector.
# A mark beside them holds the checksums of pom and script: a change fetches again, an interrupted fetch is not complete.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
home=$here/../.kafka
mark=$home/complete
EXPORTER=1.0.1
sum=$(cat "$here/pom.xml" "$here/fetch.sh" | cksum)

if [ -f "$mark" ] && [ "$(cat "$mark")" = "$sum" ]; then
  echo "kafka: jars are in e2e/.kafka already"
  exit 0
fi
command -v mvn >/dev/null || {
  echo "kafka: mvn not found; install it with: apt-get install -y maven" >&2
  exit 1
}

# copy <profile of the pom> <directory>
copy() {
  mvn -q -B -f "$here/pom.xml" -P "$1" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$2" </dev/null
}

fetch() {
  local kafka sample=$home/sample services=META-INF/services
  kafka=$(sed -n 's:.*<kafka.version>\(4.*\)</kafka.version>.*:\1:p' "$here/pom.xml")
  copy 4.3 "$home/libs" && copy 3.9 "$home/libs-3.9" &&
    mvn -q -B dependency:copy -f "$here/pom.xml" -Dartifact="io.prometheus.jmx:jmx_prometheus_javaagent:$EXPORTER" \
      -Dmdep.stripVersion=true -DoutputDirectory="$home/exporter" </dev/null &&
    mvn -q -B -f "$here/pom.xml" dependency:unpack -Dartifact="org.apache.kafka:connect-runtime:$kafka:jar:test" \
      -Dmdep.unpack.includes='org/apache/kafka/connect/runtime/SampleSource*' -DoutputDirectory="$sample" </dev/null &&
    mkdir -p "$sample/$services" &&
    echo org.apache.kafka.connect.runtime.SampleSourceConnector \
      >"$sample/$services/org.apache.kafka.connect.source.SourceConnector"
}

rm -rf "$home"
mkdir -p "$home"
echo "kafka: fetching jars from Maven Central"
# A registry drops a connection sometimes; what has come stays in Maven's cache, so that another try is cheap.
for try in 1 2 3; do
  if fetch; then
    echo "$sum" >"$mark"
    echo "kafka: $(find "$home" -name '*.jar' | wc -l) jars in e2e/.kafka"
    exit 0
  fi
  echo "kafka: fetching failed (try $try of 3)" >&2
done
exit 1
