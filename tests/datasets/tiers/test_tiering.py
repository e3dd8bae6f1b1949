"""Plans, moves and restores against a server that speaks S3."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path

import pytest

from tests.datasets.trading import GONE, NAME, add_run, add_versions, tiering
from tradewind.datasets import Datasets
from tradewind.datasets.tiers.moves import tier_log
from tradewind.datasets.tiers.policy import CostPolicy, DaysPolicy
from tradewind.errors import ArchivedError, IntegrityError, NotFoundError, SpecError
from tradewind.records import now
from tradewind.storage import Store, open_store
from tradewind.storage.classes.table import class_store
from tradewind.testing.gcs import start_gcs
from tradewind.testing.rgw import rgw_available, start_rgw
from tradewind.testing.servers import azurite_available, azurite_hint, start_azurite

RESTING = DaysPolicy(30)


@pytest.fixture
def store(moto_s3: str) -> Store:
    return open_store(f"{moto_s3}/{uuid.uuid4().hex}/deep")


def classes_of(store: Store) -> dict[str, str]:
    return {one.key: one.name for one in class_store(store).list(f"datasets/{NAME}/data")}


def keys(store: Store, version: int) -> list[str]:
    return [shard.key for shard in Datasets(store).get(f"{NAME}@{version}").shard_table("train")]


def test_old_version_is_archived_and_the_newest_stays(store: Store) -> None:
    add_versions(store, [1, 2], [3])
    plan = tiering(store).plan(NAME, RESTING)
    assert [(line.version, line.now, line.then, line.num_objects) for line in plan.lines] == [
        (1, "hot", "archive", 2),
        (2, "hot", "hot", 1),
    ]
    assert plan.lines[1].reason == "newest version"
    change = tiering(store).apply(plan)
    assert [(move.version, move.split, move.before, move.after, move.num_objects) for move in change.moves] == [
        (1, "train", "hot", "archive", 2)
    ]
    assert classes_of(store) == {
        **dict.fromkeys(keys(store, 1), "DEEP_ARCHIVE"),
        **dict.fromkeys(keys(store, 2), "STANDARD"),
    }
    assert [step.status for step in tier_log(store, NAME).all()] == ["going", "ended"]


def test_planning_changes_nothing(store: Store) -> None:
    add_versions(store, [1], [2])
    before = sorted(item.key for item in store.list(""))
    tiering(store).plan(NAME, RESTING)
    assert sorted(item.key for item in store.list("")) == before
    assert set(classes_of(store).values()) == {"STANDARD"}


def test_moved_objects_are_marked_and_keep_their_tags(store: Store) -> None:
    import boto3

    (first, _) = add_versions(store, [1], [2])
    key = keys(store, 1)[0]
    bucket, prefix = store.url.removeprefix("s3://").split("/", 1)
    client = boto3.client("s3")
    where = {"Bucket": bucket, "Key": f"{prefix}/{key}"}
    client.put_object_tagging(**where, Tagging={"TagSet": [{"Key": "team", "Value": "sails + masts = ok"}]})
    tiering(store).apply(tiering(store).plan(f"{NAME}@{first.version}", DaysPolicy(30, coldest="warm")))
    tags = {tag["Key"]: tag["Value"] for tag in client.get_object_tagging(**where)["TagSet"]}
    assert tags == {"team": "sails + masts = ok", "tradewind-tier": "warm"}
    assert store.get(key)


def test_live_run_and_recent_run_and_tag_hold_their_versions(store: Store) -> None:
    versions = add_versions(store, [1], [2], [3], [4], [5])
    add_run(store, "live-1", versions[0])
    add_run(store, "recent-1", versions[1], started_at=now() - timedelta(hours=30), ended_at=now() - timedelta(hours=2))
    add_run(store, "dead-1", versions[3], process=GONE)
    Datasets(store).tag(f"{NAME}@3", "golden")
    plan = tiering(store).plan(NAME, RESTING)
    reasons = {line.version: line.reason for line in plan.lines if line.stays}
    assert reasons[1] == "live run live-1 on elsewhere"
    assert reasons[2].startswith("run recent-1 of the last 2 h")
    assert reasons[3] == "tag golden"
    assert reasons[5] == "newest version"
    assert {move.version for move in plan.moves} == {4}
    assert {move.version for move in tiering(store).plan(NAME, RESTING, tagged=True).moves} == {3, 4}


def test_shard_stays_when_another_version_that_names_it_is_read(store: Store) -> None:
    versions = add_versions(store, [1, 2], [2, 3], [4])
    add_run(store, "live", versions[1])
    plan = tiering(store).plan(f"{NAME}@1", RESTING)
    assert sorted((line.stays, line.num_objects, line.reason) for line in plan.lines) == [
        (False, 1, "not accessed for 400 days"),
        (True, 1, f"shared with {NAME}@2: live run live on elsewhere"),
    ]
    tiering(store).apply(plan)
    shared = set(keys(store, 1)) & set(keys(store, 2))
    assert {classes_of(store)[key] for key in shared} == {"STANDARD"}


def test_removed_version_that_a_live_run_reads_keeps_its_shards(store: Store) -> None:
    versions = add_versions(store, [1], [1, 2], [3])
    add_run(store, "live", versions[0])
    Datasets(store).gc(NAME, keep=2)
    with pytest.raises(NotFoundError, match="was removed"):
        Datasets(store).get(f"{NAME}@1")
    plan = tiering(store).plan(NAME, RESTING)
    assert len(plan.moves) == 1
    assert all(1 not in move.versions for move in plan.moves)


def test_damaged_record_of_a_run_stops_the_plan(store: Store) -> None:
    add_versions(store, [1], [2])
    store.put("runs/broken/run.json", b"{}")
    with pytest.raises(IntegrityError, match="run"):
        tiering(store).plan(NAME, RESTING)


def test_second_apply_finds_nothing_left(store: Store) -> None:
    add_versions(store, [1, 2], [3])
    tiering(store).apply(tiering(store).plan(NAME, RESTING))
    again = tiering(store).plan(NAME, RESTING)
    assert again.moves == ()
    assert {line.now for line in again.lines} == {"archive", "hot"}


def test_archived_shard_says_which_command_brings_it_back_and_that_command_does(store: Store) -> None:
    add_versions(store, [1, 2], [3])
    there = tiering(store)
    there.apply(there.plan(NAME, RESTING))
    dataset = Datasets(store).get(f"{NAME}@1")
    for read in (lambda: list(dataset.shards("train")), dataset.verify, lambda: store.get(keys(store, 1)[0])):
        with pytest.raises(ArchivedError) as caught:
            read()
        assert caught.value.remedy == "fix"
    with pytest.raises(ArchivedError, match=f"dataset {NAME}@1 is archived") as caught:
        dataset.verify()
    assert caught.value.hint == f"bring it back first: tw datasets restore {NAME}@1"
    before = there.restored(f"{NAME}@1")
    assert (before.archived, before.restoring, before.ready, before.is_readable) == (2, 0, 0, False)
    assert before.hours == 12
    assert before.usd == pytest.approx(0.02 * before.num_bytes / 2**30)
    after = there.restore(f"{NAME}@1", wait=True, poll_s=0)
    assert (after.archived, after.ready, after.is_readable) == (0, 2, True)
    assert dataset.verify() > 0
    assert there.restore(f"{NAME}@1").usd == 0


def test_archived_object_is_not_moved_before_it_is_restored(store: Store) -> None:
    versions = add_versions(store, [1], [2])
    there = tiering(store)
    there.apply(there.plan(NAME, RESTING))
    for day in range(40):
        at = now() - timedelta(days=day + 2)
        add_run(store, f"busy-{day}", versions[0], started_at=at, ended_at=at)
    (line, *_) = there.plan(f"{NAME}@1", CostPolicy()).lines
    assert line.stays
    assert line.reason == f"archived: tw datasets restore {NAME}@1"


def test_busy_version_comes_back_from_cold(store: Store) -> None:
    versions = add_versions(store, [1], [2], tokens=2**20)
    there = tiering(store)
    there.apply(there.plan(NAME, DaysPolicy(30, coldest="cold")))
    assert {classes_of(store)[key] for key in keys(store, 1)} == {"GLACIER_IR"}
    for day in range(40):
        at = now() - timedelta(days=day + 2)
        add_run(store, f"busy-{day}", versions[0], started_at=at, ended_at=at)
    plan = there.plan(f"{NAME}@1", CostPolicy())
    assert [(line.now, line.then) for line in plan.lines] == [("cold", "hot")]
    there.apply(plan)
    assert {classes_of(store)[key] for key in keys(store, 1)} == {"STANDARD"}


def test_folder_has_no_tiers_and_says_how_to_look_all_the_same(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    add_versions(store, [1], [2])
    with pytest.raises(SpecError, match="has no storage classes") as caught:
        tiering(store).plan(NAME, RESTING)
    assert "--cloud s3" in (caught.value.hint or "")
    plan = tiering(store).plan(NAME, RESTING, cloud="azure")
    assert len(plan.moves) == 1
    assert plan.to_dict()["saves_usd_per_month"] is None
    assert any("retrieval price of azure Archive" in words for words in plan.unknown)


@pytest.mark.skipif(not rgw_available(), reason="needs Ceph RGW")
def test_server_without_classes_refuses_before_anything_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    with start_rgw() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        server.make_bucket("harbour")
        store = open_store("s3://harbour/deep")
        add_versions(store, [1], [2])
        plan = tiering(store).plan(NAME, RESTING)
        before = sorted(item.key for item in store.list(""))
        with pytest.raises(SpecError, match="has no such storage class"):
            tiering(store).apply(plan)
        assert sorted(item.key for item in store.list("")) == before
        assert set(classes_of(store).values()) == {"STANDARD"}
        assert list(tier_log(store, NAME).all()) == []


def test_of_google_the_archive_is_read_without_a_restore(monkeypatch: pytest.MonkeyPatch) -> None:
    with start_gcs("harbour") as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
        store = open_store("gs://harbour/deep")
        add_versions(store, [1], [2])
        there = tiering(store)
        change = there.apply(there.plan(NAME, RESTING))
        assert sum(move.num_objects for move in change.moves) == 1
        assert sorted(classes_of(store).values()) == ["ARCHIVE", "STANDARD"]
        assert Datasets(store).get(f"{NAME}@1").verify()
        assert there.restored(f"{NAME}@1").is_readable


def test_azure_sets_tiers_and_says_what_is_archived(monkeypatch: pytest.MonkeyPatch) -> None:
    if not azurite_available():
        pytest.skip(f"needs Azurite: {azurite_hint()}")
    with start_azurite() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        server.make_container("harbour")
        store = open_store("az://harbour/deep")
        add_versions(store, [1], [2])
        there = tiering(store)
        there.apply(there.plan(NAME, RESTING))
        assert sorted(classes_of(store).values()) == ["Archive", "Hot"]
        with pytest.raises(ArchivedError) as caught:
            Datasets(store).get(f"{NAME}@1").verify()
        assert caught.value.hint == f"bring it back first: tw datasets restore {NAME}@1"
        before = there.restored(f"{NAME}@1")
        assert (before.archived, before.hours, before.usd) == (1, 15, None)
        there.restore(f"{NAME}@1")
        assert there.restored(f"{NAME}@1").archived == 0
