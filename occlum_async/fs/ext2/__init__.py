"""The second extended file system, on any block device: Linux reads what it writes, and the other way round."""

from __future__ import annotations

from .filesystem import Ext2
from .mkfs import mkfs
from .resize import grow

__all__ = ["Ext2", "grow", "mkfs"]
