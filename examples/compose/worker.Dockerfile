# The worker in an image, for worker.yaml. The context is the repository.
FROM rust:1-trixie AS build
WORKDIR /src
COPY . .
RUN bash scripts/worker.sh

FROM debian:trixie-slim
# For wss://: the certificate authorities that the worker trusts are the system's.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system connect \
 && install -d -o connect -g connect /var/lib/kafka/data
COPY --from=build /src/target/worker/connect-websocket /usr/local/bin/
COPY --from=build /src/target/worker/LICENSE /src/target/worker/THIRD-PARTY.txt /usr/share/doc/connect-websocket/
USER connect
ENTRYPOINT ["/usr/local/bin/connect-websocket"]
