"""Notices of Compute Engine: the preemption of a spot VM 30 s ahead, and maintenance of the host.

https://cloud.google.com/compute/docs/instances/create-use-preemptible#detecting_if_an_instance_was_preempted
https://cloud.google.com/compute/docs/metadata/getting-live-migration-notice
The first question waits for a change (`wait_for_change`), so a preemption is heard of at once. Neither answer says
when: the deadlines are the warnings that the documents promise, from when the answer came.
"""

from __future__ import annotations

import time
from urllib.parse import urlencode

from tradewind.clusters.notices import Kind, Notice
from tradewind.clusters.sentinel.metadata import LINK_LOCAL, TIMEOUT_S, Answer, ask, expect

HEADERS = {"Metadata-Flavor": "Google"}
INSTANCE = "/computeMetadata/v1/instance"
WAIT_S = 5
"""For a change, before maintenance is asked for again."""
PREEMPTION_S = 30.0
TERMINATION_S = 3600.0
"""Of VMs with GPUs, which no maintenance can move:
https://cloud.google.com/compute/docs/gpus/gpu-host-maintenance."""
FIRST_ETAG = "NONE"
"""What no answer has, so that the first question is answered at once."""


class GcpNotices:
    pause_s = 0.0

    def __init__(self, metadata: str = LINK_LOCAL) -> None:
        self._metadata = metadata
        self._etag = FIRST_ETAG

    def poll(self) -> Notice | None:
        if self._preempted():
            return _notice("preemption", "Compute Engine preempts this VM", "preempted", PREEMPTION_S)
        event = self._ask("/maintenance-event").text.strip()
        if event == "TERMINATE_ON_HOST_MAINTENANCE":
            return _notice(
                "maintenance", "Compute Engine ends this VM for maintenance of its host", event, TERMINATION_S
            )
        if event == "MIGRATE_ON_HOST_MAINTENANCE":
            return _notice("maintenance", "Compute Engine moves this VM to another host while it runs", event, None)
        return None

    def acknowledge(self, notice: Notice) -> None:
        """Compute Engine wants no answer."""

    def _preempted(self) -> bool:
        query = urlencode({"wait_for_change": "true", "timeout_sec": WAIT_S, "last_etag": self._etag})
        try:
            answer = self._ask(f"/preempted?{query}", timeout_s=WAIT_S + TIMEOUT_S)
        except OSError:
            self._etag = FIRST_ETAG
            raise
        self._etag = answer.etag or FIRST_ETAG
        return answer.text.strip() == "TRUE"

    def _ask(self, key: str, timeout_s: float = TIMEOUT_S) -> Answer:
        return expect(ask(self._metadata, INSTANCE + key, headers=HEADERS, timeout_s=timeout_s), 200)


def _notice(kind: Kind, reason: str, event: str, warning_s: float | None) -> Notice:
    return Notice(
        reason=reason,
        deadline_unix_s=None if warning_s is None else time.time() + warning_s,
        kind=kind,
        source="gcp",
        event=f"gcp/{event}",
    )
