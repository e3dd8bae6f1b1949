"""A job that is done at once, or goes wrong at once."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from tradewind.storage import Store, open_store


@dataclass(frozen=True)
class Job:
    url: str
    run: str = "quick"
    says: str = ""
    kills: bool = False

    @property
    def store(self) -> Store:
        return open_store(self.url)


def work(job: Job) -> None:
    if job.kills:
        os.kill(os.getpid(), signal.SIGKILL)
    if job.says:
        raise RuntimeError(job.says)
