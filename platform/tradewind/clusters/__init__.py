"""Where work runs: this machine and the Ray on it."""

from tradewind.clusters.local import RaySession, connect, is_local
from tradewind.clusters.machine import memory_free, this_machine
from tradewind.clusters.process import is_gone, is_here, stop, this_process

__all__ = [
    "RaySession",
    "connect",
    "is_gone",
    "is_here",
    "is_local",
    "memory_free",
    "stop",
    "this_machine",
    "this_process",
]
