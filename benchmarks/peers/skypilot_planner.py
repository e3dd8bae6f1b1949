"""SkyPilot's optimizer over rows of our catalogue, without a network, credentials or its API server.

    python -P -m benchmarks.peers.skypilot_planner rows.json --request training

`rows.json` is a list of `cloud, region, zone, instance, accelerator, count, vcpus, memory_gib, on_demand, spot`, in
dollars an hour and None where not known, and may carry `bf16_tflops` of one accelerator. The last line of the output
is JSON. No code of SkyPilot is replaced: its catalogue files are written from the rows in a home of its own, and its
database says that the clouds are enabled, as after `sky check`. `Optimizer.optimize` then runs in this process.

It answers a smaller question than ours. The number of machines and the running time are the caller's, and for each
accelerator asked for it looks at the cheapest machine type of each cloud alone, in all its places.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

Row = dict[str, Any]

CLOUDS = ("aws", "azure", "gcp", "lambda", "nebius", "runpod")
"""Those of our rows that SkyPilot sells too."""

SCHEMA = "v8"
"""`sky.skylet.constants.CATALOG_SCHEMA_VERSION` of 0.14.1."""

COLUMNS = ("InstanceType", "AcceleratorName", "AcceleratorCount", "vCPUs", "MemoryGiB", "GpuInfo", "Price", "SpotPrice")
PLACES = ("Region", "AvailabilityZone")
ZONED = ("aws", "gcp", "runpod")
"""Where SkyPilot drops rows without a zone, so that a price of a whole region needs one made up."""

NAMES = {
    "A100-SXM-40GB": "A100",
    "A100-SXM-80GB": "A100-80GB",
    "B200-SXM": "B200",
    "B300-SXM": "B300",
    "H100-SXM": "H100",
    "H200-SXM": "H200",
    "RTX-PRO-6000": "RTXPRO6000",
    "V100-SXM-16GB": "V100",
    "V100-SXM-32GB": "V100-32GB",
}
GCP_NAMES = {
    "a2-highgpu": "A100",
    "a2-megagpu": "A100",
    "a2-ultragpu": "A100-80GB",
    "a3-highgpu": "H100",
    "a3-megagpu": "H100-MEGA",
    "a3-ultragpu": "H200",
    "a4-highgpu": "B200",
    "g2-standard": "L4",
    "g4-standard": "RTXPRO6000",
}
"""What `sky.catalog.gcp_catalog` takes for granted of Google's machine families."""

TRAINING_FLOPS = 6 * 70e9 * 100e9
"""6ND (Kaplan 2020): 70 billion parameters, 100 billion tokens."""

SUSTAINED = 0.4
"""Of the dense peak. SkyPilot has no such figure, so it is part of what it is asked."""

PEAK_TFLOPS = 100.0
"""Of an accelerator whose row does not say."""

MACHINES = {"training": 16, "serving": 1, "machines": 16}
"""SkyPilot takes this number from its user."""

HOUR_S = 3600.0


def main() -> None:
    arguments = _arguments()
    rows = [row for row in json.loads(arguments.rows.read_text()) if row["cloud"] in CLOUDS and _is_sold(row)]
    with TemporaryDirectory(prefix="tw-") as home:
        _make_home(Path(home))
        offered = write_catalogue(rows, Path(home) / ".sky" / "catalogs" / SCHEMA)
        result = _measure(offered, arguments)
    print(json.dumps(result), flush=True)
    os._exit(0)  # its threads are daemons of this process; none of them is waited for


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("--request", choices=("training", "serving", "machines"), default="training")
    parser.add_argument("--repeat", type=int, default=5, help="plans after the first one")
    return parser.parse_args()


def _is_sold(row: Row) -> bool:
    return bool(row["region"] and (row["on_demand"] or row["spot"]) and row["vcpus"] and row["memory_gib"])


