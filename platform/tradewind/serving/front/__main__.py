"""A front without Ray: `python -m tradewind.serving.front --port 8000 --replica http://127.0.0.1:9001 …`.

Replicas are any servers of the OpenAI API. Each is asked for `/health` twice a second, and gets requests while it
answers 200.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
from urllib.parse import urlsplit

import uvloop

from tradewind.serving.front.board import TOKENS_OF_A_REQUEST
from tradewind.serving.front.relay import Relay
from tradewind.serving.front.settings import FrontSettings
from tradewind.serving.report import ReplicaReport

ASK_EVERY_S = 0.5
ANSWER_WITHIN_S = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--replica", action="append", default=[], metavar="URL")
    parser.add_argument("--first-answer-s", type=float, default=FrontSettings.first_answer_s)
    parser.add_argument("--queue", type=int, default=FrontSettings.queue)
    parser.add_argument("--drain-s", type=float, default=FrontSettings.drain_s)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    settings = FrontSettings(
        host=given.host,
        port=given.port,
        first_answer_s=given.first_answer_s,
        queue=given.queue,
        drain_s=given.drain_s,
    )
    uvloop.run(run(settings, given.replica))


async def run(settings: FrontSettings, urls: list[str]) -> None:
    """Serve until SIGTERM or SIGINT."""
    relay = Relay(settings)
    port = await relay.start()
    print(f"http://{settings.host}:{port}", flush=True)  # noqa: T201 - the answer for whoever asked for port 0
    gc.freeze()  # what was imported is not looked at again
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    watchers = [asyncio.create_task(_watch(relay, url)) for url in urls]
    await ended.wait()
    for watcher in watchers:
        watcher.cancel()
    await relay.stop()


async def _watch(relay: Relay, url: str) -> None:
    while True:
        if await _is_healthy(url):
            seat = relay.board.seats.get(url)
            running = seat.open if seat else 0  # a server that reports nothing has what this front gave it
            tokens = round(running * TOKENS_OF_A_REQUEST)
            relay.report(ReplicaReport(url, url, "ready", capacity=1.0, running=running, tokens_in_flight=tokens))
        await asyncio.sleep(ASK_EVERY_S)


async def _is_healthy(url: str) -> bool:
    parts = urlsplit(url)
    ask = f"GET /health HTTP/1.1\r\nhost: {parts.netloc}\r\nconnection: close\r\n\r\n".encode()
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
            try:
                writer.write(ask)
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


if __name__ == "__main__":
    main()
