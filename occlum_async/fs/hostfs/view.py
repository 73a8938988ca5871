"""What of the host is shown when no root file system was named: programs, and what they need to run.

A view is a tree of names. Whatever is not in it does not exist: not for look-ups, not for listings. There
are no home folders, no /proc, /sys, /dev, /run of the host, of /etc only what has no secrets, and of /var only what
a package's program expects there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase


class View:
    """The names of one directory that are shown, each with the view below it (None: everything).

    Names may be patterns of fnmatch. A view is immutable and may be used at several places.
    """

    __slots__ = ("_names", "_patterns")

    def __init__(self, names: Mapping[str, View | None]) -> None:
        self._names = {name.encode(): view for name, view in names.items() if not _is_pattern(name)}
        self._patterns = [(name.encode(), view) for name, view in names.items() if _is_pattern(name)]

    def shows(self, name: bytes) -> bool:
        """Whether the directory has an entry of that name."""
        return name in self._names or any(fnmatchcase(name, pattern) for pattern, _ in self._patterns)

    def below(self, name: bytes) -> View | None:
        """The view of the directory ``name``, which is shown."""
        if name in self._names:
            return self._names[name]
        return next((view for pattern, view in self._patterns if fnmatchcase(name, pattern)), None)


def _is_pattern(name: str) -> bool:
    return any(character in name for character in "*?[")


def whole(names: Iterable[str]) -> dict[str, View | None]:
    """Each of ``names`` with everything below it."""
    return dict.fromkeys(names)


ETC = View(
    whole((
        "alternatives", "bash.bashrc", "bash_completion", "bash_completion.d", "bindresvport.blacklist",
        "ca-certificates", "ca-certificates.conf", "debian_version", "dircolors", "emacs", "fonts", "gai.conf",
        "group", "host.conf", "hosts", "inputrc", "issue", "issue.net", "java-*-openjdk", ".java", "jvm-*",
        "ld-musl-*.path", "ld-musl-*.d", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "less", "lesskey",
        "locale.alias", "locale.conf", "localtime", "login.defs", "magic", "magic.mime", "mailcap",
        "manpath.config", "mime.types", "motd", "nanorc", "netconfig", "networks", "nsswitch.conf", "os-release",
        "passwd", "perl", "profile", "profile.d", "protocols", "python*", "resolv.conf", "rpc", "screenrc",
        "services", "shells", "skel", "terminfo", "timezone", "tmux.conf", "vim", "xattr.conf", "xdg",
    ))
    | {"ssl": View(whole(["certs", "openssl.cnf"])), "X11": View(whole(["rgb.txt"]))}
    # Its configuration as Debian names it; keys and passwords that an administrator put next to it stay outside.
    | {"nginx": View(whole((
        "nginx.conf", "mime.types", "fastcgi.conf", "*_params", "koi-utf", "koi-win", "win-utf", "modules-available",
        "modules-enabled", "sites-available", "sites-enabled",
    )) | {"conf.d": View(whole(["*.conf"])), "snippets": View(whole(["*.conf"]))})}
)  # fmt: skip

EMPTY = View({})  # the folder itself, without what is in it
VAR = View({
    "lib": View({"nginx": EMPTY}),
    "log": View({"nginx": EMPTY}),
    "www": View({"html": View(whole(["index.nginx-debian.html"]))}),
})  # fmt: skip

# Not shown: ssl/private, shadow, gshadow, sudoers, ssh, machine-id, environment, pip.conf, npmrc and so on.
DEFAULT_VIEW = View(whole(["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "opt"]) | {"etc": ETC, "var": VAR})
