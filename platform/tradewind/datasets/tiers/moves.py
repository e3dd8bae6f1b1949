"""Carrying out a plan: objects change their class, and a log says what was done.

Safe to repeat and to interrupt: where each object is, is asked of the cloud, so a second call moves what is left. One
mover at a time: who begins writes the next number of the log by put-if-absent, and finds there whether another has
begun and not ended. Before each batch it is asked again which versions are held, so that a run that began meanwhile
keeps its objects; one that begins while a batch of at most `BATCH` objects is on its way is seen at the next.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

from tradewind import progress
from tradewind.datasets.shards import FOLDER
from tradewind.datasets.tiers.placement import Move, Plan
from tradewind.errors import ConflictError, TradewindError
from tradewind.records import ProcessName, TierChange, TierMove, now
from tradewind.storage import RecordLog, Store
from tradewind.storage.classes.table import ClassStore, classes

BATCH = 64
AT_ONCE = 16
ABANDONED = timedelta(hours=6)
"""After so long, a mover on another machine that has not said that it ended is taken to have died."""

Held = Callable[[], Mapping[int, tuple[str, ...]]]
"""Why each version stays, asked anew; a version without a reason may move."""


def tier_log(store: Store, name: str) -> RecordLog[TierChange]:
    return RecordLog(store, f"{FOLDER}/{name}/tiers", TierChange)


@dataclass(frozen=True)
class Mover:
    """Applies plans to one store. `is_gone` says whether a process is known to have ended."""

    store: Store
    classes: ClassStore
    process: ProcessName
    is_gone: Callable[[ProcessName], bool]

    def apply(self, plan: Plan, held: Held) -> TierChange:
        """Move what the plan says and the present uses allow. Returns the record of what was done.

        Raises ConflictError while another mover is at it, and SpecError, with nothing moved, where a class is missing.
        """
        self._check_classes(plan)
        going = self._begin(plan)
        done: list[Move] = []
        kept: list[Move] = []
        try:
            with progress.track(f"tiers of {plan.name}", total=sum(move.num_bytes for move in plan.moves)) as bar:
                for batch in _batches(plan.moves):
                    reasons = held()
                    if reasons.keys() - plan.versions:
                        raise ConflictError(f"{plan.name} has a new version, which may share objects", hint="try again")
                    free = [move for move in batch if not any(reasons.get(number) for number in move.versions)]
                    kept += [move for move in batch if move not in free]
                    for move in self._move_all(plan, free):
                        done.append(move)
                        bar.advance(move.num_bytes)
        except BaseException as exc:
            message = exc.message if isinstance(exc, TradewindError) else type(exc).__name__
            self._end(going, "failed", done, kept, message=message)
            raise
        return self._end(going, "ended", done, kept)

    def _check_classes(self, plan: Plan) -> None:
        names = {classes(plan.cloud)[move.after].name for move in plan.moves}
        for name in sorted(names):
            self.classes.check(f"{FOLDER}/{plan.name}/tiers/probe-{uuid.uuid4().hex}", name)

    def _begin(self, plan: Plan) -> TierChange:
        log = tier_log(self.store, plan.name)
        seen = (log.numbers() or [0])[-1]
        self._refuse_while_another_moves(log, seen, plan.name)
        mover = uuid.uuid4().hex

        def going(change: int, writer: str) -> TierChange:
            if change != seen + 1:
                raise ConflictError(f"another process has just begun to move {plan.name}", hint="wait for its end")
            return TierChange(
                name=plan.name,
                change=change,
                writer=writer,
                mover=mover,
                status="going",
                cloud=plan.cloud,
                policy=plan.policy,
                process=self.process,
            )

        return log.append(going)

    def _refuse_while_another_moves(self, log: RecordLog[TierChange], newest: int, name: str) -> None:
        ended: set[str] = set()
        for number in range(newest, 0, -1):
            step = log.read(number)
            if now() - step.created_at > ABANDONED:
                return
            if step.status == "going" and step.mover not in ended and not self.is_gone(step.process):
                where = f"process {step.process.pid} on {step.process.host}"
                raise ConflictError(f"{where} is moving {name} since {step.created_at:%H:%M} UTC", hint="wait for it")
            ended.add(step.mover)

    def _move_all(self, plan: Plan, moves: Sequence[Move]) -> Iterator[Move]:
        """Those that were moved, also when one of the others fails."""
        table = classes(plan.cloud)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            work = [
                (move, pool.submit(self.classes.move, move.key, table[move.after].name, tier=move.after))
                for move in moves
            ]
            failed: BaseException | None = None
            for move, one in work:
                if (problem := one.exception()) is None:
                    yield move
                else:
                    failed = failed or problem
        if failed is not None:
            raise failed

    def _end(
        self, going: TierChange, status: str, done: Iterable[Move], kept: Sequence[Move], *, message: str = ""
    ) -> TierChange:
        values = {"status": status, "moves": _summed(done), "held_back": len(kept), "message": message}
        return tier_log(self.store, going.name).append(
            lambda change, writer: going.model_copy(
                update={**values, "change": change, "writer": writer, "created_at": now()}
            )
        )


def _batches(moves: Iterable[Move]) -> Iterator[list[Move]]:
    rest = iter(moves)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _summed(done: Iterable[Move]) -> tuple[TierMove, ...]:
    counts: Counter[tuple[int, str, str, str]] = Counter()
    sizes: Counter[tuple[int, str, str, str]] = Counter()
    for move in done:
        kind = (move.version, move.split, move.before, move.after)
        counts[kind] += 1
        sizes[kind] += move.num_bytes
    return tuple(
        TierMove(
            version=kind[0],
            split=kind[1],
            before=kind[2],
            after=kind[3],
            num_objects=counts[kind],
            num_bytes=sizes[kind],
        )
        for kind in sorted(counts)
    )
