"""Machines that nobody can log in to are given up in minutes, with the reason; Ray waits for 15 and says none.

Ray's updater asks again and again whether its node is still there while it waits for SSH. A node that has been given up
is answered for as gone: the updater ends, and the autoscaler ends the machine and asks for another one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tradewind.clusters.hybrid.leases import Login
from tradewind.errors import AuthError, TradewindError

WAITING = "waiting-for-ssh"
"""A value of Ray's `ray-node-status`."""

LONGEST_S = 300.0
"""A machine of a cloud boots in a minute or two."""

REFUSED_S = 90.0
"""SSH may answer before the first boot has put the key into its place; a key that is refused after that is wrong."""

PROBE_EVERY_S = 20.0


@dataclass(frozen=True)
class Way:
    """How a node is reached. `host` gives its address, None while it has none."""

    login: Login
    host: Callable[[], str | None]


@dataclass
class Wait:
    since: float
    probed: float = 0.0
    given_up: bool = False


@dataclass
class Logins:
    """`tell` is called once for each node that is given up, with the reason; `clock` counts seconds."""

    tell: Callable[[str, str], None]
    clock: Callable[[], float] = time.monotonic
    _ways: dict[str, Way] = field(default_factory=dict)
    _waits: dict[str, Wait] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reach(self, node: str, way: Way) -> None:
        with self._lock:
            self._ways[node] = way

    def status(self, node: str, status: str) -> None:
        """Ray's updater has come to another step with a node."""
        with self._lock:
            if status == WAITING:
                self._waits[node] = Wait(self.clock())
            else:
                self._waits.pop(node, None)

    def is_given_up(self, node: str) -> bool:
        """Until Ray's updater has come to another step with the node."""
        with self._lock:
            wait, way = self._waits.get(node), self._ways.get(node)
        if wait is None or wait.given_up:
            return wait is not None
        waited_s = self.clock() - wait.since
        problem = self._probe(wait, way) if way is not None and waited_s > REFUSED_S else None
        if isinstance(problem, AuthError) or waited_s > LONGEST_S:
            wait.given_up = True
            self.tell(node, problem.message if problem else f"nobody could log in within {waited_s:.0f} s")
        return wait.given_up

    def _probe(self, wait: Wait, way: Way) -> TradewindError | None:
        """What keeps us out, asked now and then."""
        host, now = way.host(), self.clock()
        if not host or now - wait.probed < PROBE_EVERY_S:
            return None
        wait.probed = now
        try:
            way.login.check(host)
        except TradewindError as exc:
            return exc
        return None
