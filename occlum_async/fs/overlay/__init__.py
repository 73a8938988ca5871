"""Several trees seen as one: read-only lower layers under one writable upper layer, as Linux's overlayfs.

``filesystem`` is the instance, ``inode`` what all kinds of files have in common, ``directory`` the merging
of names, ``listing`` the stable order of a merged directory, ``copyup`` how a lower file becomes an upper one.
"""

from .filesystem import OverlayFs

__all__ = ["OverlayFs"]
