"""One document of a YAML file, with the line of each key, and what a rule asks of it again and again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tradewind.errors import NotFoundError, SpecError
from tradewind.specs.document import Where

CLOUDS = ("aws", "azure", "gcp")


@dataclass(frozen=True)
class NodeConfig:
    """What one cloud is told about one kind of machine."""

    where: Where
    node_type: str
    cloud: str
    values: Mapping[str, Any]
    name: str = ""
    """Of the candidate, in a file with several clouds."""


@dataclass(frozen=True)
class Part:
    values: dict[str, Any]
    lines: Mapping[Where, int]

    def line(self, where: Where) -> int:
        """Of a key, or of the nearest block around it."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)

    def get(self, *where: int | str) -> Any:
        """What stands there, or None."""
        found: Any = self.values
        for key in where:
            if isinstance(found, dict):
                found = found.get(key)
            elif isinstance(found, list) and isinstance(key, int) and key < len(found):
                found = found[key]
            else:
                return None
        return found

    @property
    def is_launcher(self) -> bool:
        """Whether `ray up` takes it."""
        return "provider" in self.values or "cluster_name" in self.values

    @property
    def is_manifest(self) -> bool:
        return "apiVersion" in self.values and "kind" in self.values

    @property
    def provider(self) -> str:
        return str(self.get("provider", "type") or "")

    @property
    def head_type(self) -> str:
        return str(self.get("head_node_type") or "")

    @cached_property
    def backends(self) -> dict[str, dict[str, Any]]:
        found = self.get("provider", "backends")
        return {name: one for name, one in found.items() if isinstance(one, dict)} if isinstance(found, dict) else {}

    @property
    def networks(self) -> int:
        """How many there are: one for each region of a cloud, and one for each site."""
        found = (
            (one.get("type"), one.get("region") or one.get("location") or name) for name, one in self.backends.items()
        )
        return len(set(found))

    @cached_property
    def node_types(self) -> dict[str, dict[str, Any]]:
        found = self.get("available_node_types")
        return {str(key): one for key, one in found.items() if isinstance(one, dict)} if isinstance(found, dict) else {}

    @cached_property
    def node_configs(self) -> tuple[NodeConfig, ...]:
        """Of all node types, and of all candidates where a type has several."""
        return tuple(self._node_configs())

    def commands(self, key: str) -> list[tuple[Where, str]]:
        found = self.get(key)
        return [((key, index), str(one)) for index, one in enumerate(found)] if isinstance(found, list) else []

    def _node_configs(self) -> Iterator[NodeConfig]:
        for name, node_type in self.node_types.items():
            where: Where = ("available_node_types", name, "node_config")
            config = node_type.get("node_config")
            if not isinstance(config, dict):
                continue
            candidates = config.get("candidates")
            if not isinstance(candidates, list):
                yield NodeConfig(where, name, self.provider, config)
                continue
            for index, one in enumerate(candidates):
                if isinstance(one, dict):
                    cloud = str(self.backends.get(str(one.get("backend")), {}).get("type", ""))
                    here = (*where, "candidates", index)
                    yield NodeConfig(here, name, cloud, one.get("node_config") or {}, str(one.get("name", "")))


def read_parts(path: Path) -> list[Part]:
    """The documents of a file. Raises NotFoundError, and SpecError with file and line for what is not YAML."""
    try:
        return list(_parts(path.read_text(encoding="utf-8")))
    except FileNotFoundError as exc:
        raise NotFoundError(f"no file {str(path)!r}") from exc
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 1
        raise SpecError(f"{path}:{line}: not valid YAML: {exc.problem}") from exc
    except (yaml.YAMLError, ValueError) as exc:
        raise SpecError(f"{path}: not valid YAML: {exc}") from exc


def _parts(text: str) -> Iterator[Part]:
    loader = yaml.SafeLoader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            values = loader.construct_document(node) if node else None
            if node and isinstance(values, dict):
                lines: dict[Where, int] = {}
                _walk(node, (), lines)
                yield Part(values, lines)
    finally:
        loader.dispose()


def _walk(node: yaml.Node, where: Where, lines: dict[Where, int]) -> None:
    lines.setdefault(where, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, (*where, index), lines)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*where, key.value)
            lines[here] = key.start_mark.line + 1
            _walk(value, here, lines)
