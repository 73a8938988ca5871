"""``python -m occlum_async``."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress

# What loading modules makes lives until the end; looking for garbage in it would take a tenth of the start.
gc.disable()

from .cli import main  # noqa: E402

status = main()
for stream in (sys.stdout, sys.stderr):
    with suppress(OSError, ValueError):  # whoever read it has gone
        stream.flush()
# Everything is shut down in order by now: what the interpreter would do at its end is only to free memory.
os._exit(status)
