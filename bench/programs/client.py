"""What one writes in Python: websockets reads, confluent-kafka sends.

It reconnects at once, waits when the producer's queue is full, and ends with a closing handshake and a flush.
Environment: see "The contract of a program" in bench/README.md.
"""

import asyncio
import os
import signal
import ssl
import sys

from confluent_kafka import Producer
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

URL = os.environ["WEBSOCKET_URL"]
TOPIC = os.environ["KAFKA_TOPIC"]


def log_failure(error, _message):
    if error is not None:
        print(f"a message was not delivered: {error}", file=sys.stderr)


async def send(producer, message):
    while True:
        try:
            producer.produce(TOPIC, message, on_delivery=log_failure)
            producer.poll(0)
            return
        except BufferError:
            producer.poll(0)
            await asyncio.sleep(0.001)


async def forward(producer):
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    tls = None
    if URL.startswith("wss:"):
        tls = ssl.create_default_context(cafile=os.environ.get("WEBSOCKET_CA"))

    async def close_when_stopping(socket):
        await stopping.wait()
        await socket.close()

    while not stopping.is_set():
        try:
            async with connect(URL, ssl=tls, max_size=None) as socket:
                closer = asyncio.create_task(close_when_stopping(socket))
                try:
                    # Goes on during the closing handshake, whose messages still count.
                    async for message in socket:
                        await send(producer, message)
                finally:
                    closer.cancel()
        except (OSError, ConnectionClosed) as error:
            print(f"the connection failed: {error}", file=sys.stderr)
            if isinstance(error, OSError) and not stopping.is_set():
                await asyncio.sleep(0.1)


def main():
    producer = Producer(
        {
            "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 5,
        }
    )
    asyncio.run(forward(producer))
    producer.flush(30)


if __name__ == "__main__":
    main()
