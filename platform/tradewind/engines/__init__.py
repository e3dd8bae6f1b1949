"""Model engines: one file and one line of this table each."""

from tradewind.engines.engine import Engine, EngineStats, Piece, Sampling
from tradewind.plugins import Table

ENGINES = Table("engine", {"transformers": "tradewind.engines.transformers:TransformersEngine"})


def engine(name: str) -> Engine:
    """A new engine of that name, not started. Raises NotFoundError with the nearest name."""
    made: Engine = ENGINES[name]()
    return made


__all__ = ["ENGINES", "Engine", "EngineStats", "Piece", "Sampling", "engine"]
