import gc
from importlib import import_module

import pytest

from tradewind.imports import uncollected


@pytest.fixture(autouse=True)
def _thawed() -> object:
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_collected_inside_and_collection_goes_on_after() -> None:
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_was_imported_is_walked_over_no_more() -> None:
    with uncollected():
        made: list[list[int]] = [[] for _ in range(1000)]
    assert gc.get_freeze_count() >= len(made)
    assert not any(made is one for one in gc.get_objects())


def test_collection_goes_on_after_an_import_that_fails() -> None:
    with pytest.raises(ModuleNotFoundError), uncollected():
        import_module("tradewind.no_such_module")
    assert gc.isenabled()


def test_who_collects_nothing_is_left_so() -> None:
    gc.disable()
    with uncollected():
        pass
    assert not gc.isenabled()
    assert gc.get_freeze_count() == 0
