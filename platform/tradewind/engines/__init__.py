"""Model engines: one file and one line of this table each."""

from tradewind.engines.engine import Engine, EngineLoad, EngineSettings, Piece, Prompt, Sampling, TextEngine
from tradewind.plugins import Table

ENGINES = Table(
    "engine",
    {
        "echo": "tradewind.engines.echo:EchoEngine",
        "predict": "tradewind.engines.predict:PredictEngine",
        "transformers": "tradewind.engines.transformers:TransformersEngine",
        "vllm": "tradewind.engines.vllm:VllmEngine",
    },
)


def engine(name: str) -> Engine:
    """A new engine of that name, not started. Raises NotFoundError with the nearest name."""
    made: Engine = ENGINES[name]()
    return made


__all__ = ["ENGINES", "Engine", "EngineLoad", "EngineSettings", "Piece", "Prompt", "Sampling", "TextEngine", "engine"]
