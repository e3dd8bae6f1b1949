from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.samples import dataset_spec, write_text
from tradewind.datasets import Dataset, Datasets
from tradewind.datasets.copies.budget import EgressBudget
from tradewind.datasets.copies.catalog import copies_of, record_copy
from tradewind.datasets.copies.replicas import Replicas
from tradewind.datasets.copies.replication import drop_copy, replicate
from tradewind.errors import IntegrityError, NotFoundError, QuotaError, SpecError, StorageError
from tradewind.records import LOCAL, Place, StoredFile
from tradewind.storage import Store, fetch_content, open_store
from tradewind.storage.transfer import tariffs as tariffs_module
from tradewind.storage.transfer.meter import TransferMeter
from tradewind.testing.faults import FaultProxy, Plan, start_faults
from tradewind.testing.gcs import start_gcs
from tradewind.workspace import Workspace

HOME, AWAY, ABROAD = "aws/us-east-1", "aws/us-west-2", "gcp/us-east1"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    spec = dataset_spec(write_text(tmp_path / "text", documents=40), name="tides")
    return Datasets(open_store(str(tmp_path / "home"))).add(spec)


def files_of(dataset: Dataset) -> list[StoredFile]:
    files: list[StoredFile] = [shard for split in dataset.record.splits for shard in dataset.shard_table(split)]
    return [*files, dataset.tokenizer_file]


def num_bytes(dataset: Dataset) -> int:
    return sum(file.num_bytes for file in files_of(dataset))


def copy_to(dataset: Dataset, *targets: tuple[Store, str]) -> TransferMeter:
    meter = TransferMeter()
    replicate(dataset, [(store, Place.parse(place)) for store, place in targets], meter=meter)
    return meter


def moved(meter: TransferMeter) -> dict[tuple[str, str], int]:
    return {(item.store, item.boundary): item.num_bytes for item in meter.total()}


def folder(tmp_path: Path, name: str) -> Store:
    return open_store(str(tmp_path / name))


