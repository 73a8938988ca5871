"""Files, maps, locks, a database, watches, compression, terminals."""

import contextlib
import ctypes
import errno
import fcntl
import json
import mmap
import os
import pathlib
import pty
import select
import shutil
import socket
import sqlite3
import stat
import struct
import tempfile
import zipfile

root = pathlib.Path(tempfile.mkdtemp(dir="."))


def maps():
    path = root / "mapped"
    path.write_bytes(bytes(8192))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as whole:
        whole[4090:4100] = b"0123456789"
        if os.fork() == 0:
            whole[0:5] = b"child"
            os._exit(0)
        os.wait()
        whole.flush()
        file.seek(4090)
        print(whole[:5], file.read(10), whole.find(b"9"))
        with mmap.mmap(file.fileno(), 4096, access=mmap.ACCESS_COPY) as private:
            private[:3] = b"XXX"
            print(path.read_bytes()[:5])
    with mmap.mmap(-1, 4096) as shared:
        if os.fork() == 0:
            shared[:4] = struct.pack("<i", 42)
            os._exit(0)
        os.wait()
        print(struct.unpack("<i", shared[:4]))
    fd = os.memfd_create("name", os.MFD_ALLOW_SEALING)
    os.write(fd, b"sealed")
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK)
    with contextlib.suppress(PermissionError):
        os.write(fd, b"more")
        print("not sealed")
    print(os.pread(fd, 10, 0), os.readlink(f"/proc/self/fd/{fd}"))


def names():
    folder = root / "tree"
    for i in range(5):
        (folder / f"d{i}").mkdir(parents=True)
        (folder / f"d{i}" / "file").write_text(str(i) * i)
    shutil.copytree(folder, root / "copy", symlinks=True)
    print(sorted(p.relative_to(root).as_posix() for p in root.rglob("file")))
    os.rename(folder / "d1", folder / "d9")
    os.link(folder / "d2/file", folder / "hard")
    print(os.stat(folder / "hard").st_nlink, sorted(os.listdir(folder)))
    for call in (
        lambda: os.rmdir(folder), lambda: os.mkdir(folder), lambda: os.unlink(folder / "none"),
        lambda: os.open(folder / "hard/x", os.O_RDONLY), lambda: os.symlink("x", folder / "hard"),
        lambda: os.open("a" * 300, os.O_RDONLY), lambda: os.rename(folder, folder / "d2/x"),
    ):  # fmt: skip
        try:
            call()
        except OSError as error:
            print(errno.errorcode[error.errno])
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600, dir_fd=directory)
    os.write(fd, b"nameless")
    os.link(f"/proc/self/fd/{fd}", "named", dst_dir_fd=directory, follow_symlinks=True)
    print((root / "named").read_text(), os.fstat(fd).st_nlink)
    os.setxattr(root / "named", "user.note", b"value")
    print(os.listxattr(root / "named"), os.getxattr(root / "named", "user.note"))
    with os.scandir(folder) as entries:
        print(sorted((e.name, e.is_dir(), e.is_symlink()) for e in entries))
    shutil.rmtree(folder)
    print(folder.exists(), stat.filemode((root / "copy").stat().st_mode))


def regions():
    fd = os.open(root / "holes", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"end", 1 << 20)
    print(os.lseek(fd, 0, os.SEEK_HOLE), os.lseek(fd, 0, os.SEEK_DATA) > 0, os.fstat(fd).st_size)
    os.posix_fallocate(fd, 0, 4096)
    other = os.open(root / "other", os.O_RDWR | os.O_CREAT)
    print(os.copy_file_range(fd, other, 8192), os.sendfile(other, fd, 1 << 20, 10), os.fstat(other).st_size)
    os.preadv(fd, [bytearray(2), buffer := bytearray(2)], (1 << 20) - 1)
    print(buffer, os.pwritev(fd, [b"ab", b"cd"], 0))
    fcntl.lockf(fd, fcntl.LOCK_EX, 10, 0)
    if os.fork() == 0:
        mine = os.open(root / "holes", os.O_RDWR)
        try:
            fcntl.lockf(mine, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 5)
        except BlockingIOError:
            fcntl.lockf(mine, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 10)
            os._exit(7)
        os._exit(1)
    print(os.waitstatus_to_exitcode(os.wait()[1]))
    reader, writer = os.pipe()
    print(fcntl.fcntl(writer, 1031, 1 << 18), os.splice(fd, writer, 3, offset_src=1 << 20), os.read(reader, 10))


def database():
    with contextlib.closing(sqlite3.connect(root / "base")) as connection:
        print(connection.execute("pragma journal_mode=wal").fetchone())
        connection.execute("create table t(a integer primary key, b text)")
        with connection:
            connection.executemany("insert into t(b) values (?)", [(f"row {i}",) for i in range(1000)])
        with contextlib.suppress(ZeroDivisionError), connection:
            connection.execute("delete from t")
            raise ZeroDivisionError
        print(connection.execute("select count(*), max(b) from t").fetchall())
    with zipfile.ZipFile(root / "zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("name", "content" * 1000)
    print(zipfile.ZipFile(root / "zip").testzip(), json.loads(json.dumps({"a": [1, None]})))


def watches():
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    libc.inotify_add_watch(watch, os.fsencode(root), 0x3C6)
    (root / "seen").write_text("x")
    os.rename(root / "seen", root / "gone")
    os.unlink(root / "gone")
    select.select([watch], [], [])
    data, at = os.read(watch, 4096), 0
    while at < len(data):
        _, mask, cookie, size = struct.unpack_from("iIII", data, at)
        print(hex(mask), bool(cookie), data[at + 16 : at + 16 + size].rstrip(b"\0"))
        at += 16 + size


def terminals():
    pid, master = pty.fork()
    if pid == 0:
        os.execvp("sh", ["sh", "-c", "read line; echo got $line; stty -a | grep -c -- echoe; test -t 0 && exit 3"])
    os.write(master, b"typed\n")
    seen = b""
    with contextlib.suppress(OSError):
        while data := os.read(master, 1000):
            seen += data
    print(seen, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def sockets():
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reader, writer = os.pipe()
    socket.send_fds(left, [b"fds"], [writer])
    message, fds, _, _ = socket.recv_fds(right, 10, 4)
    os.write(fds[0], b"passed")
    print(message, os.read(reader, 10))
    server = socket.socket(socket.AF_UNIX)
    server.bind("\0abstract")
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect("\0abstract")
    peer, _ = server.accept()
    print(struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0] == os.getpid())
    poll = select.epoll()
    poll.register(peer, select.EPOLLIN | select.EPOLLET)
    client.send(b"x")
    print([event for _, event in poll.poll(5)], poll.poll(0))


for step in (maps, names, regions, database, watches, terminals, sockets):
    step()
