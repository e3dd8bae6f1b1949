"""Notices of EC2: the interruption of a spot instance two minutes ahead, and the recommendation to leave before that.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/rebalance-recommendations.html
Questions carry a session token (IMDSv2), which old and new instances take alike. In a container the instance's hop
limit must be 2 or more, or the token never arrives.
"""

from __future__ import annotations

import json

from tradewind.clusters.notices import Notice
from tradewind.clusters.sentinel.deadline import deadline_unix_s, parse_time
from tradewind.clusters.sentinel.metadata import LINK_LOCAL, Answer, ask, expect

TOKEN_LIFE_S = 21600
"""The longest that EC2 grants."""
WARNING_S = 120.0
ACTION = "/latest/meta-data/spot/instance-action"
REBALANCE = "/latest/meta-data/events/recommendations/rebalance"


class AwsNotices:
    pause_s = 1.0

    def __init__(self, metadata: str = LINK_LOCAL) -> None:
        self._metadata = metadata
        self._token = ""

    def poll(self) -> Notice | None:
        action = self._get(ACTION)
        if action.status == 200:
            return _interruption(action)
        rebalance = self._get(REBALANCE)
        return _rebalance(rebalance) if rebalance.status == 200 else None

    def acknowledge(self, notice: Notice) -> None:
        """EC2 wants no answer."""

    def _get(self, path: str) -> Answer:
        answer = self._ask(path)
        if answer.status == 401:  # no token yet, or one that has run out
            self._token = self._new_token()
            answer = self._ask(path)
        return expect(answer, 200, 404)

    def _ask(self, path: str) -> Answer:
        return ask(self._metadata, path, headers={"X-aws-ec2-metadata-token": self._token} if self._token else {})

    def _new_token(self) -> str:
        headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_LIFE_S)}
        return expect(ask(self._metadata, "/latest/api/token", method="PUT", headers=headers), 200).text


def _interruption(answer: Answer) -> Notice:
    said = json.loads(answer.text)
    return Notice(
        reason=f"EC2 will {said['action']} this spot instance",
        deadline_unix_s=deadline_unix_s(parse_time(said["time"]), warning_s=WARNING_S),
        kind="preemption",
        source="aws",
        event=f"aws/{said['action']}/{said['time']}",
    )


def _rebalance(answer: Answer) -> Notice:
    since = json.loads(answer.text)["noticeTime"]
    return Notice(
        reason="EC2 recommends to leave this spot instance, which is likelier to be interrupted than others",
        deadline_unix_s=None,
        kind="rebalance",
        source="aws",
        event=f"aws/rebalance/{since}",
    )
