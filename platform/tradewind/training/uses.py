"""Which runs read which datasets, and whether they still do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tradewind.clusters import is_gone
from tradewind.datasets.tiers.heat import Use
from tradewind.errors import NotFoundError
from tradewind.records import RunStart
from tradewind.storage import Store
from tradewind.training.run import FOLDER, RunFiles

READ_AT_ONCE = 16


class Uses:
    """The runs of a workspace, asked anew with each call; of those that have ended, each is read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ended: dict[str, tuple[RunStart, Use]] = {}

    def __call__(self) -> list[Use]:
        """Raises IntegrityError for a run whose record is damaged: nobody knows then what it reads."""
        return [use for _, use in self._all()]

    def starts(self) -> list[RunStart]:
        return [start for start, _ in self._all()]

    def _all(self) -> list[tuple[RunStart, Use]]:
        with ThreadPoolExecutor(READ_AT_ONCE) as pool:
            return [found for found in pool.map(self._read, self._store.folders(FOLDER)) if found]

    def _read(self, name: str) -> tuple[RunStart, Use] | None:
        if name in self._ended:
            return self._ended[name]
        files = RunFiles(self._store, name)
        try:
            start = files.start()
        except NotFoundError:
            return None  # not a run, or one that has not begun
        end = files.end()
        use = Use(
            run=name,
            dataset=start.dataset,
            parents=(*start.parents, *(f"dataset:{reference}" for reference in start.datasets)),
            host=start.process.host,
            started_at=start.created_at,
            ended_at=end.created_at if end else None,
            is_live=end is None and not is_gone(start.process),
        )
        if end:
            self._ended[name] = start, use
        return start, use
