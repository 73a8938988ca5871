"""The table of declared system calls, and the decorator that fills it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from ..abi.marshal import Argument
from ..abi.signals import Restart as Restart

Handler = TypeVar("Handler", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Declaration:
    """One declared system call."""

    number: int
    name: str
    handler: Callable[..., Any]
    arguments: tuple[Argument, ...]
    names: tuple[str, ...]
    restart: Restart
    blocking: bool


TABLE: dict[int, Declaration] = {}


def syscall(number: int, restart: Restart = Restart.SYS) -> Callable[[Handler], Handler]:
    """Declare the decorated function as the handler of x86-64 system call ``number``."""

    def declare(handler: Handler) -> Handler:
        assert number not in TABLE, f"system call {number} is declared twice"
        hints = get_type_hints(handler, include_extras=True)
        parameters = list(inspect.signature(handler).parameters)[1:]
        arguments = tuple(_argument(handler, name, hints) for name in parameters)
        TABLE[number] = Declaration(
            number, handler.__name__.rstrip("_"), handler, arguments, tuple(parameters), restart,
            inspect.iscoroutinefunction(handler),
        )  # fmt: skip
        return handler

    return declare


def _argument(handler: Callable[..., Any], name: str, hints: dict[str, Any]) -> Argument:
    for item in getattr(hints.get(name), "__metadata__", ()):
        if isinstance(item, Argument):
            return item
    raise TypeError(f"{handler.__module__}.{handler.__name__}: {name!r} does not say how it travels")
