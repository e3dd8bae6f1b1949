from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.clusters.render.samples import AWS, AZURE, GCP, L4S, SITE, candidate, group, made, spec
from tradewind.catalog import load_catalog
from tradewind.clusters.render import blueprint
from tradewind.clusters.render.blueprint import most_machines
from tradewind.errors import NoPlanError, NotFoundError, QuotaError, SpecError
from tradewind.specs import ClusterSpec
from tradewind.specs.document import Document


def test_candidates_are_in_the_order_of_their_effective_price() -> None:
    l4 = group(
        candidate(AWS, L4S[AWS]),
        candidate(GCP, L4S[GCP]),
        candidate(AWS, L4S[AWS], market="spot"),
        candidate(GCP, L4S[GCP], market="spot"),
    )
    found = made(groups={"l4": l4}).groups[0].candidates
    assert [one.effective_usd_per_hour for one in found] == sorted(one.effective_usd_per_hour for one in found)
    assert (found[0].cloud, found[0].market) == ("gcp", "spot")
    assert found[-1].market == "on_demand"


def test_spot_costs_more_in_the_end_than_its_price() -> None:
    spot, on_demand = (
        made(GCP, groups={"cpu": group(candidate(GCP, market="spot"), candidate(GCP))}).groups[0].candidates
    )
    assert spot.effective_usd_per_hour > spot.usd_per_hour
    assert on_demand.effective_usd_per_hour == on_demand.usd_per_hour


def test_spot_without_a_listed_price_is_reckoned_at_what_is_bid() -> None:
    (one,) = made(groups={"l4": group(candidate(AWS, L4S[AWS], market="spot"))}).groups[0].candidates
    assert not one.listed
    assert one.usd_per_hour == one.max_usd_per_hour == pytest.approx(0.8 * one.on_demand_usd_per_hour)
    assert one.price_words().startswith("at most $0.64/h, no spot price is listed")


def test_chip_means_the_cheapest_machine_that_has_as_many() -> None:
    (one,) = made(groups={"l4": group(candidate(GCP, chip="L4", chips=1))}).groups[0].candidates
    assert (one.machine, one.resources.chips) == ("g2-standard-4", 1)


def test_same_candidate_twice_is_one() -> None:
    assert len(made(groups={"cpu": group(candidate(AWS), candidate(AWS))}).groups[0].candidates) == 1


@pytest.mark.parametrize(
    ("wish", "complaint", "hint"),
    [
        (candidate("awz/us-west-2", "m6i.2xlarge"), "no cloud named 'awz'", ""),
        (
            candidate("aws/us-wset-2", "m6i.2xlarge"),
            "no region of aws named 'us-wset-2' (did you mean 'us-west-2'?)",
            "",
        ),
        (candidate(AWS, "m6i.2xlarg"), "no machine type of aws named 'm6i.2xlarg' (did you mean 'm6i.2xlarge'?)", ""),
        (candidate(AWS, chip="L5"), "no chip named 'L5'", ""),
        (candidate(AWS, "m7i.2xlarge"), "m7i.2xlarge has no price in aws/us-west-2", "aws/us-east-1"),
        (candidate("onprem/bonn"), "no site named 'bonn' (known: berlin)", "sites: {bonn: …}"),
        (candidate(AWS, "m7g.2xlarge"), "m7g.2xlarge has ARM processors", "images: {aws/us-west-2: …}"),
        (candidate("gcp/us-east1", "ct6e-standard-1t"), "TPU-v6e, which is no GPU", "take a GPU"),
    ],
)
def test_wrong_candidate_is_refused_with_the_nearest_names(wish: dict[str, str], complaint: str, hint: str) -> None:
    with pytest.raises((NotFoundError, SpecError)) as caught:
        made(groups={"cpu": group(wish)})
    assert complaint in caught.value.message
    assert caught.value.message.startswith("groups.cpu.candidates.0")
    assert hint in (caught.value.hint or "")


def test_mistake_names_the_line_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.spec.yaml"
    path.write_text(
        "kind: cluster\nname: a\nhead: {place: aws/us-west-2, machine: m7i.large}\ngroups:\n  cpu:\n    candidates:\n"
        "      - place: aws/us-west-2\n        machine: m6i.2xlarg\n"
    )
    document = Document.read(path)
    with pytest.raises(NotFoundError, match=r"a\.spec\.yaml:8: no machine type of aws named 'm6i\.2xlarg'"):
        blueprint(ClusterSpec.from_document(document), load_catalog(), at=document.place)


def test_image_for_arm_lets_arm_machines_through() -> None:
    wish = {"cpu": group(candidate(AWS, "m7g.2xlarge"))}
    assert made(groups=wish, images={AWS: "ami-0123456789abcdef0"}).groups[0].candidates[0].machine == "m7g.2xlarge"


