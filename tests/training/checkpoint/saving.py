"""A checkpoint written while everybody waits."""

from __future__ import annotations

import math
from typing import Any

from tradewind.records import StoredFile
from tradewind.storage import Store
from tradewind.training.checkpoint.group import Group
from tradewind.training.checkpoint.image import Image
from tradewind.training.checkpoint.piece import Frames
from tradewind.training.checkpoint.plan import Planning
from tradewind.training.checkpoint.reading import agreed
from tradewind.training.checkpoint.writing import AT_ONCE_IN_HASTE, write_files, write_metadata


def save_parts(store: Store, prefix: str, state: dict[str, Any]) -> tuple[StoredFile, ...]:
    """Write the parts of all ranks below a prefix; every rank gets the list of all files. A collective.

    There is no checkpoint before somebody has written a record that names them.
    """
    group, frames, written = Group.default(), Frames(), list[StoredFile]()
    plan, flat = Planning(group, frames).plan(state)

    def write() -> None:
        image = Image(plan, flat, frames)
        image.take(flat)
        written.extend(write_files(store, prefix, plan, image, until=math.inf, at_once=AT_ONCE_IN_HASTE))
        image.close()
        if plan.metadata is not None:
            written.append(write_metadata(store, prefix, plan.metadata))

    agreed(group, write)
    parts = group.gather(written)
    return group.share(tuple(file for part in parts for file in part) if parts else None)
