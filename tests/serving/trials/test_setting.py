from __future__ import annotations

from tradewind.engines import ENGINES, engine
from tradewind.engines.engine import PROFILES
from tradewind.serving.trials.setting import Setting
from tradewind.specs import ServeSpec

KNOBS = {"profile": PROFILES, "prompt_tokens": (64, 512)}
SPEC = ServeSpec.of(name="chat", model="pilot", engine_settings={"prompt_tokens": 512, "cache_tokens": 9})


def test_spec_as_a_setting_changes_nothing() -> None:
    own = Setting.of(SPEC, KNOBS)
    assert own == Setting(8, (("profile", "balanced"), ("prompt_tokens", 512)))
    assert own.changes(SPEC) == {}
    assert own.on(SPEC) == SPEC


def test_setting_changes_what_differs_and_keeps_the_rest() -> None:
    changed = Setting.of(SPEC, KNOBS).with_slots(3).with_knob("profile", "latency").with_knob("prompt_tokens", 64)
    assert changed.changes(SPEC) == {
        "max_concurrency": 3, "profile": "latency", "engine_settings": {"prompt_tokens": 64},
    }  # fmt: skip
    made = changed.on(SPEC)
    assert made == SPEC.with_values(
        max_concurrency=3, profile="latency", engine_settings={"prompt_tokens": 64, "cache_tokens": 9}
    )


def test_knob_that_a_spec_does_not_give_is_no_part_of_its_setting() -> None:
    plain = ServeSpec.of(name="chat", model="pilot")
    assert Setting.of(plain, KNOBS).knobs == (("profile", "balanced"),)


def test_every_engine_says_what_may_be_searched() -> None:
    for name in ENGINES:
        for values in (engine(name).searched or {}).values():
            assert len(set(values)) == len(values) > 0
