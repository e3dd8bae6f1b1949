import subprocess
import sys

from tradewind.serving import PRELOAD


def test_preloaded_is_what_serve_runs_and_nothing_of_an_engine() -> None:
    told = (
        f"import sys, gc, {PRELOAD}; assert gc.isenabled() and gc.get_freeze_count(); "
        "print([name in sys.modules for name in "
        "('ray.serve._private.controller', 'tradewind.serving.replica', 'torch', 'transformers', 'vllm')])"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[True, True, False, False, False]", done.stderr[-2000:]