class FarFolder:
    """A folder that is as far as another cloud: it has no path on this machine."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)

    def local_path(self, key: str) -> None:
        return None


def test_copy_is_whole_and_is_a_workspace_of_its_own(dataset: Dataset, tmp_path: Path) -> None:
    target = folder(tmp_path, "copy")
    meter = copy_to(dataset, (target, ABROAD))
    assert [copy.versions for copy in copies_of(dataset.store, "tides")] == [(1,)]
    opened = Datasets(target).get("tides")
    assert opened.record == dataset.record
    assert opened.verify() == num_bytes(dataset)
    assert moved(meter) == {(target.url, "unknown"): num_bytes(dataset)}


def test_copy_that_is_there_is_not_sent_again(dataset: Dataset, tmp_path: Path) -> None:
    target = folder(tmp_path, "copy")
    copy_to(dataset, (target, ABROAD))
    assert moved(copy_to(dataset, (target, ABROAD))) == {}
    assert len(copies_of(dataset.store, "tides")) == 1


def test_copy_made_again_without_a_place_stays_where_it_was(dataset: Dataset, tmp_path: Path) -> None:
    target = folder(tmp_path, "copy")
    copy_to(dataset, (target, ABROAD))
    (again,) = replicate(dataset, [(target, None)], meter=TransferMeter())
    assert str(again.place) == ABROAD
    target.delete(files_of(dataset)[0].key)
    meter = TransferMeter()
    replicate(dataset, [(target, None)], meter=meter)
    assert [item.boundary for item in meter.total()] == ["unknown"], "it was priced as if it were somewhere else"
    assert [str(copy.place) for copy in copies_of(dataset.store, "tides")] == [ABROAD]
    (moved_there,) = replicate(dataset, [(target, Place.parse(AWAY))], meter=meter)
    assert str(moved_there.place) == AWAY


def test_copy_that_cannot_be_opened_does_not_keep_others_from_being_made(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_copy(dataset.store, "tides", "nowhere://one", place=Place.parse(AWAY), version=1)
    copy_to(dataset, (folder(tmp_path, "copy"), ABROAD))
    assert len(copies_of(dataset.store, "tides")) == 2
    assert "the copy of tides at nowhere://one is not read" in capsys.readouterr().err


def test_what_is_lost_or_cut_is_sent_again(dataset: Dataset, tmp_path: Path) -> None:
    target = folder(tmp_path, "copy")
    copy_to(dataset, (target, ABROAD))
    first, second, *_ = files_of(dataset)
    target.delete(first.key)
    target.put(second.key, b"cut")
    meter = copy_to(dataset, (target, ABROAD))
    assert sum(moved(meter).values()) == first.num_bytes + second.num_bytes
    assert Datasets(target).get("tides").verify() == num_bytes(dataset)


def test_record_comes_after_all_files_and_the_manifest(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = folder(tmp_path, "copy")
    fails_at = files_of(dataset)[5].key
    put = type(target).put

    def failing(self: Store, key: str, data: bytes | Path) -> None:
        if key == fails_at:
            raise StorageError("the line is cut")
        put(self, key, data)

    monkeypatch.setattr(type(target), "put", failing)
    with pytest.raises(StorageError, match="the line is cut"):
        copy_to(dataset, (target, ABROAD))
    monkeypatch.setattr(type(target), "put", put)
    assert copies_of(dataset.store, "tides") == []
    assert Datasets(target).names() == []
    copy_to(dataset, (target, ABROAD))
    assert Datasets(target).get("tides").verify() == num_bytes(dataset)


def test_damaged_home_is_not_copied(dataset: Dataset, tmp_path: Path) -> None:
    dataset.store.put(files_of(dataset)[3].key, b"x" * files_of(dataset)[3].num_bytes)
    target = folder(tmp_path, "copy")
    with pytest.raises(IntegrityError):
        copy_to(dataset, (target, ABROAD))
    assert not any(item.key == files_of(dataset)[3].key for item in target.list(""))
    assert copies_of(dataset.store, "tides") == []


def test_damage_at_home_is_mended_from_a_copy_for_the_next(dataset: Dataset, tmp_path: Path) -> None:
    copy_to(dataset, (folder(tmp_path, "first"), ABROAD))
    dataset.store.delete(files_of(dataset)[3].key)
    second = folder(tmp_path, "second")
    copy_to(dataset, (second, AWAY))
    assert Datasets(second).get("tides").verify() == num_bytes(dataset)


def test_another_dataset_of_that_name_is_not_touched(dataset: Dataset, tmp_path: Path) -> None:
    other = folder(tmp_path, "other")
    Datasets(other).add(dataset_spec(write_text(tmp_path / "texts", seed=1), name="tides"))
    before = {item.key: item.num_bytes for item in other.list("")}
    with pytest.raises(SpecError, match="holds another dataset tides"):
        copy_to(dataset, (other, ABROAD))
    assert {item.key: item.num_bytes for item in other.list("")} == before


def test_home_is_no_target(dataset: Dataset) -> None:
    with pytest.raises(SpecError, match="is where tides is at home"):
        copy_to(dataset, (dataset.store, ABROAD))


def test_store_that_is_named_twice_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="named twice"):
        copy_to(dataset, (folder(tmp_path, "a"), ABROAD), (folder(tmp_path, "a"), AWAY))


class TestMoney:
    """Home is a bucket in one cloud; this machine is in another, where the copies go."""

    @pytest.fixture
    def far(self, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> Dataset:
        store = FarFolder(dataset.store)
        monkeypatch.setattr(
            "tradewind.datasets.copies.catalog.place_of",
            lambda one: Place.parse(HOME) if one.url == dataset.store.url else LOCAL,
        )
        monkeypatch.setenv("TRADEWIND_PLACE", f"{ABROAD}/us-east1-b")
        return Dataset(store, dataset.record)  # type: ignore[arg-type]

    def test_stores_of_one_call_are_served_by_one_read(self, far: Dataset, tmp_path: Path) -> None:
        one, two = folder(tmp_path, "one"), folder(tmp_path, "two")
        meter = copy_to(far, (one, ABROAD), (two, ABROAD))
        size = num_bytes(far)
        assert moved(meter) == {(far.store.url, "internet"): size, (one.url, "region"): size, (two.url, "region"): size}

    def test_second_copy_in_a_region_is_read_from_the_first(
        self, far: Dataset, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, two = folder(tmp_path, "one"), folder(tmp_path, "two")
        copy_to(far, (one, ABROAD))
        monkeypatch.setenv("TRADEWIND_CACHE", str(own_cache) + "-of-another-machine")
        monkeypatch.setattr("tradewind.datasets.copies.replicas.FIRST_PATIENCE_S", 0.0)  # no other is asked even so
        monkeypatch.setattr("tradewind.datasets.copies.catalog.open_store", lambda url: FarFolder(open_store(url)))
        meter = copy_to(far, (two, ABROAD))
        size = num_bytes(far)
        assert moved(meter) == {(one.url, "region"): size, (two.url, "region"): size}

    def test_budget_ends_it_before_it_is_passed_and_it_goes_on_with_more(self, far: Dataset, tmp_path: Path) -> None:
        target = folder(tmp_path, "copy")
        size = num_bytes(far)
        price = tariffs_module.tariff(Place.parse(HOME), Place.parse(ABROAD))
        region = tariffs_module.tariff(Place.parse(ABROAD), Place.parse(f"{ABROAD}/us-east1-b"))
        whole = (price.nusd(size) + region.nusd(size)) / 10**9
        budget = EgressBudget(far.store)
        budget.set_limit(whole / 2)
        meter = TransferMeter()
        with pytest.raises(QuotaError, match="of the egress budget of"):
            replicate(far, [(target, Place.parse(ABROAD))], meter=meter)
        account = budget.account()
        assert account is not None
        spent = sum(item.nusd for item in meter.total())
        assert 0 < spent <= account.reserved_nusd <= account.limit_nusd
        assert copies_of(far.store, "tides") == []
        budget.set_limit(whole * 1.1)
        again = copy_to(far, (target, ABROAD))
        assert [copy.versions for copy in copies_of(far.store, "tides")] == [(1,)]
        read = [moved(one).get((far.store.url, "internet"), 0) for one in (meter, again)]
        assert sum(read) == size, "a byte crossed the paid boundary twice"
        account = budget.account()
        assert account is not None
        assert account.reserved_nusd <= account.limit_nusd


class TestRetreat:
    def test_dropped_copy_is_not_read_and_its_objects_stay(self, dataset: Dataset, tmp_path: Path) -> None:
        target = folder(tmp_path, "copy")
        copy_to(dataset, (target, ABROAD))
        assert drop_copy(dataset.store, "tides", target.url).state == "dropped"
        assert copies_of(dataset.store, "tides") == []
        assert Datasets(target).get("tides").verify() == num_bytes(dataset)

    def test_deleted_copy_leaves_what_else_is_there(self, dataset: Dataset, tmp_path: Path) -> None:
        target = folder(tmp_path, "copy")
        target.put("datasets/tides-of-others/data/a", b"kept")
        copy_to(dataset, (target, ABROAD))
        drop_copy(dataset.store, "tides", str(tmp_path / "copy"), delete=True)
        assert [item.key for item in target.list("")] == ["datasets/tides-of-others/data/a"]

    def test_store_that_is_no_copy_is_not_emptied(self, dataset: Dataset) -> None:
        with pytest.raises(SpecError, match="is where tides is at home"):
            drop_copy(dataset.store, "tides", dataset.store.url, delete=True)
        assert dataset.verify() == num_bytes(dataset)
        with pytest.raises(NotFoundError, match="has no copy at"):
            drop_copy(dataset.store, "tides", "s3://nowhere")

    def test_copy_that_has_got_versions_of_its_own_is_not_emptied(self, dataset: Dataset, tmp_path: Path) -> None:
        target = folder(tmp_path, "copy")
        copy_to(dataset, (target, ABROAD))
        Datasets(target).add(dataset_spec(write_text(tmp_path / "texts", seed=1), name="tides"))
        with pytest.raises(SpecError, match="holds another dataset tides"):
            drop_copy(dataset.store, "tides", target.url, delete=True)
        assert Datasets(target).get("tides@2").verify() > 0


@pytest.fixture
def two_clouds(
    dataset: Dataset, moto_s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Workspace, FaultProxy, FaultProxy]]:
    """Copies behind faulty lines, in S3 near this machine and in Google's storage far from it; home is a folder."""
    with (
        start_faults(os.environ["AWS_ENDPOINT_URL"]) as near,
        start_gcs() as gcs,
        start_faults(gcs.endpoint) as far,
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL", near.endpoint)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", far.endpoint)
        monkeypatch.setenv("TRADEWIND_PLACE", f"{HOME}/us-east-1a")
        place = Workspace(str(tmp_path / "home"))
        urls = (f"{moto_s3}/{uuid.uuid4().hex}", "gs://harbour/copy")
        place.datasets.replicate("tides", *urls, places=(HOME, ABROAD))
        yield place, near, far


