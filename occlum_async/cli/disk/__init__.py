"""``disk``: make disks, look at them, and move files in and out, without a LibOS.

One module per command, of the same shape as the subcommands themselves.
"""

from __future__ import annotations

COMMANDS = {
    "create": "Make a disk with an empty file system.",
    "check": "Verify every block of a disk, and read every file.",
    "stats": "Tell how full a disk is.",
    "copy-in": "Copy host files into a disk.",
    "copy-out": "Copy files of a disk to the host.",
    "resize": "Make a disk larger or smaller.",
}
