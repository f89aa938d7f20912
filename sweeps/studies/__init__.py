"""The gallery of studies: classic experiments whose figures are checked.

Imports common and plots.
"""

from sweeps.studies.command import main
from sweeps.studies.findings import Findings

__all__ = ["Findings", "main"]
