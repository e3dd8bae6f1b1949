"""One backend of a cluster: a provider of Ray, and what was last seen of its machines.

A listing that fails or takes too long leaves the machines as they were last seen, since an empty list would tell Ray
that all of them are gone. Questions about a machine are answered from the same picture, so that they need no cloud.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field, replace
from typing import Any

from tradewind.clusters.hybrid.failures import Failure, understand
from tradewind.clusters.hybrid.tags import Carried

LISTING_TIMEOUT_S = 10.0
"""A loop of Ray's autoscaler takes 5 s; a cloud that is slower than this is shown as it was."""

APPEARS_S = 10.0
"""Listings of clouds lag behind: a machine that was just launched is kept so long without being listed."""

ENDING_S = 300.0
"""A machine that was ended is no longer shown; if it is still listed after so long, it was not ended after all."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Machine:
    native: str
    tags: Mapping[str, str]
    running: bool
    launched: float = 0.0
    """`time.monotonic` of a launch by this process, as long as no listing has shown the machine; else 0."""

    @property
    def carried(self) -> Carried:
        return Carried(self.tags)


@dataclass
class Backend:
    name: str
    kind: str
    provider: Any
    """A `NodeProvider` of Ray."""
    ssh_ip: str = "internal"
    ssh_user: str | None = None
    trouble: Failure | None = None
    seen: float | None = None
    """`time.monotonic` of the last listing that worked."""
    _machines: dict[str, Machine] = field(default_factory=dict)
    _ended: dict[str, float] = field(default_factory=dict)
    _addresses: dict[tuple[str, str], str] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _pool: ThreadPoolExecutor = field(init=False)
    _listing: Future[None] | None = None
    _asked: float = 0.0

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"tradewind-list-{self.name}")

    @property
    def age_s(self) -> float | None:
        """Seconds since the machines were last listed; None when they never were."""
        return None if self.seen is None else time.monotonic() - self.seen

    def ask(self) -> None:
        """Begin to list, unless a listing is under way."""
        with self._lock:
            if self._listing is None:
                self._asked = time.monotonic()
                self._listing = self._pool.submit(self._list)

    def machines(self, *, timeout_s: float = LISTING_TIMEOUT_S) -> list[Machine]:
        """The machines as of now, or as they were last seen when the cloud does not answer in time."""
        self.ask()
        with self._lock:
            listing = self._listing
        if listing is not None:
            self._wait(listing, timeout_s)
        return self.known()

    def known(self) -> list[Machine]:
        """The machines as last seen."""
        with self._lock:
            return list(self._machines.values())

    def machine(self, native: str) -> Machine | None:
        """As last seen; None for one that is not there."""
        with self._lock:
            return self._machines.get(native)

    def found(self, native: str) -> Machine | None:
        """As last seen, after another look where it was not."""
        if (machine := self.machine(native)) is None:
            self.machines()
            machine = self.machine(native)
        return machine

    def address(self, native: str, which: str) -> str | None:
        """The internal or external address, None while it has none. Once known, it is not asked for again."""
        key = (native, which)
        with self._lock:
            if key in self._addresses:
                return self._addresses[key]
        address = self.provider.internal_ip(native) if which == "internal" else self.provider.external_ip(native)
        if address:
            with self._lock:
                self._addresses[key] = address
        return address or None

    def create(self, node_config: dict[str, Any], tags: dict[str, str], count: int, *, token_tag: str) -> list[str]:
        """Native ids of the machines that were made. Raises whatever the provider raises."""
        made = self.provider.create_node(node_config, dict(tags), count)
        natives = list(made) if made else self.with_tag(token_tag, tags[token_tag])
        self.keep(natives, tags)
        return natives

    def with_tag(self, name: str, value: str) -> list[str]:
        """Ask the cloud for machines with a tag. Raises whatever the provider raises."""
        return list(self.provider.non_terminated_nodes({name: value}))

    def end_failed(self, natives: list[str]) -> list[str]:
        """Of machines of a launch that failed, those that run. Azure keeps the others as well, which have no state."""
        failed = [one for one in natives if self.kind == "azure" and not self.provider.cached_nodes[one]["status"]]
        if failed:
            self.end(failed)
        return [one for one in natives if one not in failed]

    def keep(self, natives: Iterable[str], tags: Mapping[str, str]) -> None:
        """Machines that were just launched are there, whether a listing shows them or not yet."""
        with self._lock:
            for native in natives:
                self._ended.pop(native, None)
                self._machines[native] = Machine(native, dict(tags), running=False, launched=time.monotonic())

    def retag(self, native: str, tags: Mapping[str, str]) -> None:
        """Set tags in the cloud; of a machine that is gone they need none."""
        try:
            if self.kind == "aws":
                _retag_aws(self.provider, native, dict(tags))
            else:
                self.provider.set_node_tags(native, dict(tags))
        except Exception as exc:
            if not _is_gone(exc):
                raise
        with self._lock:
            if machine := self._machines.get(native):
                self._machines[native] = replace(machine, tags={**machine.tags, **tags})

    def end(self, natives: list[str]) -> None:
        """End machines. One that is gone already is no error. Raises what the provider raises for the others."""
        try:
            self.provider.terminate_nodes(natives)
        except Exception as exc:
            if not _is_gone(exc):
                raise
            if len(natives) > 1:
                for native in natives:
                    self.end([native])
        with self._lock:
            for native in natives:
                self._ended[native] = time.monotonic()
                self._machines.pop(native, None)

    def _wait(self, listing: Future[None], timeout_s: float) -> None:
        """Until `timeout_s` after it began: a cloud that hangs holds up one loop of Ray's autoscaler, and not each."""
        try:
            listing.result(max(0.0, self._asked + timeout_s - time.monotonic()))
        except NotYet:
            text = f"no answer to a listing within {timeout_s:g} s"
            with self._lock:
                self.trouble = self.trouble or understand(TimeoutError(text), where=self.name)

    def _list(self) -> None:
        started = time.monotonic()
        try:
            natives = self.provider.non_terminated_nodes({})
            listed = {native: self._look(native) for native in natives}
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - one cloud that fails must not hide the others
            failure = understand(exc, where=f"{self.name}: list")
            log.warning("%s; its machines are shown as they were last seen", failure.reason)
            with self._lock:
                self._listing, self.trouble = None, failure
            return
        with self._lock:
            self._machines = self._merged(listed, started)
            self._listing, self.seen, self.trouble = None, started, None

    def _look(self, native: str) -> Machine:
        running = _azure_runs(self.provider, native) if self.kind == "azure" else self.provider.is_running(native)
        return Machine(native, dict(self.provider.node_tags(native)), running=running)

    def _merged(self, listed: dict[str, Machine], started: float) -> dict[str, Machine]:
        now = time.monotonic()
        fresh = {
            native: machine for native, machine in self._machines.items()
            if native not in listed and machine.launched and now - machine.launched < APPEARS_S
        }  # fmt: skip
        self._ended = {
            native: at for native, at in self._ended.items()
            if at > started or (native in listed and now - at < ENDING_S)
        }  # fmt: skip
        shown = {native: machine for native, machine in listed.items() if native not in self._ended}
        return {**shown, **fresh}


def _azure_runs(provider: Any, native: str) -> bool:
    """Azure's provider of Ray lists the whole group again for each question; this is what it has listed."""
    return bool(provider.cached_nodes[native]["status"] == "running")


def _retag_aws(provider: Any, native: str, tags: dict[str, str]) -> None:
    """Past the batches of Ray's provider: when one of them fails, it waits for ever in the next, with its lock held.

    Ray 2.60, `AWSNodeProvider.set_node_tags`: nothing ends the wait of a batch whose request raised.
    """
    pairs = [{"Key": _NAMES.get(key, key), "Value": value} for key, value in tags.items()]
    provider.ec2.meta.client.create_tags(Resources=[native], Tags=pairs)
    with provider.tag_cache_lock:
        provider.tag_cache.setdefault(native, {}).update(tags)


_NAMES = {"ray-node-name": "Name"}


def _is_gone(exc: BaseException) -> bool:
    failure = understand(exc, where="end")
    return failure.code in ("InvalidInstanceID.NotFound", "notFound", "ResourceNotFound")
