"""What the URL of a bucket says: a bucket and a prefix, and never who may use it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from tradewind.errors import SpecError


@dataclass(frozen=True)
class Address:
    scheme: str
    place: str
    """The bucket, container or host."""

    prefix: str
    user: str | None = None

    @property
    def url(self) -> str:
        place = f"{self.user}@{self.place}" if self.user else self.place
        return f"{self.scheme}://{place}/{self.prefix}".rstrip("/")


def parse_address(url: str, *, what: str = "bucket", hint: str, takes_user: bool = False) -> Address:
    """The parts of `scheme://[user@]place/prefix`. Raises SpecError, which repeats nothing that may be a secret."""
    parts = urlsplit(url)
    example = f"write {parts.scheme}://{what}/prefix"
    if parts.password or (parts.username and not takes_user):
        raise SpecError(f"a URL of {parts.scheme}:// holds no credentials", hint=hint)
    if "?" in url or "#" in url:
        raise SpecError(f"a URL of {parts.scheme}:// has no '?' and no '#'", hint=f"{example}; {hint}")
    if not parts.netloc.rpartition("@")[2]:
        raise SpecError(f"{url!r} names no {what}", hint=example)
    return Address(parts.scheme, parts.netloc.rpartition("@")[2], parts.path.strip("/"), parts.username)
