from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import signal
import threading
import uuid
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.catalog.transfer import NUSD
from tradewind.datasets.copies import budget as budget_module
from tradewind.datasets.copies.budget import EgressBudget
from tradewind.errors import ConflictError, QuotaError, SpecError, StorageError
from tradewind.storage import Store, open_store

CENT = NUSD // 100


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def limited(store: Store, usd: float) -> EgressBudget:
    budget = EgressBudget(store)
    budget.set_limit(usd)
    return budget


def reserved(budget: EgressBudget) -> int:
    account = budget.account()
    assert account is not None
    return account.reserved_nusd


def spend_all(budget: EgressBudget, nusd: int) -> int:
    """How many requests of a price the budget allows."""
    count = 0
    try:
        while True:
            budget.hold(nusd, what="a read").settle(nusd)
            count += 1
    except QuotaError:
        return count


def test_without_a_limit_everything_is_allowed_and_nothing_is_written(store: Store) -> None:
    budget = EgressBudget(store)
    budget.hold(10**18, what="a read").settle(10**18)
    budget.close()
    assert budget.account() is None
    assert list(store.list("")) == []


def test_every_cent_up_to_the_limit_can_be_spent_and_none_beyond(store: Store) -> None:
    budget = limited(store, 1.0)
    assert spend_all(budget, CENT) == 100
    assert reserved(budget) == NUSD


def test_request_that_costs_nothing_is_always_allowed(store: Store) -> None:
    budget = limited(store, 0.0)
    budget.hold(0, what="a read").settle(0)
    with pytest.raises(QuotaError):
        budget.hold(1, what="a read")


def test_what_is_refused_says_what_was_spent_what_it_costs_and_what_to_do(store: Store) -> None:
    budget = limited(store, 20.0)
    budget.hold(15 * NUSD, what="a read")
    with pytest.raises(QuotaError) as caught:
        budget.hold(7 * NUSD, what="reading dataset tides@1 from s3://far")
    assert caught.value.remedy == "fix"
    message = caught.value.message
    assert message.startswith("reading dataset tides@1 from s3://far would cost $7.00, and $15.")
    assert "of the egress budget of $20.00 is spent or set aside" in message
    assert "tw datasets budget 30" in (caught.value.hint or "")


def test_raised_limit_is_seen_at_once(store: Store) -> None:
    budget = limited(store, 0.01)
    assert spend_all(budget, CENT) == 1
    budget.set_limit(0.03)
    assert spend_all(budget, CENT) == 2


def test_lower_limit_ends_what_is_not_taken_yet(store: Store) -> None:
    budget = limited(store, 10.0)
    budget.hold(NUSD, what="a read")
    budget.set_limit(0.5)
    with pytest.raises(QuotaError):
        budget.hold(NUSD, what="a read")


def test_same_limit_again_writes_nothing(store: Store) -> None:
    budget = limited(store, 2.0)
    budget.set_limit(2.0)
    assert len(list(store.list("ledger/egress"))) == 1


@pytest.mark.parametrize("usd", [-1.0, float("nan"), float("inf")])
def test_limit_that_is_no_amount_is_refused(store: Store, usd: float) -> None:
    with pytest.raises(SpecError, match="is not a budget"):
        EgressBudget(store).set_limit(usd)


