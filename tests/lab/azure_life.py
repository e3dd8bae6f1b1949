# mypy: disable-error-code="no-untyped-call"
"""Run with a lab's Azure: what Ray's own provider does with it, from making the network to leaving nothing."""

import json
import sys
import time

from ray.autoscaler._private._azure.node_provider import AzureNodeProvider
from ray.autoscaler._private.util import prepare_config, validate_config

from tradewind.clusters.hybrid.backend import Backend
from tradewind.clusters.hybrid.census import count
from tradewind.clusters.hybrid.failures import understand
from tradewind.clusters.hybrid.journal import Journal
from tradewind.clusters.hybrid.remains import find_remains
from tradewind.clusters.hybrid.sweep import sweep

TAGS = {
    "ray-node-type": "worker",
    "ray-user-node-type": "t4-spot",
    "ray-node-name": "ray-harbour-azure-worker",
}

config = prepare_config(json.load(sys.stdin))
validate_config(config)
config = AzureNodeProvider.bootstrap_config(config)
provider = AzureNodeProvider(config["provider"], config["cluster_name"])
node = config["available_node_types"]["t4-spot"]["node_config"]
provider.create_node(node, dict(TAGS), 2)
created = sorted(provider.non_terminated_nodes({"ray-node-type": "worker"}))
addresses = [provider.internal_ip(name) for name in created]
running = [provider.is_running(name) for name in created]
provider.set_node_tags(created[0], {"ray-node-status": "up-to-date"})
tagged = provider.non_terminated_nodes({"ray-node-status": "up-to-date"})
try:
    sold_out = {**node, "azure_arm_parameters": {**node["azure_arm_parameters"], "vmSize": "Standard_SoldOut"}}
    provider.create_node(sold_out, dict(TAGS), 1)
except Exception as exc:  # noqa: BLE001
    refusal = f"{type(exc).__name__}: {exc}"
    understood = understand(exc, where="azure").outcome
backend = Backend("azure", "azure", provider)
(failed,) = set(provider.non_terminated_nodes({})) - set(created)
counted = [one.native for one in count(backend, config["cluster_name"]) if one.failed]
in_use = find_remains(provider, config["cluster_name"])
backend.end(created)
provider.compute_client.virtual_machines.begin_delete(config["provider"]["resource_group"], failed).wait()
end = time.monotonic() + 30
while provider.non_terminated_nodes({}) and time.monotonic() < end:
    time.sleep(0.1)
left = provider.non_terminated_nodes({})
while provider.terminating_nodes and time.monotonic() < end:
    provider.non_terminated_nodes({})
    time.sleep(0.1)
remains = find_remains(provider, config["cluster_name"])
others = find_remains(provider, config["cluster_name"][:-1])
swept = sweep([backend], Journal(config["cluster_name"]), lost=())
provider.cleanup_cluster_resources()
found = {
    "created": created,
    "addresses": addresses,
    "running": running,
    "tagged": tagged,
    "refusal": refusal,
    "understood": understood,
    "failed": [failed] == counted,
    "in_use": in_use,
    "remains": [one.kind for one in remains],
    "others": others,
    "swept": [leak.node.removeprefix("azure/") for leak in swept.ended] == [one.name for one in remains],
    "left": left,
}
print("FOUND", json.dumps(found))
