"""procfs: the LibOS's processes and settings as files, in the formats that programs parse.

The kernel object is handed in at boot; ``views`` names what is used of it. Nothing here imports the process
model, and nothing of the host shows but what its CPUs can do.
"""

from .filesystem import ProcFs
from .root import make_procfs

__all__ = ["ProcFs", "make_procfs"]
