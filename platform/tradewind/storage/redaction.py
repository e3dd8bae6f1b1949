"""Text of others without what gives access: no password, signature, token or key reaches a message of ours."""

from __future__ import annotations

import os
import re

SECRET_NAME = re.compile(r"SECRET|PASSWORD|PASSPHRASE|TOKEN|SAS|CONNECTION_STRING|_KEY(?:_ID)?$")
NOT_SECRET = re.compile(r"_(?:FILE|PATH|URL|MODE|ENDPOINT)$")
SHORTEST_SECRET = 8

_USER = re.compile(r"(?<=://)[^\s/?#@]+@")
_QUERY = re.compile(r"(?<=[^\s?])\?[\w.%~+-]+=[^\s)\"'<>]*")
_PARAMETER = re.compile(
    r"\b(sig|signature|x-amz-signature|x-amz-credential|x-amz-security-token|x-goog-signature|x-goog-credential"
    r"|accountkey|sharedaccesssignature|password|access_token|refresh_token|client_secret)=[^\s&;,)\"'<>]+",
    re.IGNORECASE,
)
_HEADER = re.compile(r"\b(Bearer|SharedKey|Basic|AWS4-HMAC-SHA256)\s+[\w=+/.:%-]{8,}", re.IGNORECASE)


def redacted(text: str) -> str:
    """The text without users and queries of URLs, signatures, and the values of variables that hold secrets."""
    for secret in _secrets():
        text = text.replace(secret, "***")
    text = _QUERY.sub("?***", _USER.sub("***@", text))
    return _HEADER.sub(r"\1 ***", _PARAMETER.sub(r"\1=***", text))


def _secrets() -> list[str]:
    """Longest first, so that none hides a part of another."""
    found = {
        value
        for name, value in os.environ.items()
        if SECRET_NAME.search(name) and not NOT_SECRET.search(name) and len(value) >= SHORTEST_SECRET
    }
    return sorted(found, key=len, reverse=True)
