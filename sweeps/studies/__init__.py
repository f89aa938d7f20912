"""The gallery of studies: classic experiments whose figures are checked.

Imports common and plots.
"""

from typing import TYPE_CHECKING

from fastopt.late import late_names
from sweeps.studies.command import main

if TYPE_CHECKING:
    from sweeps.studies.findings import Findings
else:
    __getattr__, __dir__ = late_names(__name__)

__all__ = ["Findings", "main"]
