"""The YAML that `ray up` takes, from one template for all clouds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from tradewind.clusters.render.blueprint import Blueprint, Group
from tradewind.clusters.render.candidate import Candidate
from tradewind.clusters.render.commands import (
    TOKEN_FILE,
    head_setup_commands,
    head_start_commands,
    initialization_commands,
    setup_commands,
    worker_start_commands,
)
from tradewind.clusters.render.emitter import block, flow
from tradewind.clusters.render.node_type import NodeType, labels, type_names
from tradewind.units import format_hours, format_usd

if TYPE_CHECKING:
    from jinja2 import Template

HEAD = "head"

NodeConfig = Callable[[Blueprint, Candidate], dict[str, Any]]


def launcher_file(
    cluster: Blueprint, provider: dict[str, Any], types: Sequence[NodeType], *, name: str, notes: Sequence[str] = ()
) -> str:
    """The text of a file for `ray up`, named in its own comments. The first type is the head's."""
    spec = cluster.spec
    return template("cluster.yaml.j2").render(
        cluster=cluster,
        spec=spec,
        name=name,
        provider=provider,
        notes=notes,
        types=types,
        token=TOKEN_FILE,
        ttl=format_hours(spec.ttl_s / 3600),
        most=format_usd(cluster.most_usd_per_hour),
        limit=format_usd(spec.max_usd_per_hour),
        idle_minutes=_number(spec.idle_timeout_s / 60),
        hybrid=provider["type"] == "external",
        initialization=initialization_commands(),
        setup=setup_commands(cluster),
        head_setup=head_setup_commands(cluster),
        head_start=head_start_commands(cluster),
        worker_start=worker_start_commands(cluster),
    )


def head_type(cluster: Blueprint, node_config: NodeConfig) -> NodeType:
    """The head: no processors for tasks, so that nothing runs on it that could bring it down."""
    words = f"{cluster.head.machine or cluster.spec.head.host}: {cluster.head.price_words()}"
    return NodeType(HEAD, (words,), {"CPU": 0}, node_config(cluster, cluster.head), 0, 0)


def single_types(cluster: Blueprint, node_config: NodeConfig) -> list[NodeType]:
    """One type for each candidate: Ray's own providers know no alternatives. What is cheaper goes first."""
    return [
        _single(cluster, group, index, name, node_config)
        for group in cluster.groups
        for index, name in enumerate(type_names(group))
    ]


def _single(cluster: Blueprint, group: Group, index: int, name: str, node_config: NodeConfig) -> NodeType:
    one = group.candidates[index]
    return NodeType(
        name=name,
        comments=(f"{one.machine}: {one.price_words()}", *(left_out(group) if index == 0 else ())),
        resources=group.resources.to_ray(),
        node_config=node_config(cluster, one),
        min_workers=group.min if index == 0 else 0,
        max_workers=min(group.max, cluster.max_workers),
        labels=labels(group.name, one),
        priority=len(group.candidates) - index if len(group.candidates) > 1 else None,
    )


def left_out(group: Group) -> tuple[str, ...]:
    """Which candidates are missing, and why."""
    return tuple(
        f"left out, too dear: {one.name} at up to {format_usd(one.max_usd_per_hour)}/h" for one in group.too_dear
    )


@cache
def template(name: str) -> Template:
    """A file of `templates`, whose values are written by the filters `flow` and `block`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("tradewind.clusters.render", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - YAML: every value passes through one of the filters
    )
    made.filters.update(flow=flow, block=block)
    return made.get_template(name)


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else value
