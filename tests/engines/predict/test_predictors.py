from __future__ import annotations

from pathlib import Path

import pytest

from tradewind.engines.predict.predictors import load_predictor
from tradewind.errors import SpecError


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("toys", "predictor is 'toys'"),
        (":Scale", "predictor is ':Scale'"),
        ("tests.nowhere:Scale", "cannot be loaded: No module named"),
        ("tests.engines.predict.toys:Scales", "cannot be loaded: .*'Scales'"),
    ],
)
def test_name_of_no_class_is_refused(name: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=complaint):
        load_predictor(name, tmp_path)


def test_class_is_given_the_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"factor": 2}')
    assert load_predictor("tests.engines.predict.toys:Scale", tmp_path).predict([1.0, 2.0]).tolist() == [2, 4]  # type: ignore[attr-defined]
