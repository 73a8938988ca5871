"""The page cache: the pages of files that live on a disk, shared by read(2), write(2) and mmap(2).

``cache`` is the whole with its limits, ``file`` the pages of one file, ``mapped`` what guests have mapped of it,
``writeback`` the way to the disk, ``store`` what a file system gives, ``inode`` what it gets in turn.
"""

from .cache import DEFAULT_LIMIT, MIN_LIMIT, PageCache
from .file import CachedFile
from .inode import CachedInode
from .store import PAGE, Data, PageStore

__all__ = ["DEFAULT_LIMIT", "MIN_LIMIT", "PAGE", "CachedFile", "CachedInode", "Data", "PageCache", "PageStore"]
