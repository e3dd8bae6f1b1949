"""A launch: candidates in the order of their prices, one after the other, until there are as many machines as wanted.

A candidate that fails is left alone for a while, and the next one is tried within the same call. A cloud that gives
fewer machines than it was asked for is topped up from the next. When the answer to a request is lost, its machines are
looked for by the tag that only they carry; what is not found then is a leak if it appears later, and the sweep ends it.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tradewind.clusters.hybrid.backend import Backend
from tradewind.clusters.hybrid.candidate import Candidate, in_order
from tradewind.clusters.hybrid.cap import Cap
from tradewind.clusters.hybrid.cooldown import WHOLE_BACKEND, Cooldowns, Scope
from tradewind.clusters.hybrid.door import Door
from tradewind.clusters.hybrid.failures import hint_of, understand
from tradewind.clusters.hybrid.journal import Journal
from tradewind.clusters.hybrid.settings import Settings
from tradewind.clusters.hybrid.tags import LAUNCH, NODE_TYPE, REQUEST, machine_tags, new_token, node_id
from tradewind.errors import CapacityError, QuotaError
from tradewind.records import Attempt, Outcome

PARTIAL = ("gcp", "azure")
"""Backends that may have made some machines of a request that failed: Ray asks Google for one after the other, and an
Azure deployment is not taken back. EC2 makes all or none of what it answers with an error."""

SURELY_NOT_MADE: frozenset[Outcome] = frozenset({"sold_out", "over_quota", "misfit", "refused", "in_use"})

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    nodes: tuple[str, ...]
    attempts: tuple[Attempt, ...]
    passed_over: tuple[str, ...]
    reason: str


@dataclass
class Launcher:
    cluster: str
    settings: Settings
    backends: Mapping[str, Backend]
    journal: Journal
    cooldowns: Cooldowns
    cap: Cap
    door: Door | None = None
    """Of the overlay, on its hub."""
    lost: set[str] = field(default_factory=set)
    """Tokens of launches whose answer was lost and whose machines were not found."""
    _refused: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def launch(self, candidates: tuple[Candidate, ...], tags: Mapping[str, str], count: int) -> Result:
        """Nodes of a size class. Raises CapacityError or QuotaError when there are fewer than `count` in the end.

        What was made is kept then: Ray sees it with the next listing, and asks for the rest again.
        """
        started = time.monotonic()
        attempts, passed_over = self._try_all(candidates, tags, count)
        nodes = tuple(node for attempt in attempts for node in attempt.nodes)
        result = Result(nodes, tuple(attempts), tuple(passed_over), _reason(attempts, passed_over))
        self._write_down(result, tags, count, time.monotonic() - started)
        if self.door is not None:
            self.door.tidy()
        if len(nodes) < count:
            raise _too_few(tags.get(NODE_TYPE, ""), count, result)
        return result

    def _try_all(
        self, candidates: tuple[Candidate, ...], tags: Mapping[str, str], count: int
    ) -> tuple[list[Attempt], list[str]]:
        attempts: list[Attempt] = []
        passed_over: list[str] = []
        left = count
        for candidate in in_order(candidates):
            if left <= 0:
                break
            if rest := self.cooldowns.rest(self._scope(candidate)):
                passed_over.append(f"{candidate.name}: left alone after {rest.reason}")
                continue
            with self.cap.reserve(candidate.usd_per_hour, left) as fit:
                if fit < left:
                    passed_over.append(f"{candidate.name}: {self._over(candidate, left - fit)}")
                made = self._ask(candidate, tags, fit) if fit else []
                attempts += made
                left -= sum(len(attempt.nodes) for attempt in made)
        return attempts, passed_over

    def _ask(self, candidate: Candidate, tags: Mapping[str, str], count: int) -> list[Attempt]:
        """One request; with an overlay, one for each machine, since each has its own key."""
        if self.door is None:
            return [self._try(candidate, tags, count)]
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(lambda _: self._try(candidate, tags, 1), range(count)))

    def _try(self, candidate: Candidate, tags: Mapping[str, str], count: int) -> Attempt:
        backend = self.backends[candidate.backend]
        token, started = new_token(), time.monotonic()
        own = machine_tags(
            candidate, self.cluster, self.settings.cluster, token=token, expires=backend.kind != "static"
        )
        try:
            node_config = copy.deepcopy(candidate.node_config)
            if self.door is not None:
                node_config = self.door.open(backend, node_config, token, candidate.market)
            natives = backend.create(node_config, {**tags, **own}, count, token_tag=LAUNCH)
            outcome: Outcome = "launched" if len(natives) >= count else "fewer"
            reason = ""
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - whatever an SDK raises is understood there
            natives, outcome, reason = self._settle(exc, backend, candidate, {**tags, **own})
        if self.door is not None:
            self.door.settled(token, made=bool(natives), maybe=outcome not in SURELY_NOT_MADE)
        self._learn(candidate, outcome, reason)
        return Attempt(
            candidate=candidate.name, backend=backend.name, market=candidate.market,
            place=candidate.place(self.settings.backends), machine=candidate.machine,
            usd_per_hour=candidate.usd_per_hour, effective_usd_per_hour=candidate.effective_usd_per_hour,
            token=token, wanted=count, outcome=outcome, reason=reason,
            nodes=tuple(node_id(backend.name, native) for native in natives), seconds=time.monotonic() - started,
        )  # fmt: skip

    def _settle(
        self, exc: BaseException, backend: Backend, candidate: Candidate, tags: Mapping[str, str]
    ) -> tuple[list[str], Outcome, str]:
        """After a failure: what was made all the same, what it means, and why."""
        failure = understand(exc, where=f"{backend.name}: launch of {candidate.name}")
        if not failure.made_maybe and backend.kind not in PARTIAL:
            return [], failure.outcome, failure.reason
        try:
            natives = backend.with_tag(LAUNCH, tags[LAUNCH])
            if not failure.made_maybe:
                natives = backend.end_failed(natives)
        except (Exception, SystemExit) as again:  # noqa: BLE001
            log.warning("%s: machines of a lost launch cannot be looked for: %s", backend.name, again)
            natives = []
        backend.keep(natives, tags)
        if natives:
            return natives, "fewer" if failure.outcome == "no_answer" else failure.outcome, failure.reason
        if failure.made_maybe:
            self.lost.add(tags[LAUNCH])
            self.journal.lose(tags[LAUNCH], failure.reason)
        return [], "lost" if failure.made_maybe else failure.outcome, failure.reason

    def _learn(self, candidate: Candidate, outcome: Outcome, reason: str) -> None:
        scope = self._scope(candidate)
        if outcome == "launched":
            self.cooldowns.end(scope)
        if outcome == "launched" or (outcome == "fewer" and self.backends[candidate.backend].kind == "static"):
            return
        seconds = self.cooldowns.start(scope, outcome, reason or outcome)
        if outcome in WHOLE_BACKEND:
            self.journal.decide("backend_out", candidate.backend, f"for {seconds:g} s: {reason}")

    def _scope(self, candidate: Candidate) -> Scope:
        place = candidate.place(self.settings.backends)
        return (candidate.backend, place, candidate.machine or candidate.name, candidate.market)

    def _over(self, candidate: Candidate, count: int) -> str:
        return (
            f"{count} more at ${candidate.usd_per_hour:g} an hour would pass the highest price of"
            f" ${self.cap.max_usd_per_hour:g} an hour"
        )

    def _write_down(self, result: Result, tags: Mapping[str, str], count: int, seconds: float) -> None:
        """Ray asks again each few seconds: a refusal without an attempt is written once for each reason."""
        node_type = tags.get(NODE_TYPE, "")
        if not result.attempts and self._refused.get(node_type) == result.passed_over:
            return
        self._refused[node_type] = () if result.attempts else result.passed_over
        self.journal.launch(
            node_type, tags.get(REQUEST, ""), wanted=count, attempts=result.attempts, passed_over=result.passed_over,
            reason=result.reason, seconds=seconds,
        )  # fmt: skip
        if not result.nodes and any("highest price" in text for text in result.passed_over):
            self.journal.decide("over_cap", node_type, "; ".join(result.passed_over))


def _reason(attempts: list[Attempt], passed_over: list[str]) -> str:
    taken = [attempt for attempt in attempts if attempt.nodes]
    failed = [f"{attempt.candidate} {attempt.outcome}" for attempt in attempts if not attempt.nodes]
    others = "; ".join([*failed, *passed_over])
    if not taken:
        return f"nothing could be had: {others or 'no candidate'}"
    names = " and ".join(
        f"{attempt.candidate} at ${attempt.effective_usd_per_hour:.4g} an hour in the end" for attempt in taken
    )
    return f"{names}: cheapest that could be had" + (f" ({others})" if others else "")


_HINT = "mend what is said, add candidates to the class, wait, or raise provider.cluster.max_usd_per_hour"
_ALIKE = {frozenset({outcome}): hint_of(outcome) for outcome in ("misfit", "refused", "over_quota")}
"""Where all candidates have failed of one thing that waiting does not mend."""


def _too_few(node_type: str, count: int, result: Result) -> CapacityError | QuotaError:
    said = [f"{attempt.candidate}: {attempt.reason}" for attempt in result.attempts if attempt.reason]
    kind = (
        CapacityError
        if result.attempts or not any("highest price" in text for text in result.passed_over)
        else QuotaError
    )
    return kind(
        f"{len(result.nodes)} of {count} machines of {node_type or 'a class'}: "
        + "; ".join([*said, *result.passed_over]),
        hint=_ALIKE.get(frozenset(attempt.outcome for attempt in result.attempts), _HINT),
    )
