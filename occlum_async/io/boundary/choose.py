"""Which boundary this host allows."""

from __future__ import annotations

import logging

from ...errors import ConfigError, HostUnsupported
from ...sched.strand import Scheduler
from .base import Boundary
from .counters import EXIT_COST_MAX, make_counters
from .ocall import OcallBoundary
from .options import DEFAULT, RingOptions
from .uring import UringBoundary

log = logging.getLogger(__name__)


def open_boundary(kind: str, scheduler: Scheduler, exit_cost: int = 0, ring: RingOptions = DEFAULT) -> Boundary:
    """A boundary of ``kind``: "uring", "ocall", or "auto" for the first that this host allows.

    ``exit_cost`` models an enclave: so many cycles are spent at each exit. ``ring`` lays the io_urings out.
    "uring" raises ``HostUnsupported`` where the host refuses it; "auto" falls back with one line in the log.
    """
    if kind not in ("uring", "ocall", "auto"):
        raise ConfigError(f"unknown boundary {kind!r}", "use uring, ocall or auto")
    if not 0 <= exit_cost <= EXIT_COST_MAX:
        raise ConfigError(f"an exit can't cost {exit_cost} cycles", f"choose between 0 and {EXIT_COST_MAX}")
    if kind == "ocall" and ring != DEFAULT:
        raise ConfigError("plain calls use no io_uring to lay out", "leave the ring's options out, or use uring")
    counters = make_counters(exit_cost)
    if kind == "ocall":
        return OcallBoundary(scheduler, counters)
    try:
        return UringBoundary(scheduler, counters, ring)
    except HostUnsupported as error:
        if kind == "uring":
            raise
        log.warning("%s; falling back to plain calls (--boundary ocall)", error.message)
        return OcallBoundary(scheduler, counters)
