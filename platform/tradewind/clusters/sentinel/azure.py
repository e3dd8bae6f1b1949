"""Notices of Azure: the scheduled events of this VM, among them the eviction of a spot VM at least 30 s ahead.

https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events
Azure switches the service on for a VM at the first question, which may take up to two minutes to be answered. An event
that a VM acknowledges starts at once, so that is done last.
"""

from __future__ import annotations

import json
import time
from typing import Any

from tradewind.clusters.notices import Notice
from tradewind.clusters.sentinel.deadline import deadline_unix_s, parse_time
from tradewind.clusters.sentinel.metadata import LINK_LOCAL, ask, expect

HEADERS = {"Metadata": "true"}
EVENTS = "/metadata/scheduledevents?api-version=2020-07-01"
NAME = "/metadata/instance/compute/name?api-version=2021-02-01&format=text"
WARNINGS_S = {"Preempt": 30.0, "Terminate": 900.0, "Reboot": 900.0, "Redeploy": 900.0}
"""The longest warning of each kind of event that ends what runs here. A `Freeze` stands still for some seconds."""


class AzureNotices:
    pause_s = 1.0

    def __init__(self, metadata: str = LINK_LOCAL) -> None:
        self._metadata = metadata
        self._name = ""

    def poll(self) -> Notice | None:
        self._name = self._name or expect(ask(self._metadata, NAME, headers=HEADERS), 200).text.strip()
        answer = expect(ask(self._metadata, EVENTS, headers=HEADERS), 200)
        events = [event for event in json.loads(answer.text)["Events"] if self._name in event["Resources"]]
        notices = [_notice(event) for event in events]
        return min(notices, key=lambda notice: notice.deadline_unix_s or float("inf"), default=None)

    def acknowledge(self, notice: Notice) -> None:
        body = json.dumps({"StartRequests": [{"EventId": notice.event.removeprefix("azure/")}]})
        headers = {**HEADERS, "Content-Type": "application/json"}
        expect(ask(self._metadata, EVENTS, method="POST", headers=headers, body=body), 200)


def _notice(event: dict[str, Any]) -> Notice:
    kind = event["EventType"]
    return Notice(
        reason=f"Azure: {kind}{': ' + event['Description'] if event.get('Description') else ''}",
        deadline_unix_s=_deadline(event) if kind in WARNINGS_S else None,
        kind="preemption" if kind == "Preempt" else "maintenance",
        source="azure",
        event=f"azure/{event['EventId']}",
    )


def _deadline(event: dict[str, Any]) -> float:
    """An event that has started states no time."""
    if not event.get("NotBefore"):
        return time.time()
    return deadline_unix_s(parse_time(event["NotBefore"]), warning_s=WARNINGS_S[event["EventType"]])
