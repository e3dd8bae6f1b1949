"""Own hosts as a provider of Ray. A node is the address of a host; which are in use is in a file of this machine.

Ray's own provider for own hosts starts no workers under its second autoscaler: the head that it makes on the laptop is
unknown to the provider on the head. Here the head's entry travels with the settings, as `seed`.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.autoscaler.node_provider import NodeProvider

from tradewind.clusters.hybrid.door import JOIN, leave_command
from tradewind.clusters.hybrid.failures import HostsInUseError
from tradewind.clusters.hybrid.journal import FOLDER
from tradewind.clusters.hybrid.leases import Login
from tradewind.clusters.hybrid.settings import StaticSettings
from tradewind.clusters.hybrid.tags import KIND
from tradewind.errors import TradewindError
from tradewind.specs.document import Document

AT_ONCE = 16
log = logging.getLogger(__name__)

Hosts = dict[str, dict[str, str]]
"""Tags of the hosts in use, by address."""


class StaticNodeProvider(NodeProvider):
    def __init__(self, provider_config: dict[str, Any], cluster_name: str, *, name: str = "static") -> None:
        super().__init__(provider_config, cluster_name)
        place = f"provider.backends.{name}"
        self.settings = StaticSettings.from_document(Document.of(provider_config, name=place))
        self.state = HostFile(
            FOLDER.expanduser() / "hosts" / cluster_name / f"{name}.json", self.settings.seed, life=self.settings.life
        )
        self._torn_down: set[str] = set()

    @property
    def login(self) -> Login:
        own = self.settings
        return Login(own.ssh_user, own.ssh_private_key, own.ssh_proxy_command, own.login_timeout_s)

    def non_terminated_nodes(self, tag_filters: Mapping[str, str]) -> list[str]:
        hosts = self.state.read().items()
        return [host for host, tags in hosts if all(tags.get(key) == value for key, value in tag_filters.items())]

    def nodes_for_teardown(self, tag_filters: Mapping[str, str]) -> list[str]:
        """All hosts of the file, since only the head knows which are in use; on the others nothing is stopped."""
        kind = tag_filters.get(KIND)
        asked = [host for host in self._hosts() if kind is None or (kind == "head") == (host == self.settings.head)]
        return [host for host in asked if host not in self._torn_down]

    def is_running(self, node_id: str) -> bool:
        return node_id in self.state.read()

    def is_terminated(self, node_id: str) -> bool:
        return not self.is_running(node_id)

    def node_tags(self, node_id: str) -> dict[str, str]:
        return dict(self.state.read().get(node_id, {}))

    def internal_ip(self, node_id: str) -> str:
        return node_id

    def external_ip(self, node_id: str) -> str:
        return node_id

    def set_node_tags(self, node_id: str, tags: Mapping[str, str]) -> None:
        with self.state.change() as hosts:
            if node_id in hosts:
                hosts[node_id] |= tags

    def create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        """Take free hosts, at most `count`. Raises what they said when none can be had, within two log-in times."""
        made: list[str] = []
        problems: dict[str, TradewindError] = {}
        end = time.monotonic() + self.settings.login_timeout_s
        while len(made) < count and time.monotonic() < end:
            hosts = self._reserve(tags, count - len(made), without=problems)
            if not hosts:
                break
            found = self._take_all(hosts, node_config.get(JOIN, ""))
            problems |= found
            self._release(found)
            made += [host for host in hosts if host not in found]
        if not made:
            raise self._none_free(problems)
        return {host: {} for host in made}

    def terminate_node(self, node_id: str) -> None:
        """Stop what runs on one host and let it go, also when it does not answer."""
        stop = f"{self.settings.stop_command}; code=$?; {leave_command()}; (exit $code)"
        problem = self.login.give_back(node_id, self.cluster_name, stop)
        if problem:
            log.warning("%s: %r failed on %s: %s", self.cluster_name, self.settings.stop_command, node_id, problem)
        self._torn_down.add(node_id)
        self._release([node_id])

    def terminate_nodes(self, node_ids: list[str]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self.terminate_node, node_ids))

    def _hosts(self) -> list[str]:
        """The hosts of the file, with the head where it is not among them."""
        head = self.settings.head
        return [*([head] if head and head not in self.settings.hosts else []), *self.settings.hosts]

    def _reserve(self, tags: Mapping[str, str], count: int, *, without: Iterable[str]) -> list[str]:
        """Write down free hosts as in use, so that nobody else takes them."""
        head, is_head = self.settings.head, tags.get(KIND) == "head"
        with self.state.change() as hosts:
            free = [host for host in self._hosts() if host not in hosts and host not in without]
            fit = [host for host in free if (host == head if is_head and head else host != head)][:count]
            hosts.update({host: dict(tags) for host in fit})
        return fit

    def _release(self, gone: Iterable[str]) -> None:
        with self.state.change() as hosts:
            for host in gone:
                hosts.pop(host, None)

    def _take_all(self, hosts: list[str], join: str) -> dict[str, TradewindError]:
        """What was wrong with the hosts that could not be taken."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            said = zip(hosts, pool.map(lambda host: self._take(host, join), hosts), strict=True)
        return {host: problem for host, problem in said if problem is not None}

    def _take(self, host: str, join: str) -> TradewindError | None:
        try:
            self.login.take(host, self.cluster_name)
            if join:
                self.login.run(host, join)
        except TradewindError as exc:
            return exc
        return None

    def _none_free(self, problems: Mapping[str, TradewindError]) -> TradewindError:
        if problems:
            first = next(iter(problems.values()))
            return type(first)("; ".join(problem.message for problem in problems.values()), hint=first.hint)
        in_use = ", ".join(sorted(self.state.read())) or "none"
        return HostsInUseError(f"no host is free; in use: {in_use}", hint="add hosts to the backend")


class HostFile:
    """Which hosts are in use, for all threads and processes of a machine.

    A head on an own host leaves this file behind when it is taken down. `life` is new with each head, so that the next
    one begins with its seed.
    """

    def __init__(self, path: Path, seed: Mapping[str, Mapping[str, str]], *, life: str) -> None:
        self.path = path
        self.seed = seed
        self.life = life
        path.parent.mkdir(parents=True, exist_ok=True)

    def read(self) -> Hosts:
        written = json.loads(self.path.read_text()) if self.path.exists() else {}
        if written.get("life", "") == self.life and "hosts" in written:
            return dict(written["hosts"])
        return {host: dict(tags) for host, tags in self.seed.items()}

    @contextmanager
    def change(self) -> Iterator[Hosts]:
        """The hosts, to be altered while nobody else can; written whole or not at all."""
        with self.path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            hosts = self.read()
            yield hosts
            self._write(hosts)

    def _write(self, hosts: Hosts) -> None:
        new = self.path.with_suffix(".new")
        with new.open("w") as file:
            json.dump({"life": self.life, "hosts": hosts}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)
