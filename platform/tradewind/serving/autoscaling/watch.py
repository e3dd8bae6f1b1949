"""An actor beside Serve's controller for what must not hold that up: it asks the front, and writes records."""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue
from typing import Any

from tradewind.errors import TradewindError
from tradewind.serving.autoscaling.history import Recorder
from tradewind.serving.autoscaling.limits import Limits
from tradewind.serving.autoscaling.signals import Decision, Signals
from tradewind.storage import open_store

FRONT = "Front"
ENDED_WITHIN_S = 10.0

log = logging.getLogger(__name__)

Seen = tuple[Signals, Decision]


class Watch:
    """One for each endpoint. It ends with the policy that made it, and what was seen by then is written."""

    def __init__(
        self, application: str, endpoint: str, store_url: str, policy: str, limits: Limits, settings: dict[str, Any]
    ) -> None:
        self._application = application
        self._front: Any = None
        self._recorder = Recorder(open_store(store_url), endpoint, policy, limits, settings)
        self._seen: SimpleQueue[Seen | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="tradewind-scaling", daemon=True)
        self._writer.start()

    async def signals(self) -> Any:
        """What the front's board knows now. Raises Serve's errors while there is no front."""
        from ray import serve

        if self._front is None:
            self._front = serve.get_deployment_handle(FRONT, self._application)
        return await self._front.signals.remote()

    async def want(self, replicas: int) -> None:
        """Have the front give requests to so many replicas."""
        if self._front is not None:
            await self._front.want.remote(replicas)

    async def see(self, signals: Signals, decision: Decision) -> None:
        """Have it written; returns at once."""
        self._seen.put((signals, decision))

    def close(self) -> None:
        """Write what is left."""
        self._seen.put(None)
        self._writer.join(ENDED_WITHIN_S)

    def __ray_shutdown__(self) -> None:
        self.close()

    def _write(self) -> None:
        """A store that does not answer loses records, and scaling goes on."""
        while (one := self._seen.get()) is not None:
            self._try(lambda one=one: self._recorder.see(*one))
        self._try(self._recorder.flush)

    def _try(self, write: Any) -> None:
        try:
            write()
        except (TradewindError, OSError) as exc:
            log.warning("scaling is not recorded: %s", exc)
