"""Where each cloud takes user data, in the node configurations that Ray's own providers read."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tradewind.errors import SpecError


def with_user_data(kind: str, node_config: Mapping[str, Any], text: str) -> dict[str, Any]:
    """A node configuration of a backend of that type, for one machine alone.

    EC2 takes it as `UserData`, Compute Engine as the metadata `user-data`, which images with cloud-init read (Ubuntu's
    do). Raises SpecError where there is user data already, and for Azure, whose machines Ray 2.60 makes from a template
    without any.
    """
    config = copy.deepcopy(dict(node_config))
    if kind == "aws":
        _refuse_second(config.get("UserData"))
        config["UserData"] = text
    elif kind == "gcp":
        items = config.setdefault("metadata", {}).setdefault("items", [])
        _refuse_second([item for item in items if item["key"] == "user-data"])
        items.append({"key": "user-data", "value": text})
    else:
        raise SpecError(
            f"machines of a backend of type {kind!r} take no user data",
            hint="bring their tunnel up when they are set up",
        )
    return config


def _refuse_second(found: Any) -> None:
    if found:
        raise SpecError(
            "this node configuration has user data already", hint="the overlay needs it; use setup commands"
        )
