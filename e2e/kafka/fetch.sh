#!/usr/bin/env bash
# Fetches the jars of Apache Kafka and Kafka Connect named by pom.xml into e2e/.kafka/libs, once.
# A mark beside them holds the checksum of the pom: a changed pom fetches again, an interrupted fetch is not taken for a complete one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
home=$here/../.kafka
mark=$home/complete
sum=$(cksum <"$here/pom.xml")

if [ -f "$mark" ] && [ "$(cat "$mark")" = "$sum" ]; then
  echo "kafka: jars are in e2e/.kafka/libs already"
  exit 0
fi
command -v mvn >/dev/null || {
  echo "kafka: mvn not found; install it with: apt-get install -y maven" >&2
  exit 1
}
rm -rf "$home/libs" "$mark"
mkdir -p "$home"
echo "kafka: fetching jars from Maven Central"
# Registries drop a connection now and then; what was fetched stays in Maven's cache, so a second try is cheap.
for try in 1 2 3; do
  if mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$home/libs" </dev/null; then
    echo "$sum" >"$mark"
    echo "kafka: $(find "$home/libs" -name '*.jar' | wc -l) jars in e2e/.kafka/libs"
    exit 0
  fi
  echo "kafka: fetching failed (try $try of 3)" >&2
done
exit 1
