from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest

from tests.clusters.sentinel.services import NAME, Service, start_azure
from tradewind.clusters.sentinel.azure import AzureNotices


@pytest.fixture
def service() -> Iterator[Service]:
    with start_azure() as started:
        yield started


def event(kind: str = "Preempt", *, in_s: float | None = 25.0, **changes: Any) -> dict[str, Any]:
    return {
        "EventId": "602d9444-d2cd-49c7-8624-8643e7171297",
        "EventType": kind,
        "ResourceType": "VirtualMachine",
        "Resources": [NAME],
        "EventStatus": "Scheduled",
        "NotBefore": "" if in_s is None else formatdate(time.time() + in_s, usegmt=True),
        "Description": "Virtual machine is being evicted",
        "EventSource": "Platform",
        "DurationInSeconds": -1,
        **changes,
    }


def test_without_an_event_there_is_none(service: Service) -> None:
    assert AzureNotices(service.url).poll() is None


@pytest.mark.parametrize("kind", ["Preempt", "Terminate", "Reboot", "Redeploy"])
def test_event_that_ends_the_vm_has_its_deadline(service: Service, kind: str) -> None:
    service.set(events=[event(kind)])
    notice = AzureNotices(service.url).poll()
    assert notice is not None
    assert notice.kind == ("preemption" if kind == "Preempt" else "maintenance")
    assert notice.deadline_unix_s == pytest.approx(time.time() + 25, abs=5)
    assert "being evicted" in notice.reason


def test_event_that_has_started_is_due_now(service: Service) -> None:
    service.set(events=[event(in_s=None, EventStatus="Started")])
    notice = AzureNotices(service.url).poll()
    assert notice is not None
    assert notice.deadline_unix_s == pytest.approx(time.time(), abs=5)


def test_freeze_does_not_end_the_vm(service: Service) -> None:
    service.set(events=[event("Freeze")])
    notice = AzureNotices(service.url).poll()
    assert notice is not None
    assert (notice.kind, notice.deadline_unix_s) == ("maintenance", None)


def test_first_of_several_counts_and_others_machines_do_not(service: Service) -> None:
    service.set(
        events=[
            event("Freeze", EventId="freeze"),
            event("Reboot", in_s=500, EventId="reboot"),
            event("Preempt", in_s=20, EventId="ours"),
            event("Preempt", in_s=1, EventId="theirs", Resources=["harbour-4"]),
        ]
    )
    notice = AzureNotices(service.url).poll()
    assert notice is not None
    assert notice.event == "azure/ours"


def test_acknowledged_event_may_start(service: Service) -> None:
    service.set(events=[event()])
    source = AzureNotices(service.url)
    notice = source.poll()
    assert notice is not None
    source.acknowledge(notice)
    assert service.values["started"] == ["602d9444-d2cd-49c7-8624-8643e7171297"]


def test_missing_service_is_an_error_in_bounded_time() -> None:
    with start_azure() as gone:
        source = AzureNotices(gone.url)
    with pytest.raises(OSError, match="refused"):
        source.poll()
