"""The command line's grammar: a subcommand's options are the fields of a dataclass.

Words are read as ``docker run`` reads them: options come first, bundled or with ``=`` as getopt(3) has it, and
the first word that is no option ends them: what follows belongs to the program.
"""

from __future__ import annotations

import getopt
import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, TypeVar

from ..errors import ConfigError

T = TypeVar("T")
COLUMN = 34  # where an option's explanation begins
WIDTH = 110


class HelpWanted(Exception):
    """``-h`` or ``--help`` was given."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option: its names, what it takes (``metavar``, empty for a switch) and what becomes of that."""

    names: tuple[str, ...]
    help: str
    metavar: str
    convert: Callable[[str], Any]
    many: bool
    values: dict[str, Any]

    def read(self, name: str, text: str) -> Any:
        """The value that ``name text`` stands for; ``ConfigError`` when it stands for none."""
        if not self.metavar:
            return self.values.get(name, True)
        try:
            return self.convert(text)
        except ValueError as error:
            raise ConfigError(f"{name}: {text!r} can't be used", str(error)) from None


def option(
    *names: str,
    help: str,
    metavar: str = "",
    default: Any = None,
    convert: Callable[[str], Any] = str,
    many: bool = False,
    values: dict[str, Any] | None = None,
) -> Any:
    """A field that is an option; ``many``: it may be repeated and gives a tuple.

    A switch (no ``metavar``) gives True, or what ``values`` has for its name.
    """
    meaning = Option(names, help, metavar, convert, many, values or {})
    if many:
        default = ()
    elif not metavar and not values:
        default = False
    return field(default=default, metadata={"option": meaning})


def choice(*words: str) -> Callable[[str], str]:
    """A conversion that lets only these words through."""

    def convert(text: str) -> str:
        if text not in words:
            raise ValueError(f"it is one of {', '.join(words)}")
        return text

    return convert


def at_least(minimum: float, kind: type[int] | type[float]) -> Callable[[str], float]:
    """A conversion to a finite number that is not below ``minimum``."""

    def convert(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise ValueError("write a number") from None
        if not minimum <= value < float("inf"):
            raise ValueError(f"it must be at least {minimum}")
        return value

    return convert


def _options(shape: type[Any]) -> list[tuple[Field[Any], Option]]:
    return [(item, item.metadata["option"]) for item in fields(shape) if "option" in item.metadata]


def parse(shape: type[T], words: Sequence[str]) -> T:
    """The words as an instance of ``shape``. ``ConfigError`` for what it has no place for.

    Fields that are no options take the remaining words in their order; a tuple takes all that are left.
    """
    known = {name: (item.name, meaning) for item, meaning in _options(shape) for name in meaning.names}
    short = "h" + "".join(n[1:] + ":" * bool(m.metavar) for n, (_, m) in known.items() if not n.startswith("--"))
    long = ["help"] + [n[2:] + "=" * bool(m.metavar) for n, (_, m) in known.items() if n.startswith("--")]
    try:
        found, rest = getopt.getopt(list(words), short, long)
    except getopt.GetoptError as error:
        raise ConfigError(error.msg) from None
    given: dict[str, Any] = {}
    for name, text in found:
        if name in ("-h", "--help"):
            raise HelpWanted
        target, meaning = known[name]
        value = meaning.read(name, text)
        if meaning.many:
            given[target] = (*given.get(target, ()), value)
        else:
            given[target] = value
    given.update(_positionals(shape, rest))
    return shape(**given)


def _positionals(shape: type[Any], words: list[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for item in fields(shape):
        if "option" in item.metadata:
            continue
        if item.default is not MISSING:
            given[item.name], words = tuple(words), []
        elif words:
            given[item.name], words = words[0], words[1:]
        else:
            raise ConfigError(f"{item.name.upper()} is missing")
    if words:
        raise ConfigError(f"{words[0]!r} is one word too many")
    return given


def usage(shape: type[Any]) -> str:
    """What may stand after the subcommand's name."""
    pieces = ["[OPTIONS]"]
    for item in fields(shape):
        if "option" not in item.metadata:
            pieces.append("[ARGS...]" if item.default is not MISSING else item.name.upper())
    return " ".join(pieces)


def explain(shape: type[Any]) -> str:
    """What the subcommand does, and its options: the body of a help text."""
    lines = [inspect.cleandoc(shape.__doc__ or ""), "", "Options:"]
    for _, meaning in _options(shape):
        lines.append(_entry(f"{', '.join(meaning.names)} {meaning.metavar}".rstrip(), meaning.help))
    lines.append(_entry("-h, --help", "Show this and exit."))
    return "\n".join(lines)


def _entry(left: str, right: str) -> str:
    import textwrap

    indent = " " * COLUMN
    text = textwrap.fill(right, WIDTH, initial_indent=indent, subsequent_indent=indent)
    left = "  " + left
    return left + text[len(left) :] if len(left) < COLUMN - 1 else f"{left}\n{text}"
