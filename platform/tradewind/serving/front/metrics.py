"""What a front counts. Plain numbers where requests pass; Prometheus sees them when it asks."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

if TYPE_CHECKING:
    from tradewind.serving.front.relay import Relay

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
COUNTS = {
    "retries": "Requests asked again because their replica refused or died before it answered",
    "lost_answers": "Answers that had begun when their replica died",
    "clients_gone": "Requests whose client went away before the end",
    "broken_requests": "Connections closed because what came was not HTTP",
}
OF_REPLICA = ("capacity", "running", "waiting", "tokens_in_flight")


class Metrics:
    def __init__(self) -> None:
        self.answers: Counter[int] = Counter()
        self.retries = 0
        self.lost_answers = 0
        self.clients_gone = 0
        self.broken_requests = 0
        self._first_bytes = [0] * (len(BUCKETS_S) + 1)
        self._first_bytes_s = 0.0

    def saw_first_byte(self, status: int, seconds: float) -> None:
        self.answers[status] += 1
        self._first_bytes[bisect_left(BUCKETS_S, seconds)] += 1
        self._first_bytes_s += seconds

    def families(self, relay: Relay) -> Iterable[Metric]:
        """Everything, in Prometheus's own types."""
        answers = CounterMetricFamily("tradewind_front_answers", "Answers begun, by status", labels=["status"])
        for status, count in sorted(self.answers.items()):
            answers.add_metric([str(status)], count)
        yield answers
        for name, text in COUNTS.items():
            yield CounterMetricFamily(f"tradewind_front_{name}", text, value=getattr(self, name))
        yield GaugeMetricFamily("tradewind_front_held", "Requests held until a replica is ready", value=len(relay.held))
        yield GaugeMetricFamily("tradewind_front_clients", "Open connections of clients", value=len(relay.clients))
        yield self._first_byte_histogram()
        yield from _replica_gauges(relay)

    def _first_byte_histogram(self) -> Metric:
        total, buckets = 0, []
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), self._first_bytes, strict=True):
            total += count
            buckets.append((bound, float(total)))
        return HistogramMetricFamily(
            "tradewind_front_first_byte_seconds",
            "From the request's last byte to the answer's first",
            buckets=buckets,
            sum_value=self._first_bytes_s,
        )


def _replica_gauges(relay: Relay) -> Iterable[Metric]:
    seats = relay.board.seats.values()
    opened = GaugeMetricFamily("tradewind_front_replica_open", "Requests of this front there", labels=["replica"])
    for seat in seats:
        opened.add_metric([seat.report.replica], seat.open)
    yield opened
    for name in OF_REPLICA:
        family = GaugeMetricFamily(f"tradewind_front_replica_{name}", "As the replica reports", labels=["replica"])
        for seat in seats:
            family.add_metric([seat.report.replica], getattr(seat.report, name))
        yield family


class _Collector:
    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def collect(self) -> Iterable[Metric]:
        return self._relay.metrics.families(self._relay)


def exposition(relay: Relay) -> bytes:
    """The text that Prometheus reads."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(relay))
    return generate_latest(registry)
