"""Leads the clients of clouds of this process to a lab's, where they have no setting for that. Python runs it at start.

Nothing is imported before the program itself imports a client: each is altered when it is loaded.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys
import time
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class Redirection(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module as always, and alters it then."""

    def __init__(self, name: str, alter: Callable[[Any], None]) -> None:
        self._name, self._alter = name, alter
        self._loader: Any = None

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._alter(module)


def lead_google_here(discovery: Any) -> None:
    build = discovery.build

    def build_here(service: str, version: str, **named: Any) -> Any:
        from google.oauth2.credentials import Credentials

        path = "/compute/v1/" if service == "compute" else "/"
        named["client_options"] = {"api_endpoint": os.environ["TRADEWIND_LAB_GCE"] + path}
        named["credentials"] = Credentials("lab")  # type: ignore[no-untyped-call]
        return build(service, version, **named)

    discovery.build = build_here


def lead_azure_here(tools: Any) -> None:
    def endpoints(_cloud: object) -> dict[str, Any]:
        return {"resource_manager": os.environ["TRADEWIND_LAB_ARM"], "credential_scopes": ["lab/.default"]}

    tools.get_arm_endpoints = endpoints


def let_azure_in(identity: Any) -> None:
    from azure.core.credentials import AccessToken

    class LabCredential:
        def __init__(self, **_named: Any) -> None:
            pass

        def get_token(self, *_scopes: str, **_named: Any) -> AccessToken:
            return AccessToken("lab", int(time.time()) + 3600)

    identity.AzureCliCredential = identity.DefaultAzureCredential = LabCredential


def allow_plain_http(authentication: Any) -> None:
    authentication._BearerTokenCredentialPolicyBase._enforce_https = staticmethod(lambda _request: None)


if "TRADEWIND_LAB_ARM" in os.environ:
    sys.meta_path.insert(0, Redirection("azure.mgmt.core.tools", lead_azure_here))
    sys.meta_path.insert(0, Redirection("azure.identity", let_azure_in))
    sys.meta_path.insert(0, Redirection("azure.core.pipeline.policies._authentication", allow_plain_http))
if "TRADEWIND_LAB_GCE" in os.environ:
    sys.meta_path.insert(0, Redirection("googleapiclient.discovery", lead_google_here))
