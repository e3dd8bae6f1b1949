"""Autoscaling policies: one file and one line of this table each."""

from __future__ import annotations

from typing import Any

from tradewind.errors import SpecError
from tradewind.plugins import Table
from tradewind.serving.autoscaling.limits import Limits
from tradewind.serving.autoscaling.signals import Policy

POLICIES = Table(
    "autoscaling policy",
    {
        "tokens": "tradewind.serving.autoscaling.policies.tokens:Tokens",
        "classic": "tradewind.serving.autoscaling.policies.classic:Classic",
        "serve_default": "tradewind.serving.autoscaling.policies.serve_default:ServeDefault",
    },
    group="autoscaling_policies",
)


def policy(name: str, limits: Limits, **settings: Any) -> Policy:
    """A new policy that has seen nothing. Raises NotFoundError with the nearest name, SpecError for a wrong setting."""
    kind = POLICIES[name]
    try:
        made: Policy = kind(limits, **settings)
    except TypeError as exc:
        raise SpecError(f"autoscaling policy {name!r}: {exc}") from exc
    return made


__all__ = ["POLICIES", "policy"]
