"""Road scenes for detector training."""
from __future__ import annotations

from .reader_sample import degrade, render_reader_sample  # noqa: F401  (part of this module's face)
