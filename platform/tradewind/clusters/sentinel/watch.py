"""From a notice to the end of the node.

A thread for each source listens, and one acts. A notice is passed on to subscribers first; then Ray's head is asked to
drain each node on this machine, again every second until it agrees; shortly before the deadline Ray's processes here
are ended. All waiting goes by a clock that nobody sets. What is known of a notice is in its file, so a sentinel that is
started again takes up where its predecessor was.

The node of a cluster's head is told of, but neither drained nor ended: the cluster would go before its time.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from tradewind.clusters import notices
from tradewind.clusters.notices import Notice
from tradewind.clusters.sentinel.drain import drain, drain_by_command
from tradewind.clusters.sentinel.raylet import Raylet, end
from tradewind.clusters.sentinel.source import Source
from tradewind.errors import IntegrityError

PAUSE_S = 1.0
"""Between attempts of what failed, and between looks at which nodes are here."""
END_BEFORE_S = 2.0
"""Of a deadline, so that the head hears the goodbye while the machine still has a network."""
TRIES_PER_COMMAND = 4
"""One attempt in so many is Ray's own command."""
_log = logging.getLogger(__name__)


@dataclass
class Sentinel:
    sources: Sequence[Source]
    find: Callable[[], list[Raylet]]
    """The Ray nodes that are on this machine now. Ray may be started again at any time."""

    _heard: queue.Queue[Callable[[], None]] = field(default_factory=queue.Queue)
    _ending: Ending | None = None

    def run(self) -> None:
        """Watch until the process ends."""
        self._resume()
        for source in self.sources:
            threading.Thread(target=self._listen, args=(source,), daemon=True).start()
        _log.info("watching %s", ", ".join(type(source).__name__ for source in self.sources))
        while True:
            if self._ending:
                self._ending.advance()
            self._hear()

    def _resume(self) -> None:
        try:
            held = notices.current()
        except IntegrityError as exc:
            _log.warning("%s", exc)
            held = None
        if held and held.is_certain:
            self._ending = Ending(held, self.find)
        else:
            notices.withdraw()  # it comes again if it still holds

    def _listen(self, source: Source) -> None:
        """Pass on what a source says, whenever it says something else than before."""
        told, problem = "", ""
        while True:
            pause_s = source.pause_s
            try:
                notice = source.poll()
            except Exception as exc:  # noqa: BLE001 - the thread is the boundary: it must hear the next answer
                pause_s, before, problem = PAUSE_S, problem, repr(exc)
                if problem != before:
                    _log.warning("%s gets no answer: %s", type(source).__name__, problem)
            else:
                event, problem = notice.event if notice else "", ""
                if event != told:
                    self._heard.put(partial(self._take, notice, source) if notice else partial(self._withdraw, told))
                told = event
            time.sleep(pause_s)

    def _hear(self) -> None:
        busy = self._ending is not None and not self._ending.is_done
        try:
            self._heard.get(timeout=self._ending.pause_s() if self._ending and busy else None)()
        except queue.Empty:
            return

    def _take(self, notice: Notice, source: Source) -> None:
        held = notices.announce(notice)
        if held.event != notice.event:
            _log.info("passed over, as there is more urgent news: %s", notice.reason)
            return
        _log.warning("%s: %s, deadline %s", held.kind, held.reason, held.deadline_unix_s)
        if held.is_certain:
            self._ending = Ending(held, self.find, source)

    def _withdraw(self, event: str) -> None:
        """A drain cannot be taken back, so neither can what was certain, but for a drill that is called off."""
        held = notices.current()
        if held and held.event == event and not held.is_certain:
            notices.withdraw()
        if held is None and self._ending and self._ending.notice.event == event:
            self._ending = None


@dataclass
class Ending:
    """What is being done about one notice."""

    notice: Notice
    find: Callable[[], list[Raylet]]
    source: Source | None = None
    is_done: bool = False

    def __post_init__(self) -> None:
        self._end_at = time.monotonic() + (self.notice.remaining_s() or 0.0) - END_BEFORE_S
        self._drained: set[str] = set()
        self._tries = 0

    def pause_s(self) -> float:
        return max(0.0, min(PAUSE_S, self._end_at - time.monotonic()))

    def advance(self) -> None:
        """Drain what is not drained yet, or end it all when the time is up."""
        if self.is_done:
            return
        for raylet in self._workers():
            if raylet.node_id not in self._drained:
                self._drain(raylet)
        if time.monotonic() >= self._end_at:
            self._end()

    def _workers(self) -> list[Raylet]:
        return [raylet for raylet in self.find() if not raylet.is_head]

    def _drain(self, raylet: Raylet) -> None:
        self._tries += 1
        call = drain if self._tries % TRIES_PER_COMMAND else drain_by_command
        try:
            call(raylet, reason=self.notice.reason, deadline_unix_s=self.notice.deadline_unix_s or time.time())
        except ConnectionError as exc:
            _log.warning("%s", exc)
            return
        self._drained.add(raylet.node_id)
        _log.info("drained %s, %.2f s after the notice", raylet.node_id, time.time() - self.notice.noticed_unix_s)

    def _end(self) -> None:
        self.is_done = True
        for raylet in self._workers():
            _log.warning("the time is up: ending Ray's node %s", raylet.node_id)
            end(raylet)
        if self.source is None:
            return
        try:
            self.source.acknowledge(self.notice)
        except OSError as exc:
            _log.warning("%s was not told: %s", type(self.source).__name__, exc)
