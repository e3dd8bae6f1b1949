"""What hardware was seen to do, kept in the workspace: one object for each measurement, never changed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tradewind.records import Measurement
from tradewind.storage import Store

FOLDER = "measurements"
READ_AT_ONCE = 16


def measurements(store: Store) -> list[Measurement]:
    """All of a workspace, oldest first. Raises IntegrityError for a damaged one."""
    keys = [item.key for item in store.list(FOLDER) if item.key.endswith(".json")]
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        found = pool.map(lambda key: Measurement.from_json(store.get(key), where=f"{store.url}/{key}"), keys)
        return sorted(found, key=lambda one: one.created_at)


def keep(store: Store, measurement: Measurement) -> None:
    """Write a measurement down; the same one again changes nothing."""
    store.put(f"{FOLDER}/{measurement.measurement_id}.json", measurement.to_json())
