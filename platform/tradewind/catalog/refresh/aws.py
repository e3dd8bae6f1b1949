"""Prices of AWS: on demand from the Price List API, on the spot market from EC2's price history.

The bulk offer files have the same prices without an account, but the one of a region holds every operating system,
tenancy and reservation of EC2; the API gives what is asked for, and the spot history needs an account anyway. China is
a partition of its own with its own accounts, and prices in CNY: such rows have no dollars and no spot price.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from tradewind.catalog.instance import Instance
from tradewind.catalog.price import Price
from tradewind.catalog.refresh.aws_product import FILTERS, Product, read_product
from tradewind.catalog.refresh.aws_product import WHAT as PRODUCTS
from tradewind.catalog.refresh.shape import amount, field
from tradewind.errors import AuthError, IntegrityError, NotFoundError, SpecError, StorageError, did_you_mean

HOME = "us-east-1"
CHINA = "cn-northwest-1"
"""Where the Price List API is: botocore knows no other endpoint in China."""

SPOT_SYSTEMS = ("Linux/UNIX", "Linux/UNIX (Amazon VPC)")
"""The second is what old accounts with EC2-Classic are answered with."""
SPOT_WHAT = "DescribeSpotPriceHistory of EC2"

REFUSALS = {
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "OptInRequired",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnauthorizedOperation",
    "UnrecognizedClientException",
}
LOGIN = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; "
    "it needs pricing:GetProducts, ec2:DescribeSpotPriceHistory and ec2:DescribeRegions"
)


def aws_prices(
    instances: Sequence[Instance], *, regions: Sequence[str], today: date, say: Callable[[str], None]
) -> list[Price]:
    """On demand for whole regions, and a row for each zone that has a spot price.

    Without regions, those that the account has enabled. Zones are named by their IDs like `use1-az4`, which mean the
    same in every account, where EC2 tells them. Other servers: `AWS_ENDPOINT_URL_PRICING`, `AWS_ENDPOINT_URL_EC2`.
    """
    session = _session()
    names = {one.name for one in instances}
    rows: list[Price] = []
    for region in regions or _enabled_regions(session):
        found = _region_prices(session, region, names, today)
        say(f"{region}: {len(found)} prices")
        rows += found
    return rows


def _session() -> Any:
    try:
        import boto3.session
    except ImportError as exc:
        raise SpecError("prices of AWS need boto3", hint="pip install 'tradewind[aws]'") from exc
    return boto3.session.Session()


def _enabled_regions(session: Any) -> list[str]:
    with _asking("the regions of the account"):
        answer = _client(session, "ec2", session.region_name or HOME).describe_regions()
    return sorted(field(one, "RegionName", str, of="DescribeRegions of EC2") for one in answer["Regions"])


def _region_prices(session: Any, region: str, names: set[str], today: date) -> list[Price]:
    with _asking(f"prices of {region}"):
        on_demand = _on_demand(_client(session, "pricing", CHINA if _is_chinese(region) else HOME), region, names)
        if not on_demand:
            _check_region(session, region)
            return []
        if _is_chinese(region):
            return [_chinese(product, today) for product in on_demand.values()]
        spot = _spot(_client(session, "ec2", region), region, names)
    regional = [_price(region, name, product, today) for name, product in on_demand.items()]
    zonal = [_zonal(_price(region, name, on_demand.get(name), today), zone, usd) for (name, zone), usd in spot.items()]
    return regional + zonal


def _price(region: str, name: str, product: Product | None, today: date) -> Price:
    if product is None:
        return Price("aws", region, "", name, None, None, today, source="")
    return Price("aws", region, "", name, product.per_hour, None, today, _source(product))


def _zonal(price: Price, zone: str, spot_usd_per_hour: float) -> Price:
    source = "; ".join(filter(None, (price.source, "EC2 spot price history")))
    return replace(price, zone=zone, spot_usd_per_hour=spot_usd_per_hour, source=source)


def _chinese(product: Product, today: date) -> Price:
    return Price(
        "aws", product.region, "", product.instance, None, None, today, _source(product), "CNY", product.per_hour
    )


def _source(product: Product) -> str:
    return f"AWS Price List API, list of {product.published}"


def _is_chinese(region: str) -> bool:
    return region.startswith("cn-")


def _check_region(session: Any, region: str) -> None:
    """Raises NotFoundError for a region that botocore has not heard of; one without the machine types is fine."""
    partitions = session.get_available_partitions()
    known = {name for partition in partitions for name in session.get_available_regions("ec2", partition)}
    if region not in known:
        raise NotFoundError(f"no region of aws named {region!r}{did_you_mean(region, known)}")


def _client(session: Any, service: str, region: str) -> Any:
    """botocore's standard retries wait with full jitter, 20 s at most, and know which of AWS's errors pass."""
    from botocore.config import Config

    patience = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=10, read_timeout=60)
    try:
        return session.client(service, region_name=region, config=patience)
    except ValueError as exc:
        raise SpecError(f"no client of {service} in {region}: {exc}", hint="check AWS_ENDPOINT_URL_*") from exc


def _on_demand(client: Any, region: str, names: set[str]) -> dict[str, Product]:
    """By machine type; of two prices, the dearer."""
    filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in FILTERS.items()]
    filters.append({"Type": "TERM_MATCH", "Field": "regionCode", "Value": region})
    asked = {"ServiceCode": "AmazonEC2", "FormatVersion": "aws_v1", "Filters": filters}
    found: dict[str, Product] = {}
    for page in client.get_paginator("get_products").paginate(**asked):
        for text in field(page, "PriceList", list, of=PRODUCTS):
            product = read_product(text, "CNY" if _is_chinese(region) else "USD")
            if product and product.instance in names and product.region == region:
                found[product.instance] = max(product, found.get(product.instance, product), key=_per_hour)
    return found


def _per_hour(product: Product) -> float:
    return product.per_hour


def _spot(client: Any, region: str, names: set[str]) -> dict[tuple[str, str], float]:
    """What an hour costs now, by machine type and zone: the newest of each. Local zones have other prices on demand."""
    pages = client.get_paginator("describe_spot_price_history").paginate(
        StartTime=datetime.now(UTC),
        ProductDescriptions=list(SPOT_SYSTEMS),
        Filters=[{"Name": "instance-type", "Values": sorted(names)}],
    )
    newest: dict[tuple[str, str], tuple[datetime, float]] = {}
    for row in (row for page in pages for row in field(page, "SpotPriceHistory", list, of=SPOT_WHAT)):
        name, zone = (field(row, key, str, of=SPOT_WHAT) for key in ("InstanceType", "AvailabilityZone"))
        paid = field(row, "Timestamp", datetime, of=SPOT_WHAT), amount(row, "SpotPrice", of=SPOT_WHAT)
        if (
            name in names
            and zone[:-1] == region
            and field(row, "ProductDescription", str, of=SPOT_WHAT) in SPOT_SYSTEMS
        ):
            key = name, row.get("AvailabilityZoneId") or zone
            newest[key] = max(paid, newest.get(key, paid))
    return {key: usd for key, (_, usd) in newest.items() if usd > 0}


@contextmanager
def _asking(what: str) -> Iterator[None]:
    """Translates the errors of botocore, with the place in the message."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as exc:
        raise _refusal(what, exc.response) from exc
    except (NoCredentialsError, PartialCredentialsError) as exc:
        raise AuthError(f"{what}: {exc}", hint=LOGIN) from exc
    except (BotoCoreError, ResponseParserError) as exc:
        raise StorageError(f"{what}: {exc}", hint="try again later") from exc
    except IntegrityError as exc:
        raise IntegrityError(f"{what}: {exc.message}", hint=exc.hint) from exc


def _refusal(what: str, response: Mapping[str, Any]) -> AuthError | StorageError:
    code, said = (response.get("Error", {}).get(key, "") for key in ("Code", "Message"))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code in REFUSALS or status in (401, 403):
        return AuthError(f"{what}: AWS refused with {code}: {said}", hint=LOGIN)
    return StorageError(f"{what}: AWS answered with {code}: {said}", hint="try again later")
