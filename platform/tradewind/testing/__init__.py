"""Servers and faults that stand in for the world outside, for our tests and for those of our users."""

from tradewind.testing.faults import FaultProxy, Plan, start_faults
from tradewind.testing.gcs import start_gcs
from tradewind.testing.rgw import rgw_available, start_rgw
from tradewind.testing.servers import azurite_available, install_azurite, moto_available, start_azurite, start_moto

__all__ = [
    "FaultProxy",
    "Plan",
    "azurite_available",
    "install_azurite",
    "moto_available",
    "rgw_available",
    "start_azurite",
    "start_faults",
    "start_gcs",
    "start_moto",
    "start_rgw",
]
