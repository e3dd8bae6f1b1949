"""What really happened and what it took: metered work, written down as usage."""

from tradewind.ledger.meter import Meter, effort
from tradewind.ledger.usage import Ledger, usage

__all__ = ["Ledger", "Meter", "effort", "usage"]
