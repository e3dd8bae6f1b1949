"""The front of an endpoint: what users talk to, and what knows its replicas."""

from tradewind.serving.front.board import Board, BoardSignals, Seat
from tradewind.serving.front.deployment import Front
from tradewind.serving.front.relay import Relay
from tradewind.serving.front.settings import FrontSettings

__all__ = ["Board", "BoardSignals", "Front", "FrontSettings", "Relay", "Seat"]
