"""Trained models out of a sweep: their parameters, predictions, conversions and files.

Imports common, space, problems, engine, running, analysis and extend.
"""

from sweeps.models.columns import Category, Columns, Gap, Number
from sweeps.models.ensemble import Ensemble, load
from sweeps.models.model import Model
from sweeps.models.network import Network
from sweeps.models.trained import model_of
from sweeps.models.transformers import columns_of

__all__ = [
    "Category", "Columns", "Ensemble", "Gap", "Model", "Network", "Number", "columns_of",
    "load", "model_of",
]  # fmt: skip
