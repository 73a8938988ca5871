"""The fixtures of all tests here: see ``wall``."""

from __future__ import annotations

from .wall import attackers, make_wall, wall

__all__ = ["attackers", "make_wall", "wall"]