def is_read(_method: str, path: str) -> bool:
    return _method == "GET" and "/data/" in path


@pytest.mark.slow
def test_two_clouds_serve_what_home_has_lost(
    two_clouds: tuple[Workspace, FaultProxy, FaultProxy], dataset: Dataset, own_cache: Path
) -> None:
    place, near, _ = two_clouds
    for file in files_of(dataset):
        dataset.store.delete(file.key)
    opened = place.datasets.get("tides")
    origin = opened.origin
    assert isinstance(origin, Replicas)
    files = files_of(dataset)
    for fault, file in zip(("truncated", "flipped", "500", "reset"), files, strict=False):
        near.inject(fault, when=is_read)  # type: ignore[arg-type]
        fetch_content(origin, file, what="tides")
    assert near.seen["flipped"] == near.seen["truncated"] == 1
    for file in files:
        path = fetch_content(origin, file, what="tides")
        assert path.stat().st_size == file.num_bytes
    counted = {item.boundary: item.num_bytes for item in origin.meter.total()}
    assert set(counted) <= {"region", "internet"}
    assert sum(counted.values()) >= num_bytes(dataset)
    rows = place.ledger.record_transfers(origin.meter, subject=opened.record.id, machine=place.machine)
    assert {(row.boundary, row.num_bytes) for row in rows} == set(counted.items())
    assert all((row.usd > 0) == (row.boundary == "internet") for row in rows)


