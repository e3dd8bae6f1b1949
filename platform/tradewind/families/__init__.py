"""Model families: one file and one line of this table each."""

from tradewind.families.family import Family, ModelShape
from tradewind.plugins import Table

FAMILIES = Table("family", {"llama": "tradewind.families.llama:Llama"}, group="families")


def family(name: str) -> Family:
    """The family of that name. Raises NotFoundError with the nearest name."""
    found: Family = FAMILIES[name]()
    return found


__all__ = ["FAMILIES", "Family", "ModelShape", "family"]
