"""A closed loop of clients against one replica, and what they saw.

Each client asks again as soon as it was answered, so that there are always `clients` requests, in service or waiting.
Measured is from when each client had its first answer, or `seconds` after the start at the latest, for `seconds`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from typing import Any, TypeVar

import uvloop

from tradewind.records import ServingFigures, ServingLoad
from tradewind.serving.trials.figures import Window, figures
from tradewind.serving.trials.requests import Requests
from tradewind.serving.trials.stream import Answer, Connection

FEW_WORDS = 4
Result = TypeVar("Result")


def measure(url: str, model: str, load: ServingLoad) -> ServingFigures:
    """What `load` sees of a replica. Raises RunError when it answers wrongly, or too little in the time."""
    window, answers = _run(_measured(url, Requests(model, load)))
    return figures(answers, window)


async def _measured(url: str, requests: Requests) -> tuple[Window, Sequence[Answer]]:
    requests = replace(requests, words_per_token=await _words_per_token(url, requests))
    load, answers, numbers = requests.load, list[Answer](), count()
    warm = [asyncio.Event() for _ in range(load.clients)]
    try:
        async with asyncio.TaskGroup() as group:  # a client that fails ends all of it
            clients = [group.create_task(_ask(url, requests, numbers, answers, one)) for one in warm]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(_all(warm), load.seconds)
            began = time.perf_counter()
            await asyncio.sleep(load.seconds)
            window = Window(began, time.perf_counter())
            for client in clients:
                client.cancel()
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return window, answers


async def _ask(
    url: str, requests: Requests, numbers: Iterator[int], answers: list[Answer], warm: asyncio.Event
) -> None:
    """One client, until it is cancelled."""
    connection = await Connection(url).open()
    try:
        while True:
            answer, done = connection.ask(requests.body(next(numbers)))
            answers.append(answer)
            await done
            warm.set()
    finally:
        connection.close()


async def _all(events: Sequence[asyncio.Event]) -> None:
    for event in events:
        await event.wait()


async def _words_per_token(url: str, requests: Requests) -> float:
    """Found with two prompts: a short one that fits into any context, then one of about the traffic's length."""
    connection = await Connection(url).open()
    draw = random.Random("words per token")
    words, tokens = FEW_WORDS, 0
    try:
        for _ in range(2):
            words = max(1, round(words * requests.load.tokens_in / tokens)) if tokens else words
            _, done = connection.ask(requests.asking(draw, words, 1))
            tokens = (await done).usage()["prompt_tokens"]
    finally:
        connection.close()
    return words / tokens


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end, in a thread of its own where this one has a loop that runs, as a notebook's has."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return uvloop.run(work)
    with ThreadPoolExecutor(1) as aside:
        return aside.submit(uvloop.run, work).result()
