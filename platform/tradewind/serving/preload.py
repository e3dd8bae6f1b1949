"""What each process of Ray Serve imports in any case, in less time.

A Ray of our own that starts for serving has its workers import this before there is work for them: its first do so
while the program itself imports Serve. What it saves is measured in docs/benchmarks/serving.md, "Start-up".
"""

from tradewind.imports import uncollected

with uncollected():
    import ray.serve._private.controller
    import ray.serve._private.replica  # noqa: F401

    import tradewind.serving.replica  # noqa: F401
