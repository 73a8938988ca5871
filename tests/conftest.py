"""What all tests share: the folder of the tests can be imported from, as ``harness``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
