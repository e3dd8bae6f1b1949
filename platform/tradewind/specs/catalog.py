"""What one team knows beyond public price lists: its discounts, its reservations, its own machines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, PositiveFloat, WithJsonSchema, model_validator

from tradewind.specs.base import Block, Spec
from tradewind.specs.reference import Name
from tradewind.units import Bytes

DOLLAR = "USD"
_AMOUNT = re.compile(r"([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Z]{3})?")

Precision = Literal["fp32", "bf16", "fp16", "fp8", "int8", "int4"]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


def parse_amount(text: str) -> tuple[float, str]:
    """Amount and currency of `12.5`, which are dollars, or of `12.5 EUR`."""
    match = _AMOUNT.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not an amount; write 12.5 for dollars, or 12.5 EUR")
    return float(match[1]), match[2] or DOLLAR


def _checked_amount(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is not an amount; write 12.5 for dollars, or 12.5 EUR")
    amount, currency = parse_amount(str(value))
    return f"{amount!r} {currency}"


Amount = Annotated[
    str, BeforeValidator(_checked_amount), WithJsonSchema({"type": ["number", "string"], "examples": ["12.5 EUR"]})
]


class DiscountSpec(Block):
    """What is paid instead of the list price. Patterns are those of file names."""

    cloud: str = Field(default="*", min_length=1, description="pattern of clouds")
    region: str = Field(default="*", min_length=1, description="pattern of regions")
    instance: str = Field(default="*", min_length=1, description="pattern of machine types")
    market: Literal["on_demand", "spot", "*"] = Field(default="*", description="which prices")
    percent: float | None = Field(default=None, gt=0, le=100, description="off the list price")
    price_per_hour: Amount | None = Field(default=None, description="of one machine, instead of the list price")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.percent is None) == (self.price_per_hour is None):
            raise ValueError("give `percent` or `price_per_hour`" + ("" if self.percent is None else ", not both"))
        return self


class ReservationSpec(Block):
    """Machines that a contract keeps free for the team until a day."""

    cloud: str
    region: str
    zone: str = ""
    instance: str = Field(description="machine type")
    machines: int = Field(ge=1)
    price_per_hour: Amount = Field(description="of one machine, paid whether it is used or not")
    until: date = Field(description="the last day")


class ChipSpec(Block):
    """A chip that the catalogue does not know, described wholly."""

    name: str = Field(min_length=1)
    vendor: str = Field(min_length=1, description="chips of two vendors never work in one group")
    kind: Literal["gpu", "tpu", "asic", "cpu"]
    memory: Bytes = Field(gt=0)
    memory_bytes_per_s: PositiveFloat
    flops: dict[Precision, PositiveFloat] = Field(min_length=1, description="dense peaks by number format")
    link: str = Field(default="", description="what joins the chips of one machine")
    link_bytes_per_s: PositiveFloat | None = Field(default=None, description="for one chip and one direction")
    power_w: PositiveFloat
    runtime: Literal["cuda", "rocm", "xla", "neuron", "hpu", "cann", "cpu"]


class HardwareSpec(Block):
    """Machines of one's own, alike, in one place."""

    name: Name = Field(description="of the machine type")
    place: Name = Field(description="of the building or the room; offers are in onprem/PLACE")
    machines: int = Field(ge=1)
    chip: str = Field(default="", description="accelerator, by its name in the catalogue or in `chips`")
    chips: int = Field(default=0, ge=0, description="accelerators of one machine")
    processors: float = Field(gt=0, description="virtual processors of one machine")
    memory: Bytes = Field(gt=0)
    local_disk: Bytes | None = Field(default=None, gt=0)
    network_bytes_per_s: PositiveFloat | None = Field(default=None, description="to other machines, in one direction")
    rdma: Literal["", "yes", "no", "roce"] = ""
    price_per_hour: Amount = Field(description="what an hour of one machine is reckoned to cost")
    power_w: PositiveFloat | None = Field(default=None, description="of one machine under load")
    pue: float | None = Field(default=None, ge=1, description="energy of the building over energy of its machines")
    carbon_g_per_kwh: float | None = Field(default=None, ge=0, description="of its electricity")
    country: Country | None = None

    @model_validator(mode="after")
    def _chips_are_counted(self) -> Self:
        if bool(self.chip) != bool(self.chips):
            raise ValueError("chip and chips go together: which accelerator, and how many")
        return self


class CatalogSpec(Spec):
    kind: ClassVar[str] = "catalog"

    name: Name
    discounts: tuple[DiscountSpec, ...] = ()
    reservations: tuple[ReservationSpec, ...] = ()
    hardware: tuple[HardwareSpec, ...] = ()
    chips: tuple[ChipSpec, ...] = ()
    usd_per_unit: dict[Currency, PositiveFloat] = Field(default={}, description="dollars for one unit of a currency")

    @model_validator(mode="after")
    def _amounts_are_dollars(self) -> Self:
        used = sorted({parse_amount(amount)[1] for amount in self._amounts()})
        if len(used) > 1:
            raise ValueError(f"amounts in {' and '.join(used)}: one file has one currency; a bare number is in USD")
        for currency in used:
            if currency != DOLLAR and currency not in self.usd_per_unit:
                raise ValueError(f"amounts in {currency} need its rate: usd_per_unit: {{{currency}: …}}")
        if DOLLAR in self.usd_per_unit:
            raise ValueError("usd_per_unit is of other currencies than USD")
        return self

    def usd(self, amount: str) -> float:
        """An amount of this file in dollars."""
        number, currency = parse_amount(amount)
        return number if currency == DOLLAR else number * self.usd_per_unit[currency]

    def _amounts(self) -> Iterator[str]:
        yield from (one.price_per_hour for one in self.discounts if one.price_per_hour is not None)
        yield from (one.price_per_hour for one in self.reservations)
        yield from (one.price_per_hour for one in self.hardware)
