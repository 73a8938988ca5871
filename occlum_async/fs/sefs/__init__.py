"""sefs: each file a Merkle tree of sealed 4 KiB nodes in a host file of its own, changed in place.

It is what Occlum users have in their configurations, and what MlsDisk is measured against. ``tree`` is one such host
file, ``journal`` what undoes half of a change, ``inode`` and ``filesystem`` the files and folders.

It keeps less than a sealed disk: the host sees how many files there are and how large each is, each file is synced by
itself, and the host may offer an older state of one file, or of all of them, without being noticed.
"""

from .filesystem import Sefs

__all__ = ["Sefs"]