@pytest.mark.slow
def test_cloud_that_goes_down_for_good_is_replaced_by_the_other(
    two_clouds: tuple[Workspace, FaultProxy, FaultProxy],
    dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tradewind.datasets.copies.replicas.FIRST_PATIENCE_S", 0.3)
    place, near, _ = two_clouds
    files = files_of(dataset)
    for file in files:
        dataset.store.delete(file.key)
    origin = place.datasets.get("tides").origin
    for number, file in enumerate(files):
        if number == 3:
            near.inject("reset", times=100_000)
        assert fetch_content(origin, file, what="tides").stat().st_size == file.num_bytes
    counted = {item.boundary: item.num_bytes for item in origin.meter.total()}
    assert counted["internet"] >= sum(file.num_bytes for file in files[3:])


@pytest.mark.slow
def test_slow_answer_is_overtaken_by_the_other_cloud_and_counted(
    two_clouds: tuple[Workspace, FaultProxy, FaultProxy], dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradewind.datasets.copies.replicas.FIRST_PATIENCE_S", 0.1)
    place, near, _ = two_clouds
    file = files_of(dataset)[0]
    dataset.store.delete(file.key)
    near.plan = Plan(slow_s=2.0)
    near.inject("slow", when=is_read)
    origin = place.datasets.get("tides").origin
    began = time.monotonic()
    assert fetch_content(origin, file, what="tides").stat().st_size == file.num_bytes
    assert time.monotonic() - began < 1.9
    end = began + 20
    while {item.boundary for item in origin.meter.total()} != {"region", "internet"}:
        assert time.monotonic() < end, "the bytes of the slow answer were not counted"
        time.sleep(0.05)


@pytest.mark.slow
def test_killed_replication_goes_on_and_sends_nothing_twice(dataset: Dataset, moto_s3: str, tmp_path: Path) -> None:
    url = f"{moto_s3}/{uuid.uuid4().hex}"
    with start_faults(os.environ["AWS_ENDPOINT_URL"], Plan(share=1.0, faults=("slow",), slow_s=0.15)) as proxy:
        environment = {**os.environ, "AWS_ENDPOINT_URL": proxy.endpoint, "TRADEWIND_CACHE": str(tmp_path / "cache")}
        words = ["datasets", "replicate", "tides", url, "--place", HOME, "-w", str(tmp_path / "home")]
        command = [sys.executable, "-m", "tradewind", *words]

        def sent() -> list[str]:
            return [path for method, path in proxy.requests if method == "PUT" and "/data/" in path]

        first = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while len(sent()) < 10 and first.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
        time.sleep(0.5)  # what was on its way arrives at the proxy
        before = set(sent())
        assert 10 <= len(before) < len(files_of(dataset))
        assert copies_of(dataset.store, "tides") == []
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "holds tides@1" in done.stdout
    twice = [path for path, count in Counter(sent()).items() if count > 1]
    assert len(twice) <= 8, "more was sent twice than could be on its way"
    assert len(set(sent())) == len({file.sha256 for file in files_of(dataset)})
    assert Datasets(open_store(url)).get("tides").record == dataset.record
