from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tests.clusters.sentinel.services import Service, start_gcp
from tradewind.clusters.notices import Notice
from tradewind.clusters.sentinel import gcp
from tradewind.clusters.sentinel.gcp import GcpNotices


@pytest.fixture
def service() -> Iterator[Service]:
    with start_gcp() as started:
        yield started


def test_first_question_is_answered_at_once(service: Service) -> None:
    assert GcpNotices(service.url).poll() is None


def test_preemption_ends_the_wait(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcp, "WAIT_S", 60)
    source, heard = GcpNotices(service.url), list[Notice | None]()
    source.poll()
    thread = threading.Thread(target=lambda: heard.append(source.poll()))
    thread.start()
    while len(service.asked) < 3:
        assert thread.is_alive()
    service.set(preempted="TRUE")
    thread.join(20)
    (notice,) = heard
    assert notice is not None
    assert (notice.kind, notice.event) == ("preemption", "gcp/preempted")
    assert notice.deadline_unix_s == pytest.approx(time.time() + 30, abs=5)


def test_preemption_is_still_said_when_asked_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcp, "WAIT_S", 0)
    service.set(preempted="TRUE")
    source = GcpNotices(service.url)
    assert [bool(source.poll()) for _ in range(3)] == [True, True, True]


@pytest.mark.parametrize(
    ("event", "warning_s"), [("TERMINATE_ON_HOST_MAINTENANCE", 3600.0), ("MIGRATE_ON_HOST_MAINTENANCE", None)]
)
def test_maintenance_ends_the_vm_only_when_it_cannot_be_moved(
    service: Service, event: str, warning_s: float | None
) -> None:
    service.set(**{"maintenance-event": event})
    notice = GcpNotices(service.url).poll()
    assert notice is not None
    assert notice.kind == "maintenance"
    if warning_s is None:
        assert notice.deadline_unix_s is None
    else:
        assert notice.deadline_unix_s == pytest.approx(time.time() + warning_s, abs=5)


def test_missing_service_is_an_error_in_bounded_time() -> None:
    with start_gcp() as gone:
        source = GcpNotices(gone.url)
    with pytest.raises(OSError, match="refused"):
        source.poll()
