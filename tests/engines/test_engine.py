from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tradewind.engines import EngineSettings
from tradewind.errors import SpecError


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"max_concurrency": 0}, "max_concurrency is 0"),
        ({"tensor": -1}, "tensor is -1"),
        ({"profile": "latent"}, "did you mean 'latency'"),
        ({"precision": "float16"}, "precision is 'float16'"),
        ({"names": ()}, "no name"),
        ({"adapters": {"model": Path()}}, "names the model and an adapter"),
    ],
)
def test_settings_that_no_engine_has_are_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(SpecError, match=why) as caught:
        EngineSettings(**change)
    assert caught.value.hint
