"""Where in the file of `ray up` something stands: Ray hands a provider what was read, without a name or lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import click

from tradewind.errors import TradewindError
from tradewind.specs.document import Document, Where

PARAMETER = "cluster_config_file"
"""Of Ray's commands `up`, `down`, `exec` and the like."""

_KEY = re.compile(r"\.?([^.\[\]: ]+)|\[(\d+)\]")


def with_line(message: str, *, place: str = "") -> str:
    """A message with file and line in front: of `place`, or else of the place in the file that it begins with.

    As it is where no command of Ray runs, or the file cannot be read.
    """
    context = click.get_current_context(silent=True)
    path = context.params.get(PARAMETER) if context else None
    if not path:
        return message
    try:
        document = Document.read(path)
    except TradewindError:
        return message
    where = tuple(_where(place or message, document.lines))
    return f"{document.place(where)}: {message}" if where else message


def _where(text: str, lines: Mapping[Where, int]) -> Iterator[int | str]:
    """The keys of `available_node_types.cpu.node_config.candidates[1]: …`, as far as the file has them."""
    where: Where = ()
    at = 0
    while found := _KEY.match(text, at):
        key: int | str = found[1] if found[2] is None else int(found[2])
        where, at = (*where, key), found.end()
        if where not in lines:
            return
        yield key
