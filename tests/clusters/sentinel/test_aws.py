from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.clusters.sentinel.services import Service, start_aws
from tradewind.clusters.sentinel.aws import AwsNotices


@pytest.fixture
def service() -> Iterator[Service]:
    with start_aws() as started:
        yield started


def at(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_without_a_notice_there_is_none(service: Service) -> None:
    assert AwsNotices(service.url).poll() is None


def test_token_is_fetched_once_and_again_when_it_has_run_out(service: Service) -> None:
    source = AwsNotices(service.url)
    for _ in range(3):
        source.poll()
    service.set(token="the-next")
    source.poll()
    assert [method for method, _ in service.asked].count("PUT") == 2


@pytest.mark.parametrize("action", ["terminate", "stop", "hibernate"])
def test_interruption_says_what_and_when(service: Service, action: str) -> None:
    end = round(time.time()) + 110
    service.set(**{"instance-action": {"action": action, "time": at(end)}})
    notice = AwsNotices(service.url).poll()
    assert notice is not None
    assert (notice.kind, notice.source, notice.event) == ("preemption", "aws", f"aws/{action}/{at(end)}")
    assert notice.deadline_unix_s == pytest.approx(end, abs=1e-3)
    assert action in notice.reason


def test_recommendation_to_rebalance_has_no_deadline(service: Service) -> None:
    service.set(rebalance={"noticeTime": "2026-11-26T08:22:00Z"})
    notice = AwsNotices(service.url).poll()
    assert notice is not None
    assert (notice.kind, notice.deadline_unix_s) == ("rebalance", None)


def test_interruption_outranks_a_recommendation(service: Service) -> None:
    action = {"action": "terminate", "time": at(time.time() + 100)}
    service.set(**{"rebalance": {"noticeTime": "2026-11-26T08:22:00Z"}, "instance-action": action})
    notice = AwsNotices(service.url).poll()
    assert notice is not None
    assert notice.kind == "preemption"


def test_answer_that_is_none_is_an_error(service: Service) -> None:
    service.set(**{"instance-action": {"tide": "low"}})
    with pytest.raises(KeyError):
        AwsNotices(service.url).poll()


def test_missing_service_is_an_error_in_bounded_time() -> None:
    with start_aws() as gone:
        source = AwsNotices(gone.url)
    with pytest.raises(OSError, match="refused"):
        source.poll()
