"""What machines of Azure leave behind: network interfaces, public addresses and disks, which cost on without them.

Ray's template makes them beside the machine, without tags, and Ray removes them with the machine alone. So those of a
machine that was sold out stay, and after them the network that they are in. They are known by the names that Ray 2.60
gives them (`azure-vm-template.json`): for a machine `DEPLOYMENT0`, `DEPLOYMENT-nic0`, `DEPLOYMENT-ip0` and the like.
Disks are named by Azure, `DEPLOYMENT0_OsDisk_1_…`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VERSIONS: Mapping[str, str] = {
    "microsoft.network/networkinterfaces": "2024-07-01",
    "microsoft.compute/disks": "2024-03-02",
    "microsoft.network/publicipaddresses": "2024-07-01",
}
"""Types, in the order in which they can be deleted, and the version of the interface that is asked to."""
OVER = ("Succeeded", "Failed", "Canceled")
"""States of a deployment that makes nothing more: Azure Resource Manager REST API, `ProvisioningState`."""
DELETED_S = 60.0


@dataclass(frozen=True)
class Remains:
    id: str
    name: str
    kind: str
    """Its type, in lower case."""


def find_remains(provider: Any, cluster: str) -> list[Remains]:
    """What belongs to no machine and to no deployment that is under way, in the order in which it can be deleted.

    `provider` is Ray's for Azure. Raises whatever Azure's SDK raises.
    """
    group = provider.provider_config["resource_group"]
    unique = unique_id(provider.provider_config)
    of = re.compile(
        rf"(?P<deployment>ray-{re.escape(cluster)}-(?:head|worker)-{re.escape(unique)}-[0-9a-f]{{4}})"
        r"(?:-nic-public|-nic|-ip)?(?P<index>\d+)(?:[_-].*)?"
    )
    listed = provider.resource_client.resources.list_by_resource_group(group, filter=f"substringof('{unique}', name)")
    known = [(one, found) for one in listed if one.type.lower() in VERSIONS and (found := of.fullmatch(one.name))]
    if not known:
        return []
    machines = {one.name for one in provider.compute_client.virtual_machines.list(resource_group_name=group)}
    left = [(one, found) for one, found in known if found["deployment"] + found["index"] not in machines]
    over = {name for name in {found["deployment"] for _, found in left} if _is_over(provider, group, name)}
    remains = [Remains(one.id, one.name, one.type.lower()) for one, found in left if found["deployment"] in over]
    return sorted(remains, key=lambda one: list(VERSIONS).index(one.kind))


def delete(provider: Any, remains: Remains) -> None:
    """Raises whatever Azure's SDK raises, also for an address whose interface is still there."""
    provider.resource_client.resources.begin_delete_by_id(remains.id, VERSIONS[remains.kind]).wait(DELETED_S)


def unique_id(settings: Mapping[str, Any]) -> str:
    """What Ray puts into the names of a resource group's machines: `_configure_resource_group` of Ray 2.60."""
    given = settings.get("unique_id")
    return str(given) if given else hashlib.sha256(settings["resource_group"].encode()).hexdigest()[:4]


def _is_over(provider: Any, group: str, deployment: str) -> bool:
    """Also one that Azure has forgotten, as it does after 800 others."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        found = provider.resource_client.deployments.get(group, deployment)
    except ResourceNotFoundError:
        return True
    return found.properties.provisioning_state in OVER
