"""The LibOS object: what an embedder uses, and what ``run`` is a thin layer over.

``boot`` puts the rooms together, ``rootfs`` lays out what programs see, ``embedded`` is a spawned program with
the shape of ``asyncio.subprocess.Process``.
"""

from ..io.boundary import RingOptions
from .embedded import Process, ReadStream, WriteStream
from .libos import LibOS
from .mounts import Bind, Ext2Mount, SefsMount, Tmpfs

__all__ = ["Bind", "Ext2Mount", "LibOS", "Process", "ReadStream", "RingOptions", "SefsMount", "Tmpfs", "WriteStream"]
