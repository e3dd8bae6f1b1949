"""`s3://bucket/prefix`: Amazon S3 and everything that speaks its protocol.

Credentials, region and endpoint come from AWS's own places: environment variables (`AWS_ENDPOINT_URL` for other
servers), and with boto3 installed (`pip install 'tradewind[aws]'`) also profiles, single sign-on and instance roles.
"""

from __future__ import annotations

import importlib.util
import os
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from tradewind.errors import AuthError, SpecError
from tradewind.storage.object_store import ObjectStore

ENVIRONMENT_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def open_store(url: str) -> ObjectStore:
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise SpecError("an s3 URL holds no credentials", hint="set AWS_ACCESS_KEY_ID or use a profile")
    if not parts.netloc:
        raise SpecError(f"{url!r} names no bucket", hint="write s3://bucket/prefix")
    return ObjectStore(f"s3://{parts.netloc}{parts.path.rstrip('/')}", _open_native)


def _open_native(url: str) -> Any:
    from obstore.store import S3Store

    parts = urlsplit(url)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    where: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
    return S3Store(
        parts.netloc,
        prefix=parts.path.strip("/") or None,
        credential_provider=_credentials(),
        client_options={
            "allow_http": (endpoint or "").startswith("http://"),
            "connect_timeout": timedelta(seconds=5),
            "timeout": timedelta(minutes=5),
        },
        retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=30)},
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
