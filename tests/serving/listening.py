"""Who listens at an address of this machine."""

from __future__ import annotations

import psutil


def process_at(url: str) -> psutil.Process:
    """The process of this machine that listens there."""
    port = int(url.rpartition(":")[2])
    (pid,) = {
        one.pid
        for one in psutil.net_connections("tcp")
        if one.status == "LISTEN" and one.laddr and one.laddr.port == port
    }
    return psutil.Process(pid)
