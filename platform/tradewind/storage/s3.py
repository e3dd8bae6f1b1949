"""`s3://bucket/prefix`: Amazon S3 and everything that speaks its protocol.

Credentials, region and endpoint come from AWS's own places: environment variables (`AWS_ENDPOINT_URL` for other
servers), and with boto3 installed (`pip install 'tradewind[aws]'`) also profiles, single sign-on and instance roles.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any
from urllib.parse import urlsplit

from tradewind.errors import AuthError
from tradewind.storage.address import parse_address
from tradewind.storage.object_store import ObjectStore, connection_options

ENVIRONMENT_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
HINT = "set AWS_ACCESS_KEY_ID or use a profile"
AMAZON = (".amazonaws.com", ".amazonaws.com.cn")


def open_store(url: str) -> ObjectStore:
    return ObjectStore(parse_address(url, hint=HINT).url, _open_native, is_remote=True)


def endpoint() -> str | None:
    """The server that the environment names, which may be one of Amazon's own."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def other_host() -> str | None:
    """The host of a server that is not Amazon's. None for Amazon S3, named or not."""
    server = endpoint()
    host = server and (urlsplit(server).hostname or server)
    return None if not host or host.endswith(AMAZON) else host


def _open_native(url: str, max_retries: int = 0) -> Any:
    from obstore.store import S3Store

    address = parse_address(url, hint=HINT)
    server = endpoint()
    where: dict[str, Any] = {"endpoint": server} if server else {}
    return S3Store(
        address.place,
        prefix=address.prefix or None,
        disable_bulk_delete=True,  # not every server knows it, and we delete one by one
        credential_provider=_credentials(),
        **connection_options(server, max_retries),
        **where,
    )


def _credentials() -> Any:
    """boto3's chain where it is installed; None lets obstore read the environment and the instance's role."""
    if all(os.environ.get(key) for key in ENVIRONMENT_KEYS) or importlib.util.find_spec("boto3") is None:
        return None
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        return Boto3CredentialProvider()
    except (BotoCoreError, ValueError) as exc:
        raise AuthError(
            "no AWS credentials were found", hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        ) from exc
