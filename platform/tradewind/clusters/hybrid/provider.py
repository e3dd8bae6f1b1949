"""A provider of Ray over several providers of Ray, for `type: external`.

Ray asks for machines of a size class; here it is decided which cloud gives them. Everything that a restarted head needs
is in the tags of the machines, in the file of the own hosts and in the records, so a second provider sees the same.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import click
from ray.autoscaler.node_launch_exception import NodeLaunchException
from ray.autoscaler.node_provider import NodeProvider

from tradewind.clusters.hybrid.backend import Backend, Machine
from tradewind.clusters.hybrid.bootstrap import bootstrap, for_head
from tradewind.clusters.hybrid.candidate import read_candidates
from tradewind.clusters.hybrid.cap import Cap
from tradewind.clusters.hybrid.connecting import connect
from tradewind.clusters.hybrid.cooldown import Cooldowns
from tradewind.clusters.hybrid.door import Door
from tradewind.clusters.hybrid.failures import understand
from tradewind.clusters.hybrid.journal import Journal
from tradewind.clusters.hybrid.launcher import Launcher
from tradewind.clusters.hybrid.leases import Login
from tradewind.clusters.hybrid.logins import Logins, Way
from tradewind.clusters.hybrid.node_hours import NodeHours
from tradewind.clusters.hybrid.remains import delete, find_remains
from tradewind.clusters.hybrid.settings import Settings
from tradewind.clusters.hybrid.sweep import Swept, sweep
from tradewind.clusters.hybrid.sweeper import Sweeper
from tradewind.clusters.hybrid.tags import NODE_TYPE, STATUS, node_id, split_node_id
from tradewind.clusters.hybrid.written import with_line
from tradewind.clusters.overlay import Hub, Overlay
from tradewind.errors import CloudError, NotFoundError, TradewindError, did_you_mean

FLUSH_S = 10.0
PROBE_TIMEOUT_S = 10.0
log = logging.getLogger(__name__)


class HybridNodeProvider(NodeProvider):
    def __init__(self, provider_config: dict[str, Any], cluster_name: str) -> None:
        super().__init__(provider_config, cluster_name)
        self.settings = Settings.read(provider_config)
        own = self.settings.cluster
        self.backends = {name: connect(name, self.settings, cluster_name) for name in self.settings.backends}
        self.journal = Journal(cluster_name, own.workspace)
        self.launcher = Launcher(
            cluster_name,
            self.settings,
            self.backends,
            self.journal,
            Cooldowns(own.cooldown_s),
            Cap(own.max_usd_per_hour, self.usd_per_hour),
            door=_door(self.settings),
            lost=set(self._lost_before()),
        )
        self.logins = Logins(lambda node, reason: self.journal.decide("unreachable", node, reason))
        self.hours = NodeHours(cluster_name, own.owner, self.settings.backends, self.journal.usage)
        self.sweeper = Sweeper(self._round) if self.settings.on_head else None

    def _lost_before(self) -> frozenset[str]:
        """Launches that an earlier head gave up. A workspace that does not answer now is asked by each sweep again."""
        try:
            return self.journal.lost_tokens()
        except TradewindError as exc:
            log.warning("what was lost by an earlier head is not known yet: %s", exc)
            return frozenset()

    # What is there ----------------------------------------------------------------------------------------------

    def non_terminated_nodes(self, tag_filters: Mapping[str, str]) -> list[str]:
        """Nodes with these tags. Never raises for one cloud that does not answer: its nodes stay as last seen."""
        if self.sweeper:
            self.sweeper.start()
        return [node for node, machine in self.machines() if machine.carried.matches(tag_filters)]

    def nodes_for_teardown(self, tag_filters: Mapping[str, str]) -> list[str]:
        there = self.non_terminated_nodes(tag_filters)
        own = [
            node_id(backend.name, host)
            for backend in self.backends.values() if backend.kind == "static"
            for host in backend.provider.nodes_for_teardown(tag_filters)
        ]  # fmt: skip
        return list(dict.fromkeys([*there, *own]))

    def machines(self) -> list[tuple[str, Machine]]:
        """All machines of the cluster by node, without those of launches that were given up."""
        for backend in self.backends.values():
            backend.ask()
        found = [
            (node_id(backend.name, machine.native), machine)
            for backend in self.backends.values()
            for machine in backend.machines()
        ]
        leaks = [node for node, machine in found if machine.carried.token in self.launcher.lost]
        if leaks and self.sweeper:
            self.sweeper.hurry()
        return [(node, machine) for node, machine in found if node not in leaks]

    def usd_per_hour(self) -> float:
        """What the machines cost that were last seen."""
        known = [machine for backend in self.backends.values() for machine in backend.known()]
        return sum(machine.carried.usd_per_hour for machine in known)

    def is_running(self, node_id: str) -> bool:
        machine = self._find(node_id)
        return machine is not None and machine.running

    def is_terminated(self, node_id: str) -> bool:
        """Also of a machine that nobody can log in to, so that Ray does not wait for it."""
        return self._find(node_id) is None or self.logins.is_given_up(node_id)

    def node_tags(self, node_id: str) -> dict[str, str]:
        machine = self._find(node_id)
        return dict(machine.tags) if machine is not None else {}

    def internal_ip(self, node_id: str) -> Any:
        """The address that the head reaches the node at, None while there is none.

        Ray's updaters on the head ask for no other; so it is the external one where `ssh_ip: external` says so.
        """
        backend, native = self._split(node_id)
        return backend.address(native, backend.ssh_ip)

    def external_ip(self, node_id: str) -> Any:
        backend, native = self._split(node_id)
        return backend.address(native, "external")

    def set_node_tags(self, node_id: str, tags: Mapping[str, str]) -> None:
        backend, native = self._split(node_id)
        if status := tags.get(STATUS):
            self.logins.status(node_id, status)
        backend.retag(native, tags)

    # What is made and ended --------------------------------------------------------------------------------------

    def create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        """What `ray up` calls for the head. Ends the command with one clear error."""
        try:
            return self._launch(node_config, tags, count)
        except TradewindError as exc:
            raise _spoken(exc, place=f"available_node_types.{tags.get(NODE_TYPE, '')}.node_config") from exc

    def create_node_with_resources_and_labels(
        self,
        node_config: dict[str, Any],
        tags: dict[str, str],
        count: int,
        resources: dict[str, float],  # noqa: ARG002 - a class has the same for all candidates
        labels: dict[str, str],  # noqa: ARG002
    ) -> dict[str, Any]:
        """What the autoscaler calls. Raises NodeLaunchException, which it shows in `ray status`."""
        try:
            return self._launch(node_config, tags, count)
        except TradewindError as exc:
            raise NodeLaunchException(type(exc).__name__, exc.message, None) from exc

    def terminate_node(self, node_id: str) -> None:
        self.terminate_nodes([node_id])

    def terminate_nodes(self, node_ids: Iterable[str]) -> None:
        """End nodes in all their clouds, whatever one of them answers. Raises CloudError for those that were not."""
        by_backend: defaultdict[str, list[str]] = defaultdict(list)
        for node in node_ids:
            backend, native = self._split(node)
            by_backend[backend.name].append(native)
        problems = [problem for name, natives in by_backend.items() if (problem := self._end(name, natives))]
        if problems:
            raise CloudError(
                "; ".join(problems), hint="they are asked for again; `tw cluster status` shows what is left"
            )

    def sweep(self, *, dry_run: bool = False) -> Swept:
        """End machines that leaked, in all backends."""
        lost = self.journal.lost_tokens() | self.launcher.lost
        swept = sweep(self.backends.values(), self.journal, lost=lost, dry_run=dry_run)
        if self.launcher.door is not None and not dry_run:
            self._shut_door()
        return swept

    def cleanup_cluster_resources(self) -> None:
        """What `ray down` calls at the end: Azure's networks and identities of the cluster."""
        for backend in self.backends.values():
            if backend.kind == "azure":
                for remains in find_remains(backend.provider, self.cluster_name):
                    delete(backend.provider, remains)  # a network that anything is in cannot be deleted
            if hasattr(backend.provider, "cleanup_cluster_resources"):
                backend.provider.cleanup_cluster_resources()
        self.journal.flush(FLUSH_S)

    # What Ray's launcher asks ------------------------------------------------------------------------------------

    @staticmethod
    def bootstrap_config(cluster_config: dict[str, Any]) -> dict[str, Any]:
        """Ends `ray up` with one clear error where something does not fit."""
        try:
            return bootstrap(cluster_config)
        except TradewindError as exc:
            raise _spoken(exc) from exc

    def prepare_for_head_node(self, cluster_config: dict[str, Any]) -> dict[str, Any]:
        self.journal.flush(FLUSH_S)
        return for_head(cluster_config, self.machines())

    def get_command_runner(
        self, log_prefix: str, node_id: str, auth_config: dict[str, Any], *others: Any, **named: Any
    ) -> Any:
        """Logs in as the user of the node's own backend."""
        backend, _ = self._split(node_id)
        auth = {**auth_config, "ssh_user": backend.ssh_user or auth_config["ssh_user"]}
        login = Login(auth["ssh_user"], auth.get("ssh_private_key"), auth.get("ssh_proxy_command"), PROBE_TIMEOUT_S)
        address = self.internal_ip if named.get("use_internal_ip") else self.external_ip
        self.logins.reach(node_id, Way(login, lambda: address(node_id)))
        return super().get_command_runner(log_prefix, node_id, auth, *others, **named)

    # -------------------------------------------------------------------------------------------------------------

    def _launch(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        candidates = read_candidates(node_config, self.backends)
        result = self.launcher.launch(candidates, tags, count)
        return {
            node: {"candidate": attempt.candidate, "usd_per_hour": attempt.usd_per_hour}
            for attempt in result.attempts
            for node in attempt.nodes
        }

    def _round(self) -> Swept:
        """What the head does every minute."""
        self.hours.count(self.machines(), time.time())
        return self.sweep()

    def _shut_door(self) -> None:
        """Only when every cloud has been seen: what is not known to be gone stays in."""
        there = [machine for _, machine in self.machines()]
        if self.launcher.door is not None and all(backend.seen is not None for backend in self.backends.values()):
            self.launcher.door.keep_only({machine.carried.token for machine in there})

    def _end(self, name: str, natives: list[str]) -> str:
        try:
            self.backends[name].end(natives)
        except Exception as exc:  # noqa: BLE001 - the other clouds' machines must be ended all the same
            return understand(exc, where=f"{name}: end {', '.join(natives)}").reason
        for native in natives:
            self.journal.decide("end", node_id(name, native), "Ray gave it back")
        return ""

    def _find(self, node: str) -> Machine | None:
        backend, native = self._split(node)
        return backend.found(native)

    def _split(self, node: str) -> tuple[Backend, str]:
        name, native = split_node_id(node)
        if name not in self.backends:
            raise NotFoundError(f"no backend named {name!r} for node {node}{did_you_mean(name, self.backends)}")
        return self.backends[name], native


def _door(settings: Settings) -> Door | None:
    """The hub is on the head, so only there is anybody let in."""
    if not settings.overlay or not settings.on_head:
        return None
    return Door(Hub(Overlay.of(settings.overlay)), settings.cluster.ttl_s)


def _spoken(exc: TradewindError, *, place: str = "") -> click.ClickException:
    """An error as Ray's command line says it: without a traceback, and with the line of the file that is at fault."""
    return click.ClickException(with_line(exc.message, place=place) + (f"\nhint: {exc.hint}" if exc.hint else ""))
