"""Who a program runs as: --user, looked up in the LibOS's own /etc/passwd and /etc/group."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import ConfigError
from ..fs.access import FileAccess
from ..fs.credentials import Credentials

_ID_MAX = (1 << 32) - 2


class Account(NamedTuple):
    """A user: what it may do, and its home directory ("/" for one that /etc/passwd does not know)."""

    credentials: Credentials
    home: str


async def find_user(fs: FileAccess, user: str) -> Account:
    """The account of "name", "uid", "name:group" or "uid:gid"; ``ConfigError`` for an unknown name."""
    name, colon, group = user.partition(":")
    passwd = await _entries(fs, "/etc/passwd")
    entry = next((e for e in passwd if len(e) > 3 and name in (e[0], e[2])), None)
    uid = _number(name) if entry is None else int(entry[2])
    if uid is None:
        raise ConfigError(f"--user: no user {name!r} in the LibOS's /etc/passwd", "use a uid, or a name that is there")
    groups = await _entries(fs, "/etc/group")
    home = entry[5] if entry is not None and len(entry) > 5 and entry[5] else "/" if uid else "/root"
    gid = int(entry[3]) if entry is not None else 0
    if colon:
        found = next((int(g[2]) for g in groups if len(g) > 2 and g[0] == group), _number(group))
        if found is None:
            raise ConfigError(f"--user: no group {group!r} in the LibOS's /etc/group")
        return Account(Credentials.of(uid, found, (found,)), home)
    if entry is None:
        return Account(Credentials.of(uid, gid, (gid,)), home)
    more = tuple(int(g[2]) for g in groups if len(g) > 3 and entry[0] in g[3].split(",") and int(g[2]) != gid)
    return Account(Credentials.of(uid, gid, (gid, *more)), home)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and int(text) <= _ID_MAX else None


async def _entries(fs: FileAccess, path: str) -> list[list[str]]:
    try:
        text = await fs.read_text(path)
    except (OSError, UnicodeDecodeError):
        return []
    return [line.split(":") for line in text.splitlines() if line and not line.startswith("#")]
