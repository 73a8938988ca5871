"""Run by Linux and by the LibOS, as root, in a directory of an ext2: what the flags of chattr(1) let nobody do."""

import errno
import fcntl
import mmap
import os
import struct
import sys
from collections.abc import Callable

GETFLAGS, SETFLAGS, GETVERSION = 0x80086601, 0x40086602, 0x80087601
SYNC, IMMUTABLE, APPEND, NODUMP, NOATIME, DIRSYNC = 0x8, 0x10, 0x20, 0x40, 0x80, 0x10000


def change(path: str, flags: int) -> None:
    fd = os.open(path, os.O_RDONLY)
    fcntl.ioctl(fd, SETFLAGS, struct.pack("<I", flags))
    os.close(fd)


def flags_of(path: str) -> str:
    fd = os.open(path, os.O_RDONLY)
    found = struct.unpack("<I", fcntl.ioctl(fd, GETFLAGS, bytes(4)))[0]
    os.close(fd)
    return hex(found)


def attempt(name: str, action: Callable[[], object]) -> None:
    try:
        result = action()
    except OSError as error:
        print(name, errno.errorcode[error.errno or 0])
    else:
        print(name, "ok" if result is None or isinstance(result, int) else result)


def opened(path: str, flags: int) -> None:
    os.close(os.open(path, flags))


def mapped(path: str, flags: int) -> None:
    fd = os.open(path, flags)
    try:
        mmap.mmap(fd, 4096).close()
    finally:
        os.close(fd)


def unappended(path: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, 0)
    finally:
        os.close(fd)


def with_descriptor(path: str, action: Callable[[int], object]) -> object:
    fd = os.open(path, os.O_RDWR | os.O_APPEND)
    try:
        return action(fd)
    finally:
        os.close(fd)


def try_all(label: str, flags: int) -> None:
    """Everything that changes a file or a directory, with ``flags`` set on both."""
    os.mkdir("d")
    for name in ("d/file", "d/old", "d/target"):
        with open(name, "wb") as file:
            file.write(bytes(4096))
    for name in ("d/file", "d/target"):
        change(name, flags)
    print(label, flags_of("d/file"))
    on_file = {
        "map": lambda: mapped("d/file", os.O_RDWR | os.O_APPEND),
        "open rdonly": lambda: opened("d/file", os.O_RDONLY),
        "open wronly": lambda: opened("d/file", os.O_WRONLY),
        "open append": lambda: opened("d/file", os.O_WRONLY | os.O_APPEND),
        "open append trunc": lambda: opened("d/file", os.O_WRONLY | os.O_APPEND | os.O_TRUNC),
        "open rdonly trunc": lambda: opened("d/file", os.O_RDONLY | os.O_TRUNC),
        "unappend": lambda: unappended("d/file"),
        "access": lambda: str(os.access("d/file", os.W_OK)),
        "truncate": lambda: os.truncate("d/file", 10),
        "ftruncate": lambda: with_descriptor("d/file", lambda fd: os.ftruncate(fd, 10)),
        "append": lambda: with_descriptor("d/file", lambda fd: os.write(fd, b"more")),
        "chmod": lambda: os.chmod("d/file", 0o600),
        "chown": lambda: os.chown("d/file", 1, 1),
        "utime": lambda: os.utime("d/file", (1, 1)),
        "touch": lambda: os.utime("d/file"),
        "setxattr": lambda: os.setxattr("d/file", "user.a", b"1"),
        "link": lambda: os.link("d/file", "d/other"),
        "rename": lambda: os.rename("d/file", "d/moved"),
        "replace": lambda: os.rename("d/old", "d/target"),
        "unlink": lambda: os.unlink("d/file"),
    }
    for name, action in on_file.items():
        attempt(f"{label} file {name}", action)
    names = os.listdir("d")
    for name in names:
        change(f"d/{name}", 0)
    change("d", flags)
    in_directory = {
        "create": lambda: opened("d/new", os.O_CREAT | os.O_WRONLY),
        "mkdir": lambda: os.mkdir("d/sub"),
        "symlink": lambda: os.symlink("x", "d/symlink"),
        "tmpfile": lambda: opened("d", os.O_TMPFILE | os.O_WRONLY),
        "link": lambda: os.link("d/target", "d/linked"),
        "write": lambda: opened("d/target", os.O_WRONLY | os.O_TRUNC),
        "rename": lambda: os.rename("d/target", "d/renamed"),
        "rename out": lambda: os.rename("d/renamed", "outside"),
        "unlink": lambda: os.unlink("d/other"),
        "rmdir": lambda: os.rmdir("d/sub"),
        "chmod": lambda: os.chmod("d", 0o700),
        "move": lambda: os.rename("d", "e"),
        "move back": lambda: os.rename("e", "d"),
    }
    for name, action in in_directory.items():
        attempt(f"{label} directory {name}", action)
    print(sorted(os.listdir("d")), sorted(os.listdir(".")))
    change("d", 0)
    os.system("rm -rf d outside")


def inherited() -> None:
    os.mkdir("parent")
    change("parent", NODUMP | NOATIME | SYNC | DIRSYNC)
    os.mkdir("parent/d")
    with open("parent/file", "wb") as file:
        file.write(b"x")
    print("inherited", flags_of("parent"), flags_of("parent/d"), flags_of("parent/file"))
    os.utime("parent/file", (1, 1))
    with open("parent/file", "rb") as file:
        file.read()
    print("atime", os.stat("parent/file").st_atime)


def unprivileged() -> None:
    with open("mine", "wb"), open("others", "wb"):
        os.chown("mine", 1000, 1000)
    os.seteuid(1000)
    attempt("others", lambda: change("others", NODUMP))
    attempt("mine nodump", lambda: change("mine", NODUMP))
    attempt("mine append", lambda: change("mine", NODUMP | APPEND))
    os.seteuid(0)
    print(flags_of("mine"), flags_of("others"))
    os.mkfifo("fifo")
    fd = os.open("fifo", os.O_RDWR)
    attempt("fifo", lambda: bool(fcntl.ioctl(fd, GETFLAGS, bytes(4))))
    attempt("null", lambda: fcntl.ioctl(os.open("mine", os.O_RDONLY), SETFLAGS, 0))


os.chdir(sys.argv[1])
os.umask(0o22)
try_all("immutable", IMMUTABLE)
try_all("append", APPEND)
try_all("none", 0)
inherited()
unprivileged()
change("mine", IMMUTABLE)  # for who mounts it next
