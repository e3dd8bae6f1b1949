"""Tables of things that can be added: engines, families, stores.

A table maps a name to `"module:Name"` and imports nothing until a name is asked for. Installed packages add their own
through an entry point group of the same name (`tradewind.engines`, …); a name of ours is never replaced by theirs.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

from tradewind.errors import NotFoundError, SpecError, did_you_mean


class Table(Mapping[str, Any]):
    """Names to lazily imported objects. `what` is the singular noun for messages, `group` the entry points' name."""

    def __init__(self, what: str, targets: Mapping[str, str], *, group: str | None = None) -> None:
        self.what = what
        self.group = group or f"{what}s"
        self._own = dict(targets)

    def __getitem__(self, name: str) -> Any:
        """The object behind a name. Raises NotFoundError with the nearest name, SpecError if it cannot be imported."""
        target = self._own.get(name) or self._targets().get(name)
        if target is None:
            raise NotFoundError(f"no {self.what} named {name!r}{did_you_mean(name, self._targets())}")
        module, _, attribute = target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as exc:
            raise SpecError(
                f"{self.what} {name!r} cannot be loaded: {exc}",
                hint="install the extra it needs; `pip install 'tradewind[train,tune,serve]'` covers a local run",
            ) from exc

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets())

    def __len__(self) -> int:
        return len(self._targets())

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._targets()

    def _targets(self) -> dict[str, str]:
        found = {entry.name: entry.value for entry in metadata.entry_points(group=f"tradewind.{self.group}")}
        return {**found, **self._own}
