"""io_uring's ABI: the structs and numbers of <linux/io_uring.h>, all of Linux 6.1's and many that came later."""

from __future__ import annotations

import struct
from enum import IntEnum

# opcode, flags, ioprio, fd, off, addr, len, operation's flags, user_data, buf_index, personality, file_index, addr3
SQE = struct.Struct("<BBHiQQIIQHHiQ8x")
CQE = struct.Struct("<QiI")  # user_data, res, flags
PARAMS = struct.Struct("<7I12x40s40s")  # sq_entries, cq_entries, flags, cpu, idle, features, wq_fd, offsets
SQ_OFFSETS = struct.Struct("<7I12x")  # head, tail, ring_mask, ring_entries, flags, dropped, array
CQ_OFFSETS = struct.Struct("<7I12x")  # head, tail, ring_mask, ring_entries, overflow, cqes, flags
ENTER_ARGUMENT = struct.Struct("<QI4xQ")  # sigmask, its size, timespec
BUFFER = struct.Struct("<QIHH")  # an entry of a buffer ring: addr, len, bid, and the ring's tail in the first one
BUFFER_REGISTRATION = struct.Struct("<QIHH24x")  # ring's address, entries, group, flags
RESOURCES = struct.Struct("<IIQQQ")  # count, flags, reserved, data, tags
RESOURCE_UPDATE = struct.Struct("<IIQ")  # offset, reserved, data
RESOURCE_UPDATE2 = struct.Struct("<IIQQII")  # offset, reserved, data, tags, count, reserved
RESTRICTION = struct.Struct("<HBx12x")  # kind, opcode or flags
SYNC_CANCEL = struct.Struct("<QiIqq32x")  # user_data, fd, flags, time-out
FILE_RANGE = struct.Struct("<IIQ")  # offset, length, reserved
RECEIVE_HEADER = struct.Struct("<4I")  # namelen, controllen, payloadlen, flags
PROBE_HEADER = struct.Struct("<BB14x")  # last opcode, number of entries
PROBE_ENTRY = struct.Struct("<BxHxxxx")  # opcode, flags
PROBE_SUPPORTED = 1

MAX_ENTRIES = 32768
MAX_FIXED = 1 << 15  # registered files, the same as what Linux bounds by RLIMIT_NOFILE at most
MAX_BUFFERS = 1 << 14  # registered buffers

OFF_SQ_RING, OFF_CQ_RING, OFF_SQES = 0, 0x8000000, 0x10000000
OFF_BUFFER_RING, BUFFER_RING_SHIFT = 0x80000000, 16  # that of a group lies at its number, shifted

# io_uring_setup(2)
SETUP_IOPOLL, SETUP_SQPOLL, SETUP_SQ_AFF, SETUP_CQSIZE, SETUP_CLAMP, SETUP_ATTACH_WQ = 1, 2, 4, 8, 16, 32
SETUP_R_DISABLED, SETUP_SUBMIT_ALL, SETUP_COOP_TASKRUN, SETUP_TASKRUN_FLAG = 64, 128, 256, 512
SETUP_SQE128, SETUP_CQE32, SETUP_SINGLE_ISSUER, SETUP_DEFER_TASKRUN = 1024, 2048, 4096, 8192
SETUP_NO_SQARRAY = 1 << 16
SETUP_KNOWN = 0x3FFF | SETUP_NO_SQARRAY
FEATURES = 0x3FFF  # all of 6.1's, from SINGLE_MMAP to LINKED_FILE, and REG_REG_RING

# the rings' flags
SQ_NEED_WAKEUP, SQ_CQ_OVERFLOW = 1, 2
CQ_EVENTFD_DISABLED = 1

# io_uring_enter(2)
ENTER_GETEVENTS, ENTER_SQ_WAKEUP, ENTER_SQ_WAIT, ENTER_EXT_ARG, ENTER_REGISTERED_RING = 1, 2, 4, 8, 16

# flags of a submission
IOSQE_FIXED_FILE, IOSQE_IO_DRAIN, IOSQE_IO_LINK, IOSQE_IO_HARDLINK = 1, 2, 4, 8
IOSQE_ASYNC, IOSQE_BUFFER_SELECT, IOSQE_CQE_SKIP_SUCCESS = 16, 32, 64
IOSQE_KNOWN = 0x7F
IOSQE_LINKS = IOSQE_IO_LINK | IOSQE_IO_HARDLINK

# flags of a completion
CQE_F_BUFFER, CQE_F_MORE, CQE_F_SOCK_NONEMPTY, CQE_F_NOTIF = 1, 2, 4, 8
CQE_BUFFER_SHIFT = 16

