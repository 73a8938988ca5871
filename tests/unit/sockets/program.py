"""Not a test: a program that prints facts about sockets, to be run natively and in the LibOS."""

import ctypes
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import tempfile
from collections.abc import Callable
from typing import Any


def attempt(label: str, action: Callable[[], Any]) -> None:
    try:
        print(label, action())
    except OSError as error:
        print(label, errno.errorcode[error.errno or 0])


def shape(ancillary: list[tuple[int, int, bytes]]) -> list[tuple[int, int, int]]:
    return [(level, kind, len(data)) for level, kind, data in ancillary]


def control_messages() -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    own = struct.pack("3i", os.getpid(), os.getuid(), os.getgid())
    one.sendmsg([b"cred"], [(1, 2, own)])
    data, ancillary, flags, _ = other.recvmsg(10, 100)
    print(data, ancillary[0][2] == own, flags)
    attempt("wrong length", lambda: one.sendmsg([b"x"], [(1, 2, b"xx")]))
    attempt("wrong type", lambda: one.sendmsg([b"x"], [(1, 9, b"xx")]))
    attempt("wrong fd", lambda: one.sendmsg([b"x"], [(1, 1, struct.pack("i", 777))]))
    attempt("other level", lambda: one.sendmsg([b"x"], [(5, 1, struct.pack("i", 777))]))
    other.recv(1)
    three = struct.pack("3i", 0, 1, 2)
    for room in (100, 16 + 12 + 16 + 8, 20, 0):
        one.sendmsg([b"files"], [(1, 1, three)])
        data, ancillary, flags, _ = other.recvmsg(10, room)
        print(room, data, shape(ancillary), flags)
    one.sendmsg([b"cloexec"], [(1, 1, three)])
    _, ancillary, flags, _ = other.recvmsg(10, 100, socket.MSG_CMSG_CLOEXEC)
    files = struct.unpack("3i", ancillary[1][2])
    print([fcntl.fcntl(fd, fcntl.F_GETFD) for fd in files], hex(flags))


def packet_information() -> None:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    for level, name in ((0, 8), (0, 12), (1, 29)):
        receiver.setsockopt(level, name, 1)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.sendto(b"info", receiver.getsockname())
    data, ancillary, flags, _ = receiver.recvmsg(10, 200)
    print(data, shape(ancillary), flags, [item for level, _, item in ancillary if level == 0])
    receiver = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    receiver.bind(("::", 0))
    receiver.setsockopt(41, 49, 1)
    receiver.setsockopt(41, 51, 1)
    sender.sendto(b"mapped", ("127.0.0.1", receiver.getsockname()[1]))
    print(receiver.recvmsg(10, 200)[:3])


def paths() -> None:
    os.chdir(tempfile.mkdtemp())
    os.umask(0o027)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("here")
    print(oct(os.stat("here").st_mode), listener.getsockname())
    listener.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect(os.path.abspath("here"))
    print(client.getpeername())
    os.symlink("here", "link")
    attempt("through a link", lambda: socket.socket(socket.AF_UNIX).connect("link"))
    attempt("bind again", lambda: socket.socket(socket.AF_UNIX).bind("here"))
    attempt("bind to a link", lambda: socket.socket(socket.AF_UNIX).bind("link"))
    attempt("open", lambda: os.open("here", os.O_RDWR))
    attempt("wrong type", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).connect("here"))
    open("plain", "w").close()
    attempt("a plain file", lambda: socket.socket(socket.AF_UNIX).connect("plain"))
    attempt("missing", lambda: socket.socket(socket.AF_UNIX).connect("no/such"))
    os.rename("here", "there")
    attempt("renamed", lambda: socket.socket(socket.AF_UNIX).connect("there"))
    listener.close()
    attempt("closed", lambda: socket.socket(socket.AF_UNIX).connect("there"))
    attempt("reset", lambda: client.recv(1))


def descriptors() -> None:
    one = socket.socket()
    print(os.fstat(one.fileno()).st_mode & 0o170000 == 0o140000, os.readlink(f"/proc/self/fd/{one.fileno()}")[:8])
    attempt("lseek", lambda: os.lseek(one.fileno(), 0, 0))
    attempt("pread", lambda: os.pread(one.fileno(), 1, 0))
    reader, _ = os.pipe()
    attempt("no socket", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, reader).send(b"x"))
    attempt("bad how", lambda: one.shutdown(7))
    attempt("inet pair", lambda: socket.socketpair(socket.AF_INET))
    epoll = select.epoll()
    left, right = socket.socketpair()
    epoll.register(left, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET | select.EPOLLRDHUP)
    print([hex(events) for _, events in epoll.poll(0)], epoll.poll(0))
    right.send(b"1")
    print([hex(events) for _, events in epoll.poll(0)])
    right.close()
    print([hex(events) for _, events in epoll.poll(0)])


def many_messages() -> None:
    class Vector(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]

    class Message(ctypes.Structure):
        _fields_ = [
            ("name", ctypes.c_void_p), ("name_size", ctypes.c_uint), ("vector", ctypes.POINTER(Vector)),
            ("count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_size", ctypes.c_size_t),
            ("flags", ctypes.c_int), ("padding", ctypes.c_int), ("length", ctypes.c_uint),
        ]  # fmt: skip

    libc = ctypes.CDLL(None, use_errno=True)
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    rounds = ((libc.sendmmsg, one, (b"one", b"three", b""), (0,)), (libc.recvmmsg, other, (b"",) * 4, (0x10000, None)))
    for function, fd, texts, arguments in rounds:
        buffers = [ctypes.create_string_buffer(text, 10) for text in texts]
        sizes = [len(text) if any(texts) else 10 for text in texts]
        vectors = [Vector(ctypes.addressof(buffer), size) for buffer, size in zip(buffers, sizes, strict=True)]
        messages = (Message * len(texts))()
        for message, vector in zip(messages, vectors, strict=True):
            message.vector, message.count = ctypes.pointer(vector), 1
        print(function(fd.fileno(), messages, len(texts), *arguments), [message.length for message in messages])
        print([buffer.value for buffer in buffers])


def signals() -> None:
    caught: list[int] = []
    signal.signal(signal.SIGPIPE, lambda number, frame: caught.append(number))
    one, other = socket.socketpair()
    other.close()
    attempt("send", lambda: one.send(b"x"))
    attempt("send quietly", lambda: one.send(b"x", socket.MSG_NOSIGNAL))
    print(caught)
    one, other = socket.socketpair()
    one.settimeout(None)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("qq", 0, 20000))
    attempt("time-out", lambda: one.recv(1))
    if os.fork() == 0:
        other.sendall(b"from the child")
        os._exit(0)
    os.wait()
    print(one.recv(100))


for facts in (control_messages, packet_information, paths, descriptors, many_messages, signals):
    print(f"-- {facts.__name__}")
    facts()
