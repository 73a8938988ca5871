"""``python -m occlum_async``."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress

# What loading modules makes lives until the end; looking for garbage in it would take a tenth of the start.
gc.disable()

from .cli import main  # noqa: E402

# Nothing of ours may get the number of a standard stream that whoever started us has closed.
for fd in range(3):
    with suppress(OSError):
        os.fstat(fd)
        continue
    os.open(os.devnull, os.O_RDWR)
sys.stdout = sys.stdout or os.fdopen(1, "w")
sys.stderr = sys.stderr or os.fdopen(2, "w")

status = main()
for stream in (sys.stdout, sys.stderr):
    with suppress(OSError, ValueError):  # whoever read it has gone
        stream.flush()
# Everything is shut down in order by now: what the interpreter would do at its end is only to free memory.
os._exit(status)
