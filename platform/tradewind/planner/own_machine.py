"""This machine as an offer: what it costs is what its owner says, and nothing is to be moved to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from tradewind.catalog import Instance, Offer, Region
from tradewind.planner.processor import processor_chip
from tradewind.records import Machine

CLOUD = "local"


def own_offer(machine: Machine, today: date) -> Offer:
    """The machine that this runs on, at its price an hour. Its processors compute; accelerators are not looked for."""
    chip = replace(processor_chip(machine.num_cpus, machine.memory_bytes), name=own_chip(machine))
    instance = Instance(
        cloud=CLOUD,
        name=machine.host,
        chip=chip.name,
        chips=1,
        vcpus=machine.num_cpus,
        memory_bytes=machine.memory_bytes,
        local_disk_bytes=None,
        network_bytes_per_s=None,
        rdma="no",
        source="this machine",
    )
    region = Region(
        cloud=CLOUD,
        name="here",
        title="this machine",
        country="",
        latitude=None,
        longitude=None,
        carbon_g_per_kwh=None,
        carbon_year="",
        carbon_source="",
        pue=1.0,
        pue_source="stands in no data centre that is known",
        source="this machine",
    )
    return Offer(
        instance=instance,
        chip=chip,
        region=region,
        zone="",
        market="owned",
        usd_per_hour=machine.usd_per_hour,
        on_demand_usd_per_hour=None,
        as_of=machine.price_as_of or today,
        source="the price that the owner of this machine gave",
        limit=1,
    )


def own_chip(machine: Machine) -> str:
    """The name under which this machine's measurements are kept: what its processors are, and how many."""
    return f"{machine.processor} x{machine.num_cpus}"
