"""Prices of Google Cloud from its Cloud Billing Catalog: SKUs of parts, composed to prices of machines.

A price is given wherever all parts of a machine have one. Google does not offer each machine type in each such region,
and not in each of its zones; only the Compute Engine API of a project tells that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from tradewind.catalog.instance import Instance
from tradewind.catalog.price import Price
from tradewind.catalog.refresh.answer import get_json
from tradewind.catalog.refresh.gcp_machine import Part, parts, things
from tradewind.catalog.refresh.gcp_sku import WHAT, read_sku
from tradewind.catalog.refresh.shape import field
from tradewind.errors import AuthError, IntegrityError, SpecError

URL = "https://cloudbilling.googleapis.com"
URL_VARIABLE = "TRADEWIND_GCP_PRICES_URL"
KEY_VARIABLE = "GOOGLE_API_KEY"
COMPUTE_ENGINE = "6F81-5844-456A"
PAGE_SKUS = "5000"
SCOPE = "https://www.googleapis.com/auth/cloud-billing.readonly"
LOGIN = (
    f"set {KEY_VARIABLE} to an API key of a project with the Cloud Billing API, "
    "or run `gcloud auth application-default login`"
)

Rates = Mapping[tuple[str, str, bool], float]
"""USD an hour by region, thing and whether it is spot."""


def gcp_prices(
    instances: Sequence[Instance], *, regions: Sequence[str], today: date, say: Callable[[str], None]
) -> list[Price]:
    """Prices for whole regions: Google has none for zones. `TRADEWIND_GCP_PRICES_URL` names another server.

    Machine types that cannot be composed are left out, and `say` is told how many and which.
    """
    rates = _rates(say)
    composed = {one.name: found for one in instances if (found := parts(one))}
    left_out = [one.name for one in instances if one.name not in composed]
    places = regions or sorted({region for region, _, _ in rates})
    rows = [
        row for place in places for name, found in composed.items() if (row := _row(place, name, found, rates, today))
    ]
    say(f"{len(rows)} prices; {len(left_out)} machine types cannot be composed: {', '.join(left_out) or 'none'}")
    return rows


def _row(region: str, name: str, machine: Sequence[Part], rates: Rates, today: date) -> Price | None:
    on_demand, spot = (_usd_per_hour(region, machine, rates, is_spot=is_spot) for is_spot in (False, True))
    if on_demand is None and spot is None:
        return None
    source = f"Cloud Billing Catalog API v1, service {COMPUTE_ENGINE}"
    return Price("gcp", region, "", name, on_demand, spot, today, source, note="composed from SKUs of its parts")


def _usd_per_hour(region: str, machine: Sequence[Part], rates: Rates, *, is_spot: bool) -> float | None:
    total = 0.0
    for part in machine:
        known = [rates[key] for name in part.names if (key := (region, name, is_spot)) in rates]
        if not known:
            return None
        total += part.quantity * max(known)
    return round(total, 6)


def _rates(say: Callable[[str], None]) -> Rates:
    """All rates that a machine may be made of; of two for the same, the dearer."""
    wanted, found, count = things(), dict[tuple[str, str, bool], float](), 0
    for page in _pages():
        skus = field(page, "skus", list, of=WHAT)
        for rate in (rate for sku in skus if (rate := read_sku(sku, wanted))):
            for region in rate.regions:
                key = region, rate.thing, rate.is_spot
                found[key] = max(rate.usd_per_hour, found.get(key, 0.0))
        count += len(skus)
        say(f"{count} SKUs read")
    return found


def _pages() -> Iterator[object]:
    url = f"{(os.environ.get(URL_VARIABLE) or URL).rstrip('/')}/v1/services/{COMPUTE_ENGINE}/skus"
    headers, token, seen = _login(), "", set[str]()
    while True:
        query = {"currencyCode": "USD", "pageSize": PAGE_SKUS, **({"pageToken": token} if token else {})}
        page = get_json(url, query, what=WHAT, headers=headers, login=LOGIN)
        yield page
        token = page.get("nextPageToken", "")
        if not token:
            return
        if token in seen:
            raise IntegrityError(f"{WHAT} names the same next page twice: {token!r}", hint="try again later")
        seen.add(token)


def _login() -> dict[str, str]:
    """A key from the environment, or a token of google-auth. Neither stands in an address or a message."""
    if key := os.environ.get(KEY_VARIABLE):
        return {"X-Goog-Api-Key": key}
    try:
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request
    except ImportError as exc:
        hint = f"set {KEY_VARIABLE} to an API key, or pip install 'tradewind[gcp]'"
        raise SpecError(f"without an API key, prices of Google Cloud need google-auth: {exc}", hint=hint) from exc
    headers: dict[str, str] = {}
    try:
        credentials: Any = google.auth.default(scopes=[SCOPE])[0]
        credentials.refresh(Request())
        credentials.apply(headers)
    except GoogleAuthError as exc:
        raise AuthError(f"no credentials for {WHAT}: {exc}", hint=LOGIN) from exc
    return headers
