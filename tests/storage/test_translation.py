"""Errors of obstore as ours, whatever else the process does."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def test_errors_are_known_to_threads_that_meet_while_obstore_is_imported() -> None:
    """obstore.exceptions is made by its binary, and also a folder of type hints, which an import by that name finds.

    Here one thread imports obstore, and another asks for its errors in the middle of that.
    """
    program = """
        import sys, threading
        from tradewind.storage.translation import is_unsupported

        halfway, loaded, over = threading.Event(), threading.Event(), threading.Event()

        class Pause:
            def find_spec(self, name, path=None, target=None):
                if name == "obstore._obstore":
                    halfway.set()
                    loaded.wait(1)

        def trace(frame, event, _):
            if event == "return" and frame.f_code.co_name == "_load_unlocked":
                if frame.f_locals["spec"].name == "obstore.exceptions":
                    loaded.set()
                    over.wait(5)
            return trace

        def first():
            import obstore
            over.set()

        def second():
            halfway.wait()
            sys.settrace(trace)
            is_unsupported(OSError())

        sys.meta_path.insert(0, Pause())
        threads = [threading.Thread(target=work) for work in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        is_unsupported(OSError())
        import obstore
        print(obstore.exceptions.PermissionDeniedError.__name__)
    """
    told = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60)
    assert (told.stdout, told.stderr) == ("PermissionDeniedError\n", "")
