"""What a system call answers that ended with an error."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING

from ..abi.errors import SyscallError
from .sending import send_to_thread
from .siginfo import SigInfo

if TYPE_CHECKING:
    from .thread import Thread

log = logging.getLogger(__name__)


def failed(thread: Thread, name: str, error: BaseException) -> int:
    """The negative errno, after the signal that comes with it; an error of the kernel's own is an oops: logged, EIO.

    ``Interrupted`` is not for here: what it means, only the caller knows.
    """
    if isinstance(error, SyscallError):
        if error.signal:
            send_to_thread(thread, SigInfo.kernel(error.signal))
        return -error.errno
    thread.kernel.stats.oopses += 1
    log.error("oops in %s of %r", name, thread, exc_info=error)
    return -errno.EIO
