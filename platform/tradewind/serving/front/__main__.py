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

import uvloop

from tradewind.serving.front.relay import Relay
from tradewind.serving.front.settings import FrontSettings


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
        targets=tuple(given.replica),
    )
    uvloop.run(run(settings))


async def run(settings: FrontSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    relay = Relay(settings)
    port = await relay.start()
    print(f"http://{settings.host}:{port}", flush=True)  # noqa: T201 - the answer for whoever asked for port 0
    gc.freeze()  # what was imported is not looked at again
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
    await relay.stop()


if __name__ == "__main__":
    main()