def test_what_was_not_used_can_be_spent_by_others(store: Store) -> None:
    budget = limited(store, 1.0)
    hold = budget.hold(NUSD, what="a read")
    with pytest.raises(QuotaError):
        budget.hold(CENT, what="a read")
    hold.settle(NUSD // 4)
    hold.settle(0)
    assert spend_all(budget, CENT) == 75


def test_request_that_brought_more_than_it_paid_for_is_paid_by_the_next(store: Store) -> None:
    budget = limited(store, 1.0)
    budget.hold(CENT, what="a read").settle(3 * CENT)
    assert spend_all(budget, CENT) == 97


def test_closing_gives_back_what_is_left(store: Store) -> None:
    budget = limited(store, 64.0)
    budget.hold(CENT, what="a read").settle(CENT)
    assert reserved(budget) == 8 * CENT
    budget.close()
    budget.close()
    assert reserved(budget) == CENT


def test_request_under_way_keeps_its_price_when_the_budget_is_closed(store: Store) -> None:
    budget = limited(store, 64.0)
    hold = budget.hold(2 * CENT, what="a read")
    budget.close()
    assert reserved(budget) == 2 * CENT
    hold.settle(CENT)
    budget.close()
    assert reserved(budget) == CENT


def test_many_requests_are_few_records_and_few_requests_take_little(store: Store) -> None:
    budget = limited(store, 64.0)
    budget.hold(NUSD // 1000, what="a read").settle(NUSD // 1000)
    assert reserved(budget) == 8 * NUSD // 1000
    for _ in range(999):
        budget.hold(NUSD // 1000, what="a read").settle(NUSD // 1000)
    assert len(list(store.list("ledger/egress"))) <= 9


def test_limit_that_comes_later_is_noticed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_module, "LOOK_AGAIN_S", 0.0)
    budget = EgressBudget(store)
    budget.hold(NUSD, what="a read")
    budget.set_limit(0.0)
    with pytest.raises(QuotaError):
        budget.hold(NUSD, what="a read")


def test_account_that_cannot_be_reached_stops_nobody_who_saw_no_limit_and_all_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget_module, "LOOK_AGAIN_S", 0.0)
    free, other = EgressBudget(store), limited(open_store(f"{store.url}-other"), 1.0)
    free.hold(NUSD, what="a read")

    def down(*_: object, **__: object) -> None:
        raise StorageError("down")

    monkeypatch.setattr(type(store), "list", down)
    free.hold(NUSD, what="a read")
    with pytest.raises(StorageError, match="down"):
        other.hold(CENT, what="a read")


def test_pickled_budget_is_the_same_account(store: Store) -> None:
    copy = pickle.loads(pickle.dumps(limited(store, 1.0)))
    assert spend_all(copy, 10 * CENT) == 10


def test_foreign_object_beside_the_account_stops_nobody(store: Store) -> None:
    budget = limited(store, 1.0)
    for name in ("README.txt", "000000000009.json.bak", "inner/000000000009.json"):
        store.put(f"ledger/egress/{name}", b"what is this folder?")
    assert spend_all(budget, 10 * CENT) == 10


def test_writer_that_always_loses_gives_up_and_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = limited(store, 1.0)
    monkeypatch.setattr("tradewind.storage.log.ATTEMPTS", 3)
    monkeypatch.setattr("tradewind.storage.log.LONGEST_PAUSE_S", 0.0)
    create = type(store).create

    def always_late(self: Store, key: str, data: bytes) -> None:
        create(self, key, data.replace(b'"writer": "', b'"writer": "faster-'))
        create(self, key, data)

    monkeypatch.setattr(type(store), "create", always_late)
    with pytest.raises(ConflictError, match="3 other writers were faster"):
        budget.hold(CENT, what="a read")


@settings(max_examples=40)
@given(
    limit=st.integers(0, 50),
    steps=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20), st.booleans()), max_size=40),
)
def test_sum_of_what_is_spent_never_passes_the_limit(limit: int, steps: list[tuple[int, int, bool]]) -> None:
    budget = limited(open_store(f"memory://{uuid.uuid4().hex}"), limit / 100)
    spent = 0
    for price, used, closes in steps:
        try:
            hold = budget.hold(price * CENT, what="a read")
        except QuotaError:
            room = limit * CENT - spent
            assert price * CENT > room
            continue
        hold.settle(min(price, used) * CENT)
        spent += min(price, used) * CENT
        assert spent <= limit * CENT
        assert reserved(budget) <= limit * CENT
        if closes:
            budget.close()
            assert reserved(budget) == spent


def test_threads_share_one_budget(store: Store) -> None:
    budget = limited(store, 1.0)
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(spend_all(budget, CENT))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 100


def spend_at_random(url: str, seed: int, diary: str, dies: bool) -> None:
    """A process that reads until it may not, writes what each read cost before it is sent, and may be killed."""
    draw = random.Random(seed)
    budget = EgressBudget(open_store(url))
    with open(diary, "a") as file:
        for number in range(200):
            price = draw.choice((1, 3, 10)) * CENT // 10
            try:
                hold = budget.hold(price, what="a read")
            except QuotaError:
                break
            used = draw.choice((price, price, price // 2))
            file.write(f"{used}\n")
            file.flush()
            hold.settle(used)
            if dies and number == 20:
                os.kill(os.getpid(), signal.SIGKILL)
    budget.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["file", "s3"])
def test_racing_processes_never_pass_the_limit_even_when_some_are_killed(
    scheme: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = str(tmp_path / "w") if scheme == "file" else f"{request.getfixturevalue('moto_s3')}/{uuid.uuid4().hex}"
    budget = limited(open_store(url), 1.0)
    context = multiprocessing.get_context("spawn")
    diaries = [tmp_path / f"diary-{number}" for number in range(6)]
    workers = [
        context.Process(target=spend_at_random, args=(url, number, str(diary), number % 3 == 0))
        for number, diary in enumerate(diaries)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    spent = sum(int(line) for diary in diaries for line in diary.read_text().split())
    codes = {worker.exitcode for worker in workers}
    assert codes <= {0, -signal.SIGKILL}
    assert 0 < spent <= reserved(budget) <= NUSD
    if codes == {0}:
        assert reserved(budget) == spent
    # Whatever the killed ones had taken and not spent stays taken.
    spend_all(budget, CENT // 10)
    budget.close()
    assert spent <= reserved(budget) <= NUSD


def hold_and_die(url: str) -> None:
    EgressBudget(open_store(url)).hold(CENT, what="a read")
    os.kill(os.getpid(), signal.SIGKILL)


def hold_and_leave(url: str) -> None:
    EgressBudget(open_store(url)).hold(CENT, what="a read").settle(CENT)


def test_what_a_killed_process_had_taken_counts_as_spent(store: Store) -> None:
    budget = limited(store, 64.0)
    worker = multiprocessing.get_context("spawn").Process(target=hold_and_die, args=(store.url,))
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
    assert reserved(budget) == 8 * CENT


def test_process_that_ends_gives_back_what_is_left(store: Store) -> None:
    budget = limited(store, 64.0)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(hold_and_leave, store.url).result()
    assert reserved(budget) in (CENT, 8 * CENT)


def test_program_that_ends_gives_back_what_is_left(store: Store) -> None:
    import subprocess
    import sys

    budget = limited(store, 64.0)
    code = f"""
from tradewind.datasets.copies.budget import EgressBudget
from tradewind.storage import open_store
EgressBudget(open_store({store.url!r})).hold({CENT}, what="a read").settle({CENT})
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert reserved(budget) == CENT
