"""From a cluster spec to the files that `ray up` and `kubectl apply` take."""

from tradewind.clusters.render.blueprint import Blueprint, blueprint
from tradewind.clusters.render.from_plan import of_placement
from tradewind.clusters.render.target import render

__all__ = ["Blueprint", "blueprint", "of_placement", "render"]
