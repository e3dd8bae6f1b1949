"""A YAML mapping that remembers on which line each key stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tradewind.errors import NotFoundError, SpecError

Where = tuple[int | str, ...]

KEY_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")


@dataclass(frozen=True)
class Document:
    name: str
    values: dict[str, Any]
    lines: Mapping[Where, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> Document:
        """Read a file. Raises NotFoundError when it is not there, SpecError when it is not one YAML mapping."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as exc:
            raise NotFoundError(f"no spec file {str(path)!r}", hint=_neighbours(path)) from exc
        except (OSError, UnicodeDecodeError) as exc:
            raise SpecError(f"{path} cannot be read: {exc}", hint="a spec is a YAML file in UTF-8") from exc
        return cls.parse(text, name=str(path))

    @classmethod
    def parse(cls, text: str, *, name: str) -> Document:
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            values = yaml.safe_load(text)
        except yaml.MarkedYAMLError as exc:
            line = exc.problem_mark.line + 1 if exc.problem_mark else 1
            raise SpecError(f"{name}:{line}: not valid YAML: {exc.problem}") from exc
        except (yaml.YAMLError, ValueError) as exc:  # ValueError: a date like 2024-99-99
            raise SpecError(f"{name}: not valid YAML: {exc}") from exc
        except RecursionError as exc:
            raise SpecError(f"{name}: not a spec: nested too deeply") from exc
        if not isinstance(node, yaml.MappingNode) or not isinstance(values, dict):
            raise SpecError(f"{name}: a spec is a mapping of keys to values", hint="start with a line `kind: train`")
        lines: dict[Where, int] = {}
        try:
            _walk(node, (), lines, name)
        except RecursionError as exc:
            raise SpecError(f"{name}: not a spec: a part of it contains itself") from exc
        return cls(name, values, lines)

    @classmethod
    def of(cls, values: dict[str, Any], *, name: str) -> Document:
        return cls(name, values)

    def place(self, where: Where) -> str:
        """`jobs/train.yaml:7`: the line of a key, or of the nearest block around it."""
        while where and where not in self.lines:
            where = where[:-1]
        return f"{self.name}:{self.lines[where]}" if where in self.lines else self.name


def _walk(node: yaml.Node, where: Where, lines: dict[Where, int], name: str) -> None:
    lines.setdefault(where, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, (*where, index), lines, name)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*where, key.value)
            line = key.start_mark.line + 1
            if key.tag not in KEY_TAGS:
                raise SpecError(f"{name}:{line}: key {key.value!r} is not a word", hint="put it in quotes")
            if here in lines:
                raise SpecError(f"{name}:{line}: key {key.value!r} is given twice (first on line {lines[here]})")
            lines[here] = line
            _walk(value, here, lines, name)


def _neighbours(path: Path) -> str | None:
    found = sorted(str(other) for other in path.parent.glob("*.yaml"))[:5] if path.parent.is_dir() else []
    return f"there is {', '.join(found)}" if found else None
