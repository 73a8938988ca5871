"""The table of declared system calls, and the decorator that fills it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

import msgspec

from ..abi.marshal import Argument
from ..abi.signals import Restart as Restart

Handler = TypeVar("Handler", bound=Callable[..., Any])


class Declaration(msgspec.Struct, frozen=True):
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
        assert isinstance(handler, FunctionType)
        assert number not in TABLE, f"system call {number} is declared twice"
        code = handler.__code__
        names = code.co_varnames[1 : code.co_argcount]
        arguments = tuple(_argument(handler, name) for name in names)
        TABLE[number] = Declaration(
            number, handler.__name__.rstrip("_"), handler, arguments, names, restart,
            inspect.iscoroutinefunction(handler),
        )  # fmt: skip
        return handler

    return declare


# By module and the annotation's text: a boot evaluates each once, a quarter of what typing.get_type_hints does.
_known: dict[tuple[str, str], Argument] = {}


def _argument(handler: FunctionType, name: str) -> Argument:
    text = handler.__annotations__.get(name, "None")
    argument = _known.get((handler.__module__, text))
    if argument is None:
        metadata = getattr(eval(text, handler.__globals__), "__metadata__", ())
        argument = next((item for item in metadata if isinstance(item, Argument)), None)
        if argument is None:
            raise TypeError(f"{handler.__module__}.{handler.__name__}: {name!r} does not say how it travels")
        _known[handler.__module__, text] = argument
    return argument
