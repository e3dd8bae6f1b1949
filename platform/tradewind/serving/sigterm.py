"""SIGTERM heard in a worker of Ray.

Python runs a signal's handler in the main thread alone, between two of its instructions, and the main thread of a
worker stays in Ray's own loop: the handler that Ray 2.60 installs there never runs. `faulthandler` does its work at
once, in C, and can be asked from any thread. It writes a traceback to a file, and our file is a pipe. Linux gives a
process's signal to the main thread where that does not block it (kernel/signal.c, `complete_signal`), so there is
always a traceback to write.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from collections.abc import Callable


def on_sigterm(callback: Callable[[], None]) -> None:
    """Call `callback` once, in a thread of its own, when SIGTERM comes to this process; nothing else happens then.

    Processes that are forked from this one hear SIGTERM as they would have before.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    faulthandler.register(signal.SIGTERM, file=writer, all_threads=False, chain=False)
    os.register_at_fork(after_in_child=lambda: faulthandler.unregister(signal.SIGTERM))
    threading.Thread(target=_wait, args=(reader, callback), name="tradewind-sigterm", daemon=True).start()


def _wait(reader: int, callback: Callable[[], None]) -> None:
    os.read(reader, 1)
    callback()
