"""Run on a cluster's head: tasks that only workers can do, and which hosts did them after how many seconds."""

import json
import socket
import sys
import time

import ray

tasks = dict(part.split("=") for part in sys.argv[1].split(","))  # such as spot=2,own=1
hold_s, timeout_s = float(sys.argv[2]), float(sys.argv[3])
APART_S = 20.0
"""Until the next kind of tasks follows one that has no result yet: hosts of a lab share a few processors, and a raylet
gives up when its agent has not started within 15 s (Ray 2.60)."""

ray.init(address="auto", log_to_driver=False)


@ray.remote(num_cpus=1, max_retries=-1)
def work(seconds: float) -> tuple[str, float]:
    began = time.time()
    time.sleep(seconds)
    return socket.gethostname(), began


def ask(seconds: float) -> dict[str, list[tuple[str, float]]]:
    asked = {}
    for name, count in tasks.items():
        asked[name] = [work.options(resources={name: 1}).remote(seconds) for _ in range(int(count))]
        ray.wait(asked[name], timeout=APART_S if len(tasks) > 1 else 0)
    end = time.monotonic() + timeout_s
    return {name: ray.get(refs, timeout=max(1, end - time.monotonic())) for name, refs in asked.items()}


asked_at = time.time()
answers = ask(hold_s)
took_s = time.time() - asked_at
first_s = min(began for done in answers.values() for _, began in done) - asked_at
hosts = {name: [host for host, _ in done] for name, done in answers.items()}
print("ANSWER", json.dumps({"hosts": hosts, "first_s": first_s, "took_s": took_s}), flush=True)
