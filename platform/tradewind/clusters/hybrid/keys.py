"""One SSH key for all clouds: each is given the public part in its own way, where the YAML does not do so itself."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

from tradewind.errors import SpecError

SSH_KEYS = "ssh-keys"
"""The metadata item that Google's guest agent reads: `<user>:<public key>`."""


def public_key(private: str) -> str:
    """The public part of a private key file, without a comment. Raises SpecError when there is none."""
    path = Path(private).expanduser()
    if not path.is_file():
        raise SpecError(f"auth.ssh_private_key: no file {private!r}", hint="ssh-keygen -t ed25519 -f FILE makes one")
    beside = path.with_name(f"{path.name}.pub")
    text = beside.read_text() if beside.is_file() else _derived(path)
    return " ".join(text.split()[:2])


def give_to_aws(node_configs: list[dict[str, Any]], provider: dict[str, Any], private: str) -> None:
    """Import the key into the region under the names that the node configurations give, or else under its own."""
    public = public_key(private)
    own = f"tradewind-{hashlib.sha256(public.encode()).hexdigest()[:16]}"
    for config in node_configs:
        config.setdefault("KeyName", own)
    for name in {config["KeyName"] for config in node_configs}:
        _import(name, public, provider)


def give_to_gcp(node_configs: list[dict[str, Any]], user: str, private: str) -> None:
    """Put the key into the metadata of each machine that has none there."""
    for config in node_configs:
        items = config.setdefault("metadata", {}).setdefault("items", [])
        if not any(item.get("key") == SSH_KEYS for item in items):
            items.append({"key": SSH_KEYS, "value": f"{user}:{public_key(private)} {user}"})


def azure_public_key(private: str) -> str:
    """The file that Ray's Azure provider reads. Raises SpecError when it is not beside the private one."""
    path = Path(f"{private}.pub").expanduser()
    if not path.is_file():
        raise SpecError(f"auth.ssh_public_key: no file {path}", hint=f"ssh-keygen -y -f {private} > {path}")
    return str(path)


def _import(name: str, public: str, provider: dict[str, Any]) -> None:
    """A key pair that is there already is the owner's, and stays as it is."""
    import boto3
    from botocore.exceptions import ClientError

    ec2 = boto3.client("ec2", region_name=provider["region"], **provider.get("aws_credentials") or {})
    try:
        ec2.describe_key_pairs(KeyNames=[name])
    except ClientError as exc:
        if exc.response["Error"]["Code"] != "InvalidKeyPair.NotFound":
            raise
        ec2.import_key_pair(KeyName=name, PublicKeyMaterial=public.encode())


def _derived(path: Path) -> str:
    command = ["ssh-keygen", "-y", "-P", "", "-f", str(path)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        said = " ".join(done.stderr.split())
        raise SpecError(f"auth.ssh_private_key: {path} cannot be read: {said}", hint="use a key without a passphrase")
    return done.stdout
