from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.catalog.refresh.cloud import Answer, Cloud, as_json, recorded
from tradewind.catalog.refresh import answer
from tradewind.catalog.refresh.answer import FIRST_PAUSE_S, LONGEST_PAUSE_S, TRIES, get_json
from tradewind.errors import AuthError, SpecError, StorageError


def ask(cloud: Cloud, **headers: str) -> object:
    return get_json(
        f"{cloud.endpoint}/prices", {"$filter": "a eq 'b c'"}, what="the API", headers=headers, login="log in"
    )


def test_parameters_arrive_as_they_were_meant(cloud: Cloud) -> None:
    cloud.gives("/prices", as_json({"Items": []}))
    assert ask(cloud, Key="k") == {"Items": []}
    assert cloud.asked[0].query == {"$filter": "a eq 'b c'"}
    assert cloud.asked[0].headers["Key"] == "k"


@pytest.mark.parametrize("status", sorted(answer.PASSING))
def test_a_busy_server_is_asked_again(cloud: Cloud, status: int) -> None:
    cloud.gives("/prices", Answer(b"busy", status), as_json(1))
    assert ask(cloud) == 1


def test_pauses_are_those_that_the_server_asks_for(cloud: Cloud, pauses: list[float]) -> None:
    cloud.gives("/prices", Answer(b"", 429, {"Retry-After": "7"}), Answer(b"", 503, {"Retry-After": "0"}), as_json(1))
    assert ask(cloud) == 1
    assert pauses == [7, 0]


def test_azure_asks_for_pauses_in_a_header_of_its_own(cloud: Cloud, pauses: list[float]) -> None:
    cloud.gives("/prices", Answer(b"", 429, {"x-ms-ratelimit-retailPrices-retry-after": "60"}), as_json(1))
    assert ask(cloud) == 1
    assert pauses == [60]


def test_a_pause_may_be_a_date(cloud: Cloud, pauses: list[float]) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=30), usegmt=True)
    cloud.gives("/prices", *(Answer(b"", 429, {"Retry-After": wait}) for wait in (until, past)), as_json(1))
    ask(cloud)
    assert 20 < pauses[0] <= 30
    assert pauses[1] == 0


def test_a_pause_without_a_meaning_is_ours_to_choose(cloud: Cloud, pauses: list[float]) -> None:
    cloud.gives("/prices", Answer(b"", 429, {"Retry-After": "soon"}), as_json(1))
    ask(cloud)
    assert 0 <= pauses[0] <= FIRST_PAUSE_S


def test_patience_ends(cloud: Cloud, pauses: list[float]) -> None:
    cloud.gives("/prices", *[Answer(b"too many", 429)] * (TRIES + 1))
    with pytest.raises(StorageError, match="429: too many"):
        ask(cloud)
    assert len(cloud.asked) == TRIES
    assert all(pause <= FIRST_PAUSE_S * 2**tried for tried, pause in enumerate(pauses))


def test_nobody_waits_an_hour(cloud: Cloud, pauses: list[float]) -> None:
    cloud.gives("/prices", Answer(b"", 429, {"Retry-After": "3600"}), as_json(1))
    with pytest.raises(StorageError):
        ask(cloud)
    assert pauses == []


@given(tried=st.integers(1, 60))
def test_own_pauses_never_pass_the_longest(tried: int) -> None:
    assert 0 <= answer._pause_s(tried, None) <= LONGEST_PAUSE_S


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_never_tried_again(cloud: Cloud, status: int) -> None:
    cloud.gives("/prices", Answer(b"no", status), as_json(1))
    with pytest.raises(AuthError, match=str(status)) as refused:
        ask(cloud)
    assert refused.value.hint == "log in"
    assert len(cloud.asked) == 1


def test_a_key_that_is_none_is_refused_with_400(cloud: Cloud) -> None:
    cloud.gives("/prices", as_json(recorded("gcp_key_refused"), status=400))
    with pytest.raises(AuthError, match="API key not valid"):
        ask(cloud)


@pytest.mark.parametrize("status", [400, 404, 418, 501])
def test_other_refusals_stay_refusals(cloud: Cloud, status: int) -> None:
    cloud.gives("/prices", Answer(b"what?", status), as_json(1))
    with pytest.raises(StorageError, match=f"{status}: what\\?"):
        ask(cloud)
    assert len(cloud.asked) == 1


def test_credentials_do_not_follow_a_redirect(cloud: Cloud) -> None:
    cloud.gives("/prices", Answer(b"", 302, {"Location": f"{cloud.endpoint}/elsewhere"}))
    with pytest.raises(StorageError, match="302"):
        ask(cloud, Key="secret")
    assert [asked.path for asked in cloud.asked] == ["/prices"]


def test_half_an_answer_is_asked_for_again(cloud: Cloud) -> None:
    whole = json.dumps(recorded("azure_d2s_v3_eastus")).encode()
    cloud.gives("/prices", Answer(whole[:200], cut=True), Answer(whole[:200]), Answer(whole))
    assert ask(cloud) == recorded("azure_d2s_v3_eastus")


def test_an_answer_that_stays_half_is_an_error(cloud: Cloud) -> None:
    cloud.gives("/prices", *[Answer(b'{"Items": [', 200)] * TRIES)
    with pytest.raises(StorageError, match="not whole JSON"):
        ask(cloud)


def test_nobody_there_is_an_error_that_names_the_host() -> None:
    with pytest.raises(StorageError, match=r"127\.0\.0\.1:9"):
        get_json("http://127.0.0.1:9/prices", {}, what="the API")


@pytest.mark.parametrize("url", ["prices.azure.com", "file:///etc/passwd", "https://", ""])
def test_an_address_must_be_one(url: str) -> None:
    with pytest.raises(SpecError, match="no address of the API"):
        get_json(url, {}, what="the API")