def test_candidates_with_other_resources_are_refused_with_both_names_and_what_all_have() -> None:
    wish = group(candidate(AWS, "m6i.2xlarge"), candidate(GCP, "n2-standard-16"))
    with pytest.raises(SpecError) as caught:
        made(groups={"cpu": wish})
    assert "aws-us-west-2-m6i-2xlarge-on-demand has 8 CPUs, 32.0 GiB" in caught.value.message
    assert "gcp-us-central1-n2-standard-16-on-demand has 16 CPUs, 64.0 GiB" in caught.value.message
    assert caught.value.hint == "promise what all have: cpus: 8, memory: 32GiB"


def test_what_all_candidates_have_can_be_promised() -> None:
    wish = group(candidate(AWS, "m6i.2xlarge"), candidate(GCP, "n2-standard-16"), cpus=8, memory="32GiB")
    assert made(groups={"cpu": wish}).groups[0].resources.cpus == 8


def test_more_than_a_candidate_has_cannot_be_promised() -> None:
    with pytest.raises(SpecError, match=r"has 8 CPUs, 32\.0 GiB, and 16 CPUs, 32\.0 GiB are promised"):
        made(groups={"cpu": group(candidate(AWS), cpus=16)})


def test_other_chips_are_never_alike() -> None:
    wish = group(candidate(AWS, "g6.xlarge"), candidate(AZURE, "Standard_NC4as_T4_v3"), cpus=4, memory="16GiB")
    with pytest.raises(SpecError) as caught:
        made(groups={"gpu": wish})
    assert "4 CPUs, 16.0 GiB, 1× L4" in caught.value.message
    assert caught.value.hint == "give each a group of its own"


def test_candidates_over_the_price_of_a_group_are_left_out() -> None:
    wish = group(candidate(GCP, L4S[GCP], market="spot"), candidate(GCP, L4S[GCP]), max_price_per_hour=0.6)
    (found,) = made(GCP, groups={"l4": wish}).groups
    assert [one.market for one in found.candidates] == ["spot"]
    assert [one.market for one in found.too_dear] == ["on_demand"]


def test_group_without_an_offer_under_its_price_is_refused_with_the_nearest_prices() -> None:
    wish = group(candidate(GCP, L4S[GCP], market="spot"), candidate(AWS, L4S[AWS]), max_price_per_hour=0.1)
    with pytest.raises(NoPlanError, match="no candidate of group 'l4' costs at most") as caught:
        made(groups={"l4": wish})
    assert caught.value.misses == (
        "gcp-us-central1-g2-standard-4-spot: $0.57/h",
        "aws-us-west-2-g6-xlarge-on-demand: $0.80/h",
    )


def test_head_with_accelerators_is_refused() -> None:
    with pytest.raises(SpecError, match=r"head\.machine: g6\.xlarge has 1× L4; a head does no work"):
        blueprint(spec().with_values(head={"place": AWS, "machine": "g6.xlarge"}), load_catalog())


def test_limit_that_leaves_no_room_is_refused_with_the_sum() -> None:
    with pytest.raises(QuotaError) as caught:
        made(max_usd_per_hour=0.2)
    assert "$0.20 an hour are too few: the head costs $0.10, a machine of 'cpu' up to $0.38" in caught.value.message


def test_machines_that_are_always_there_count_against_the_limit() -> None:
    wish = {"cpu": group(candidate(AWS), min=4, max=4)}
    with pytest.raises(QuotaError, match="and 4 are always there"):
        made(groups=wish, max_usd_per_hour=1.5)
    assert made(groups=wish, max_usd_per_hour=1.7).max_workers == 4


def test_limit_cuts_the_number_of_workers() -> None:
    wish = {"cpu": group(candidate(AWS), max=8), "l4": group(candidate(AWS, L4S[AWS]), max=4)}
    found = made(groups=wish, max_usd_per_hour=3)
    assert found.max_workers == 3
    assert found.most_usd_per_hour <= 3


def test_site_without_a_price_costs_nothing() -> None:
    assert made(SITE, groups={"own": group(candidate(SITE))}).most_usd_per_hour == 0


prices = st.lists(st.floats(0, 100), max_size=12)


@given(usd_per_hour=prices, room=st.floats(0, 300), chosen=st.data())
def test_any_so_many_machines_fit_under_the_limit(
    usd_per_hour: list[float], room: float, chosen: st.DataObject
) -> None:
    usd_per_hour.sort(reverse=True)
    count = most_machines(usd_per_hour, room)
    some = chosen.draw(st.permutations(usd_per_hour))[:count]
    assert sum(some) <= room * (1 + 1e-6) + 1e-9
    if count < len(usd_per_hour):
        assert sum(usd_per_hour[: count + 1]) > room
