"""The fixtures of all tests here: see ``wall``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from wall import attackers, make_wall, wall

__all__ = ["attackers", "make_wall", "wall"]
