"""The gallery of studies: classic experiments whose figures are checked.

Imports everything but the command line.
"""

from sweeps.studies.findings import Findings
from sweeps.studies.gallery import main

__all__ = ["Findings", "main"]
