"""Changing some values in a YAML file and nothing else: comments, order and blank lines stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tradewind.errors import SpecError
from tradewind.specs.document import Where


@dataclass(frozen=True)
class _Edit:
    """Text from `begin` to `end` is replaced."""

    begin: int
    end: int
    text: str


def edited(text: str, where: Where, changes: Mapping[str, Any]) -> str:
    """A YAML text with values of the mapping at `where` set; blocks in `changes` are set key by key.

    Raises SpecError where that would change others too, as those that share a value behind an anchor.
    """
    node = _at(yaml.compose(text, Loader=yaml.SafeLoader), where)
    made = text
    for edit in sorted(_edits(text, node, changes), key=lambda one: one.begin, reverse=True):
        made = made[: edit.begin] + edit.text + made[edit.end :]
    if not _reads(made, _merged(yaml.safe_load(text), where, changes)):
        raise SpecError("the values cannot be set in this file without changing others", hint="set them by hand")
    return made


def _at(node: Any, where: Where) -> yaml.MappingNode:
    for part in where:
        if isinstance(part, int):
            node = node.value[part]
        else:
            node = next(value for key, value in node.value if key.value == part)
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise SpecError(f"{'.'.join(map(str, where)) or 'the file'} is not a mapping with keys")
    return node


def _edits(text: str, node: yaml.MappingNode, changes: Mapping[str, Any]) -> Iterator[_Edit]:
    there = {key.value: value for key, value in node.value}
    new: dict[str, Any] = {}
    for name, value in changes.items():
        old = there.get(name)
        if isinstance(value, Mapping) and isinstance(old, yaml.MappingNode) and old.value:
            yield from _edits(text, old, value)
        elif old is None:
            new[name] = value
        else:
            begin = old.start_mark.index
            long = text[begin : old.end_mark.index].rstrip()  # the end of a block is where the next key begins
            yield _Edit(begin, begin + len(long), _inline(value))
    if new:
        yield _added(text, node, new)


def _added(text: str, node: yaml.MappingNode, new: Mapping[str, Any]) -> _Edit:
    """New keys: in lines of their own behind the last key that has its value in its line, at its depth."""
    lines = [f"{name}: {_inline(value)}" for name, value in new.items()]
    short = [(key, value) for key, value in node.value if key.start_mark.line == value.end_mark.line]
    key, value = short[-1] if short else node.value[0]
    if node.flow_style:
        return _Edit(value.end_mark.index, value.end_mark.index, "".join(f", {line}" for line in lines))
    depth = " " * key.start_mark.column
    if not short:
        return _Edit(key.start_mark.index, key.start_mark.index, "".join(f"{line}\n{depth}" for line in lines))
    end = text.find("\n", value.end_mark.index)  # a comment behind the value stays there
    at = len(text) if end < 0 else end
    return _Edit(at, at, "".join(f"\n{depth}{line}" for line in lines))


def _inline(value: Any) -> str:
    """A value in one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _merged(values: Any, where: Where, changes: Mapping[str, Any]) -> Any:
    """What must be read back: plain data with the changes at a place."""
    if where:
        inner = _merged(values[where[0]], where[1:], changes)
        if isinstance(values, list):
            return [inner if index == where[0] else value for index, value in enumerate(values)]
        return {**values, where[0]: inner}
    blocks = {
        name: _merged(values[name], (), value)
        for name, value in changes.items()
        if isinstance(value, Mapping) and isinstance(values.get(name), dict)
    }
    return {**values, **changes, **blocks}


def _reads(text: str, values: Any) -> bool:
    try:
        return bool(yaml.safe_load(text) == values)
    except yaml.YAMLError:
        return False
