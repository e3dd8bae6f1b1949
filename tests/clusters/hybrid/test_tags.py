from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tradewind.clusters.hybrid.candidate import Candidate
from tradewind.clusters.hybrid.settings import ClusterSettings
from tradewind.clusters.hybrid.tags import Carried, label, machine_tags, new_token, node_id, split_node_id

GOOGLE = re.compile(r"[a-z0-9_-]{0,63}")
"""https://cloud.google.com/compute/docs/labeling-resources"""


@given(usd=st.floats(0, 500), cluster=st.text(max_size=80), machine=st.text(max_size=80), expires=st.booleans())
def test_tags_suit_the_strictest_cloud_and_read_back(usd: float, cluster: str, machine: str, expires: bool) -> None:
    candidate = Candidate(name="a", backend="west", usd_per_hour=usd, node_config={"InstanceType": machine})
    token = new_token()
    tags = machine_tags(candidate, cluster, ClusterSettings(ttl_s=60.0), token=token, expires=expires)
    assert all(GOOGLE.fullmatch(word) for pair in tags.items() for word in pair)
    carried = Carried(tags)
    assert abs(carried.usd_per_hour - usd) <= 1e-6
    assert carried.since is not None
    assert carried.expires == (carried.since + 60 if expires else None)
    assert carried.token == token


def test_machine_of_something_else_says_nothing_of_itself() -> None:
    carried = Carried({"Name": "mine", "tradewind-expires": "tomorrow"})
    assert (carried.usd_per_hour, carried.since, carried.expires, carried.token) == (0.0, None, None, "")
    assert not carried.is_head


def test_label_keeps_what_is_good() -> None:
    assert label("m5.large") == "m5_large"
    assert label("n2-standard-8") == "n2-standard-8"


def test_node_is_its_backend_and_its_native_id() -> None:
    assert split_node_id(node_id("west", "i-1")) == ("west", "i-1")
    assert split_node_id(node_id("azure", "a/b")) == ("azure", "a/b")
