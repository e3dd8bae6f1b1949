"""The `predict` engine: any model that answers a batch of inputs at once, in batches that keep to deadlines."""

from tradewind.engines.predict.engine import PredictEngine
from tradewind.engines.predict.predictors import Predictor

__all__ = ["PredictEngine", "Predictor"]