def _make_home(home: Path) -> None:
    """A home of its own, no credentials, and no word to anybody. To be called before `sky` is imported.

    SkyPilot runs `aws configure list` to learn who we are, and that asks the machine's metadata service for
    credentials. So there is no `aws` on the path, and the service is switched off for whatever looks for it still.
    """
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "SKYPILOT_", "SKY_"))]:
        del os.environ[name]
    os.environ |= {
        "HOME": str(home),
        "PATH": str(home / "bin"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_GCE_CHECK": "true",
        "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
    }
    for module in ("boto3", "botocore"):
        sys.modules[module] = None  # type: ignore[assignment] # as where SkyPilot is installed alone


def write_catalogue(rows: Iterable[Row], folder: Path) -> list[Row]:
    """Write rows as SkyPilot's catalogue files; gives them back under its names, one per machine type and place."""
    offered = [row for cloud in CLOUDS for row in _one_each([row for row in rows if row["cloud"] == cloud])]
    for cloud in CLOUDS:
        table = [line for row in offered if row["cloud"] == cloud for line in _lines(row)]
        _write(folder / cloud / "vms.csv", (*COLUMNS, *PLACES), table)
    clouds = defaultdict(set)
    for row in offered:
        clouds[row["accelerator"]].add(_sky_name(row["cloud"]))
    known = [{"AcceleratorName": name, "Clouds": str(sorted(sold))} for name, sold in clouds.items() if name]
    _write(folder / "common" / "accelerators.csv", ("AcceleratorName", "Clouds"), known)
    return offered


def _one_each(rows: list[Row]) -> Iterator[Row]:
    """SkyPilot asserts one price on demand in a region and one row in a zone: of several, the lowest counts."""
    lowest: dict[tuple[str, str], float] = {}
    for row in rows:
        if row["on_demand"]:
            key = row["instance"], row["region"]
            lowest[key] = min(row["on_demand"], lowest.get(key, row["on_demand"]))
    seen: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        place = row["instance"], row["region"], row["zone"] or (f"{row['region']}-all" if _is_zoned(row) else "")
        if place not in seen or (row["spot"] or 1e9) < (seen[place]["spot"] or 1e9):
            seen[place] = {**row, "zone": place[2], "on_demand": lowest.get(place[:2]), "accelerator": _name(row)}
    yield from seen.values()


def _is_zoned(row: Row) -> bool:
    return row["cloud"] in ZONED


def _name(row: Row) -> str:
    if not (row["accelerator"] and row["count"]):
        return ""
    if row["cloud"] == "gcp":
        return GCP_NAMES.get("-".join(row["instance"].split("-")[:2]), "")
    name: str = row["accelerator"]
    return NAMES.get(name, name)


def _lines(row: Row) -> Iterator[Row]:
    """For Google, SkyPilot adds the price of the accelerator to that of the machine; ours is of both, so that is 0."""
    line = {
        "InstanceType": row["instance"],
        "AcceleratorName": row["accelerator"],
        "AcceleratorCount": row["count"] if row["accelerator"] else None,
        "vCPUs": row["vcpus"],
        "MemoryGiB": row["memory_gib"],
        "GpuInfo": row["accelerator"],
        "Price": row["on_demand"],
        "SpotPrice": row["spot"],
        "Region": row["region"],
        "AvailabilityZone": row["zone"],
    }
    if row["cloud"] == "gcp" and row["accelerator"]:
        yield {**line, "AcceleratorName": None, "AcceleratorCount": None, "GpuInfo": None}
        yield {**line, "InstanceType": None, "vCPUs": None, "MemoryGiB": None, "Price": 0, "SpotPrice": 0}
    else:
        yield line


def _write(file: Path, columns: tuple[str, ...], table: list[Row]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, columns)
        writer.writeheader()
        writer.writerows(table)


def _measure(offered: list[Row], arguments: argparse.Namespace) -> Row:
    """`cold_s` goes from before `import sky` to the first plan, and includes reading the catalogue."""
    began = time.perf_counter()
    import sky

    _enable()
    import_s = time.perf_counter() - began
    task = plan(offered, arguments.request)
    cold_s = time.perf_counter() - began
    warm = [_timed(offered, arguments.request) for _ in range(arguments.repeat)]
    return {
        "peer": "skypilot",
        "version": sky.__version__,
        "request": arguments.request,
        "import_s": round(import_s, 3),
        "cold_s": round(cold_s, 3),
        "warm_s": [wall_s for wall_s, _ in warm],
        "warm_processor_s": [processor_s for _, processor_s in warm],
        "max_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "rows": len(offered),
        "offers": sum(bool(row["on_demand"]) + bool(row["spot"]) for row in offered),
        "asked": len(task.resources),
        "candidates": _candidates(task),
        "chosen": _chosen(task),
    }


def _enable() -> None:
    """Write down what `sky check` does when it has found credentials; else it would look for them on the network."""
    from sky import check, global_user_state, sky_logging
    from sky.clouds import CloudCapability

    logging.getLogger(sky_logging.__name__.partition(".")[0]).setLevel(logging.ERROR)
    allowed = check._get_workspace_allowed_clouds("default")
    global_user_state.set_allowed_clouds(allowed, "default")
    global_user_state.set_enabled_clouds([_sky_name(cloud) for cloud in CLOUDS], CloudCapability.COMPUTE, "default")


def _sky_name(cloud: str) -> str:
    return {"aws": "AWS", "gcp": "GCP", "runpod": "RunPod"}.get(cloud, cloud.title())


def _timed(offered: list[Row], request: str) -> tuple[float, float]:
    """Wall and processor time, in seconds, of a plan whose task is made anew."""
    began, processor_began = time.perf_counter(), time.process_time()
    plan(offered, request)
    return round(time.perf_counter() - began, 4), round(time.process_time() - processor_began, 4)


def plan(offered: list[Row], request: str) -> Any:
    """The task, with `best_resources` from one `Optimizer.optimize` for the lowest cost."""
    import sky
    from sky.optimizer import Optimizer

    with sky.Dag() as dag:
        task = sky.Task(name=request, num_nodes=MACHINES[request])
    task.set_resources(set(_asked(offered, request)))
    peaks = {row["accelerator"]: row["bf16_tflops"] for row in offered if row.get("bf16_tflops")}
    task.set_time_estimator(lambda asked: _time_s(asked, request, peaks))
    Optimizer.optimize(dag, minimize=sky.OptimizeTarget.COST, quiet=True)
    return task


def _asked(offered: list[Row], request: str) -> Iterator[Any]:
    """What a user would write below `any_of`, on demand and as spot.

    For `training` each accelerator that comes eight or more in a machine, for `serving` each that there is and in
    each number. `machines` is training that names each machine type with accelerators of each cloud: nothing less
    makes SkyPilot look at all offers.
    """
    import sky

    for spot in (False, True):
        rows = [row for row in offered if row["accelerator"] and row["spot" if spot else "on_demand"]]
        if request == "machines":
            for cloud, instance in sorted({(row["cloud"], row["instance"]) for row in rows}):
                yield sky.Resources(cloud=sky.CLOUD_REGISTRY.from_str(cloud), instance_type=instance, use_spot=spot)
            continue
        least = 8 if request == "training" else 1
        for name, count in sorted({(row["accelerator"], row["count"]) for row in rows}):
            if count >= least:
                yield sky.Resources(accelerators={name: int(count)}, use_spot=spot)


def _time_s(asked: Any, request: str, peaks: dict[str, float]) -> float:
    """How long SkyPilot is told that it takes: an hour, and for training what the peaks of the chips say."""
    if request == "serving":
        return HOUR_S
    ((name, count),) = asked.accelerators.items()
    chips = int(count) * MACHINES[request]
    return TRAINING_FLOPS / (SUSTAINED * peaks.get(name, PEAK_TFLOPS) * 1e12 * chips)


def _candidates(task: Any) -> int:
    """How many machine types in places its optimizer has weighed."""
    from sky import optimizer

    launchable, *_ = optimizer._fill_in_launchable_resources(task, None, quiet=True)
    return sum(len(found) for found in launchable.values())


def _chosen(task: Any) -> Row:
    best, machines = task.best_resources, task.num_nodes
    return {
        "cloud": str(best.cloud).lower(),
        "region": best.region,
        "zone": best.zone,
        "instance": best.instance_type,
        "accelerators": best.accelerators,
        "market": "spot" if best.use_spot else "on_demand",
        "machines": machines,
        "usd_per_hour": round(best.get_cost(HOUR_S) * machines, 4),
        "usd": round(best.get_cost(task.estimate_runtime(best)) * machines, 2),
    }


if __name__ == "__main__":
    main()
