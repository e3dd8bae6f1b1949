"""A lab of clouds on one machine: hosts with a real sshd, and stand-ins for the APIs that rent them out."""

from tradewind.testing.clouds.arm import Arm, start_arm
from tradewind.testing.clouds.ec2 import Ec2, start_ec2
from tradewind.testing.clouds.gce import Gce, start_gce
from tradewind.testing.clouds.hosts import Host, Hosts, missing_programs, start_hosts
from tradewind.testing.clouds.image import image_available, image_folder, image_path
from tradewind.testing.clouds.machine import Cloud, Machine, follow
from tradewind.testing.clouds.metadata import Metadata, start_metadata
from tradewind.testing.clouds.network import Network, start_network
from tradewind.testing.clouds.redirect import REDIRECT
from tradewind.testing.clouds.weather import Weather

__all__ = [
    "REDIRECT",
    "Arm",
    "Cloud",
    "Ec2",
    "Gce",
    "Host",
    "Hosts",
    "Machine",
    "Metadata",
    "Network",
    "Weather",
    "follow",
    "image_available",
    "image_folder",
    "image_path",
    "missing_programs",
    "start_arm",
    "start_ec2",
    "start_gce",
    "start_hosts",
    "start_metadata",
    "start_network",
]
