"""Run on a cluster's head: tasks that only workers can do, and which hosts did them after how many seconds."""

import json
import socket
import sys
import time

import ray

tasks, resource, hold_s, timeout_s = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
ray.init(address="auto", log_to_driver=False)


@ray.remote(num_cpus=1, resources={resource: 1}, max_retries=-1)
def work() -> str:
    time.sleep(hold_s)
    return socket.gethostname()


began = time.monotonic()
hosts = ray.get([work.remote() for _ in range(tasks)], timeout=timeout_s)
print("ANSWER", json.dumps({"hosts": hosts, "seconds": round(time.monotonic() - began, 2)}), flush=True)
