"""What some tests need of the operating system; without it they are skipped, with the reason."""

from __future__ import annotations

import importlib.util
import os
import sys

import pytest

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
needs_limits = pytest.mark.skipif(
    sys.modules.get("resource", "") is None or importlib.util.find_spec("resource") is None,
    reason="this system sets no limits to a process",
)
