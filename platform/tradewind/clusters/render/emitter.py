"""Values as YAML that people read: short parts on one line, long ones on lines of their own, long commands folded."""

from __future__ import annotations

import textwrap
from typing import Any

import yaml

WIDTH = 118


def flow(value: Any) -> str:
    """A value on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def block(value: dict[str, Any] | list[Any], indent: int) -> str:
    """The entries of a mapping or a list, on lines that begin with some spaces."""
    return textwrap.indent("\n".join(_lines(value, WIDTH - indent)), " " * indent)


def _lines(value: dict[str, Any] | list[Any], width: int) -> list[str]:
    if isinstance(value, dict):
        return [line for key, part in value.items() for line in _entry(f"{flow(key)}:", part, width)]
    return [line for part in value for line in _entry("-", part, width)]


def _entry(start: str, part: Any, width: int) -> list[str]:
    short = f"{start} {flow(part)}"
    if isinstance(part, str):
        return [short] if "\n" not in part and len(short) <= width else [f"{start} {_mark(part)}", *_text(part, width)]
    if len(short) <= width or not part or not isinstance(part, dict | list):
        return [short]
    inner = _lines(part, width - 2)
    if start == "-" and isinstance(part, dict):
        return [f"- {inner[0]}", *(f"  {line}" for line in inner[1:])]
    return [start, *(f"  {line}" for line in inner)]


def _mark(text: str) -> str:
    return "|" if text.endswith("\n") else "|-" if "\n" in text else ">-"


def _text(text: str, width: int) -> list[str]:
    """A text as it is, or a long line folded at its spaces."""
    if "\n" in text:
        return [f"  {line}" for line in text.splitlines()]
    return [f"  {line}" for line in textwrap.wrap(text, width - 2, break_long_words=False, break_on_hyphens=False)]
