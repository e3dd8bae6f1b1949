from __future__ import annotations

import pytest

from tradewind.errors import SpecError
from tradewind.serving.front.board import LOST_AFTER_S, Board, Seat
from tradewind.serving.report import ReplicaReport, ReplicaStatus


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Board:
    return Board(clock=clock)


def report(
    name: str,
    status: ReplicaStatus = "ready",
    *,
    capacity: float = 1000,
    tokens: int = 0,
    running: int = 0,
    out: int = 0,
) -> ReplicaReport:
    return ReplicaReport(
        name, f"http://10.0.0.1:{8000 + len(name)}", status, capacity, running, 0, tokens, tokens_out=out
    )


def chosen(board: Board) -> Seat:
    seat = board.choose()
    assert seat is not None
    return seat


def test_nobody_is_chosen_from_an_empty_board(board: Board) -> None:
    assert board.choose() is None


@pytest.mark.parametrize("status", ["starting", "draining"])
def test_only_the_ready_are_chosen(board: Board, status: ReplicaStatus) -> None:
    board.report(report("a", status))
    assert board.choose() is None
    assert board.signals(queued=0).replicas[0].status == status


def test_least_tokens_for_its_capacity_is_chosen(board: Board) -> None:
    board.report(report("small", capacity=1000, tokens=300, running=1))
    board.report(report("large", capacity=4000, tokens=900, running=3))
    assert chosen(board).report.replica == "large"


def test_requests_since_the_report_count_and_so_does_their_end(board: Board) -> None:
    board.report(report("a"))
    board.report(report("b"))
    first = chosen(board)
    first.open += 1
    second = chosen(board)
    assert second is not first
    second.open += 1
    first.open -= 1
    assert chosen(board) is first


def test_replica_that_had_no_request_yet_is_not_thought_busier_than_one_with_short_ones(board: Board) -> None:
    board.report(report("busy", tokens=40, running=5))
    board.report(report("new"))
    assert chosen(board).report.replica == "new"


def test_equals_take_turns(board: Board) -> None:
    for name in "abc":
        board.report(report(name))
    assert {chosen(board).report.replica for _ in range(3)} == {"a", "b", "c"}


def test_of_many_the_better_of_two_is_chosen(board: Board) -> None:
    for number in range(20):
        board.report(report(f"replica-{number}", tokens=100 * number, running=1))
    picks = [chosen(board).report.tokens_in_flight for _ in range(2000)]
    assert sum(picks) / len(picks) == pytest.approx(100 * 19 / 3, rel=0.1)  # the smaller of two of 0..19


def test_one_to_avoid_is_chosen_only_where_it_is_alone(board: Board) -> None:
    board.report(report("a"))
    only = chosen(board)
    assert board.choose(avoid=only) is only
    board.report(report("b", tokens=900, running=1))
    other = board.choose(avoid=only)
    assert other is not None
    assert other.report.replica == "b"


def test_silence_of_three_seconds_takes_out(board: Board, clock: Clock) -> None:
    board.report(report("a"))
    clock.now_s += 2.9
    assert board.choose() is not None
    clock.now_s += 0.2
    assert board.choose() is None
    assert board.ready() == []
    assert board.signals(queued=0).replicas == ()
    board.report(report("a"))
    assert board.choose() is not None


def test_long_silence_takes_off_the_board(board: Board, clock: Clock) -> None:
    board.report(report("a"))
    clock.now_s += 19
    assert board.expire() == []
    clock.now_s += 2
    assert [seat.report.replica for seat in board.expire()] == ["a"]
    assert board.seats == {}


def test_refusal_counts_until_the_next_report(board: Board) -> None:
    board.report(report("a"))
    board.take_out(chosen(board))
    assert board.choose() is None
    board.report(report("a"))
    assert board.choose() is not None


def test_who_leaves_is_gone(board: Board) -> None:
    board.report(report("a"))
    board.leave("a")
    board.leave("never-there")
    assert board.choose() is None


def test_rates_are_of_the_last_seconds(board: Board, clock: Clock) -> None:
    for second in range(11):
        board.arrivals.total += 7
        board.report(report("a", out=100 * second))
        board.expire()
        clock.now_s += 1
    signals = board.signals(queued=4)
    assert signals.queued == 4
    assert signals.arrivals_per_s == pytest.approx(7, rel=0.2)
    assert signals.tokens_per_s == pytest.approx(100, rel=0.2)


@pytest.mark.parametrize("url", ["https://a:1", "a:1", "", "http://"])
def test_report_needs_an_address(board: Board, url: str) -> None:
    with pytest.raises(SpecError, match="replica 'a'"):
        board.report(ReplicaReport("a", url, "ready", 1.0))
    assert board.seats == {}


def test_report_needs_a_capacity(board: Board) -> None:
    with pytest.raises(SpecError, match="capacity"):
        board.report(report("a", capacity=0))
    assert board.seats == {}


def test_replicas_beyond_those_wanted_are_spare_until_they_are_wanted_or_another_is_gone(board: Board) -> None:
    for name in ("a", "bb", "ccc"):
        board.report(report(name))
    board.want(2)
    assert [seat.report.replica for seat in board.spares] == ["ccc"]
    assert {chosen(board).report.replica for _ in range(6)} == {"a", "bb"}
    assert [one.replica for one in board.signals(queued=0).replicas] == ["a", "bb"]
    board.take_out(board.seats["a"])
    assert {chosen(board).report.replica for _ in range(6)} == {"bb", "ccc"}
    board.report(report("a"))
    board.want(3)
    assert board.spares == []
    assert len(board.ready()) == 3


def test_a_spare_that_has_requests_from_before_is_seen_until_they_end(board: Board) -> None:
    for name in ("a", "bb"):
        board.report(report(name))
    board.seats["bb"].open = 1
    board.want(1)
    assert len(board.signals(queued=0).replicas) == 2
    board.seats["bb"].open = 0
    assert [one.replica for one in board.signals(queued=0).replicas] == ["a"]


def test_a_spare_takes_what_the_others_are_too_full_for(board: Board) -> None:
    board.report(report("a", capacity=1000, tokens=900, running=3))
    board.report(report("bb", capacity=1000))
    board.want(1)
    assert chosen(board).report.replica == "bb"
    board.report(report("a", capacity=1000, tokens=300, running=1))
    assert chosen(board).report.replica == "a"


def test_where_none_is_wanted_the_next_request_finds_one_all_the_same(board: Board) -> None:
    board.report(report("a"))
    board.want(0)
    assert chosen(board).report.replica == "a"


def test_word_that_was_overtaken_does_not_bring_a_draining_replica_back(board: Board) -> None:
    board.report(report("a", "draining"))
    board.report(report("a"))
    assert board.choose() is None


def test_word_that_was_overtaken_does_not_bring_back_who_has_left(board: Board, clock: Clock) -> None:
    board.leave("a")
    board.report(report("a"))
    assert not board.seats
    clock.now_s += LOST_AFTER_S + 1
    board.expire()
    board.report(report("a"))
    assert chosen(board).report.replica == "a"


@pytest.mark.parametrize("status", ["ready", "draining"])
def test_replica_leaves_when_it_drains_or_refuses(board: Board, status: ReplicaStatus) -> None:
    board.report(report("a", status))
    seat = board.seats["a"]
    assert seat.is_leaving == (status == "draining")
    board.take_out(seat)
    assert seat.is_leaving
