"""Which boundary this host allows."""

from __future__ import annotations

import logging

from ...errors import ConfigError, HostUnsupported
from ...sched.strand import Scheduler
from .base import Boundary
from .ocall import OcallBoundary
from .uring import UringBoundary

log = logging.getLogger(__name__)


def open_boundary(kind: str, scheduler: Scheduler) -> Boundary:
    """A boundary of ``kind``: "uring", "ocall", or "auto" for the first that this host allows.

    "uring" raises ``HostUnsupported`` where the host refuses it; "auto" falls back with one line in the log.
    """
    if kind not in ("uring", "ocall", "auto"):
        raise ConfigError(f"unknown boundary {kind!r}", "use uring, ocall or auto")
    if kind == "ocall":
        return OcallBoundary(scheduler)
    try:
        return UringBoundary(scheduler)
    except HostUnsupported as error:
        if kind == "uring":
            raise
        log.warning("%s; falling back to plain calls (--boundary ocall)", error.message)
        return OcallBoundary(scheduler)
