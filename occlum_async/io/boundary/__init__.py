"""The boundary: the only module of the kernel that does I/O on the host.

One interface (``base.Boundary``), two implementations: ``uring`` submits to an io_uring, ``ocall`` makes
plain calls. Every call that leaves is counted here, every answer is checked here. Nothing in here knows
what the bytes mean; whoever needs something of the host asks a boundary for it.
"""

from .base import Boundary
from .choose import open_boundary
from .counters import Counters
from .options import RingOptions

__all__ = ["Boundary", "Counters", "RingOptions", "open_boundary"]