# flags of operations
FSYNC_DATASYNC = 1
POLL_ADD_MULTI, POLL_UPDATE_EVENTS, POLL_UPDATE_USER_DATA, POLL_ADD_LEVEL = 1, 2, 4, 8
TIMEOUT_ABS, TIMEOUT_UPDATE, TIMEOUT_BOOTTIME, TIMEOUT_REALTIME = 1, 2, 4, 8
LINK_TIMEOUT_UPDATE, TIMEOUT_ETIME_SUCCESS, TIMEOUT_MULTISHOT = 16, 32, 64
ASYNC_CANCEL_ALL, ASYNC_CANCEL_FD, ASYNC_CANCEL_ANY, ASYNC_CANCEL_FD_FIXED = 1, 2, 4, 8
ASYNC_CANCEL_USERDATA, ASYNC_CANCEL_OP = 16, 32
ACCEPT_MULTISHOT = 1
RECVSEND_POLL_FIRST, RECV_MULTISHOT, RECVSEND_FIXED_BUF, SEND_ZC_REPORT_USAGE = 1, 2, 4, 8
NOTIF_USAGE_ZC_COPIED = 1 << 31
MSG_DATA, MSG_SEND_FD = 0, 1
MSG_RING_CQE_SKIP = 1
SPLICE_F_FD_IN_FIXED = 1 << 31
FILE_INDEX_ALLOC = 0xFFFFFFFF
FIXED_FD_NO_CLOEXEC = 1
REGISTER_FILES_SKIP = -2
RSRC_REGISTER_SPARSE = 1
REGISTER_USE_REGISTERED_RING = 1 << 31  # beside the opcode
BUFFER_RING_MMAP = 1
BUFFER_STATUS = struct.Struct("<II32x")  # group, head


class Op(IntEnum):
    """The operations."""

    NOP = 0
    READV = 1
    WRITEV = 2
    FSYNC = 3
    READ_FIXED = 4
    WRITE_FIXED = 5
    POLL_ADD = 6
    POLL_REMOVE = 7
    SYNC_FILE_RANGE = 8
    SENDMSG = 9
    RECVMSG = 10
    TIMEOUT = 11
    TIMEOUT_REMOVE = 12
    ACCEPT = 13
    ASYNC_CANCEL = 14
    LINK_TIMEOUT = 15
    CONNECT = 16
    FALLOCATE = 17
    OPENAT = 18
    CLOSE = 19
    FILES_UPDATE = 20
    STATX = 21
    READ = 22
    WRITE = 23
    FADVISE = 24
    MADVISE = 25
    SEND = 26
    RECV = 27
    OPENAT2 = 28
    EPOLL_CTL = 29
    SPLICE = 30
    PROVIDE_BUFFERS = 31
    REMOVE_BUFFERS = 32
    TEE = 33
    SHUTDOWN = 34
    RENAMEAT = 35
    UNLINKAT = 36
    MKDIRAT = 37
    SYMLINKAT = 38
    LINKAT = 39
    MSG_RING = 40
    FSETXATTR = 41
    SETXATTR = 42
    FGETXATTR = 43
    GETXATTR = 44
    SOCKET = 45
    URING_CMD = 46
    SEND_ZC = 47
    SENDMSG_ZC = 48
    READ_MULTISHOT = 49
    WAITID = 50
    FIXED_FD_INSTALL = 54
    FTRUNCATE = 55
    BIND = 56
    LISTEN = 57
    EPOLL_WAIT = 59
    READV_FIXED = 60
    WRITEV_FIXED = 61
    PIPE = 62


class SocketCommand(IntEnum):
    """The commands that URING_CMD has for sockets."""

    SIOCINQ = 0
    SIOCOUTQ = 1
    GETSOCKOPT = 2
    SETSOCKOPT = 3


class Register(IntEnum):
    """The opcodes of io_uring_register(2)."""

    BUFFERS = 0
    UNREGISTER_BUFFERS = 1
    FILES = 2
    UNREGISTER_FILES = 3
    EVENTFD = 4
    UNREGISTER_EVENTFD = 5
    FILES_UPDATE = 6
    EVENTFD_ASYNC = 7
    PROBE = 8
    PERSONALITY = 9
    UNREGISTER_PERSONALITY = 10
    RESTRICTIONS = 11
    ENABLE_RINGS = 12
    FILES2 = 13
    FILES_UPDATE2 = 14
    BUFFERS2 = 15
    BUFFERS_UPDATE = 16
    IOWQ_AFF = 17
    UNREGISTER_IOWQ_AFF = 18
    IOWQ_MAX_WORKERS = 19
    RING_FDS = 20
    UNREGISTER_RING_FDS = 21
    PBUF_RING = 22
    UNREGISTER_PBUF_RING = 23
    SYNC_CANCEL = 24
    FILE_ALLOC_RANGE = 25
    PBUF_STATUS = 26
