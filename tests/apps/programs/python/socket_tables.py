# needs: ss netstat lsof
# Sockets in all states, as ss(8) tells of them over netlink, with its filters, and as netstat(8) and lsof(8) read them
# in /proc. Numbers that differ between two runs (ports, inodes, processes) are called by what they belong to.
import os
import re
import socket
import subprocess

listener = socket.create_server(("127.0.0.1", 0), backlog=5)
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
client.sendall(b"abc")
half_closed = socket.create_connection(listener.getsockname())
half, _ = listener.accept()
half.shutdown(socket.SHUT_WR)
waiting = socket.create_connection(listener.getsockname())
six = socket.create_server(("::1", 0), family=socket.AF_INET6, backlog=3)
both = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=3)
over = socket.create_connection(("127.0.0.1", both.getsockname()[1]))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("127.0.0.1", 0))
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.connect(datagrams.getsockname())
name = f"\0claim-{os.getpid()}"
local = socket.socket(socket.AF_UNIX)
local.bind(name)
local.listen(7)
caller = socket.socket(socket.AF_UNIX)
caller.connect(name)
one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

NAMED = {key: value for key, value in globals().items() if isinstance(value, socket.socket)}
KNOWN = {str(os.fstat(each.fileno()).st_ino): f"<{key}>" for key, each in NAMED.items()}
for key, each in NAMED.items():
    if each.family in (socket.AF_INET, socket.AF_INET6):
        KNOWN.setdefault(str(each.getsockname()[1]), f"<{key}'s port>")


def known(text):
    """A text whose inodes and ports are called by what they belong to."""
    return re.sub(r"\d+", lambda found: KNOWN.get(found[0], found[0]), text)


def named(line):
    """A line without the numbers that nobody chose; "" for a line about somebody else's sockets."""
    line = line.replace(name[1:], "<name>").replace(f"pid={os.getpid()},", "pid=<pid>,")
    line = line.replace(f"{os.getpid()}/python3", "<pid>/python3")
    line = known(re.sub(r"fd=\d+", "fd", line))
    return " ".join(line.split()) if "<" in line else ""


def show(*command):
    print(*("<pid>" if word == str(os.getpid()) else known(word) for word in command))
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    print(*sorted(filter(None, map(named, run.stdout.splitlines()))), sep="\n")
    print(run.returncode, run.stderr, end="\n\n")


port, other_port = listener.getsockname()[1], client.getsockname()[1]
show("ss", "-H", "-ltnp")
show("ss", "-H", "-tnp", "sport", "=", f":{port}")
show("ss", "-H", "-tan", "dport", "=", f":{port}")
show("ss", "-H", "-tn", "state", "fin-wait-2", "state", "close-wait")
show("ss", "-H", "-tan", f"( sport = :{port} or sport = :{six.getsockname()[1]} ) and not dport = :{other_port}")
show("ss", "-H", "-tan", "src", "[::1]")
show("ss", "-H", "-tan", "dst", "[::ffff:127.0.0.1]")
show("ss", "-H", "-tan4", "src", "127.0.0.0/8", "and", "sport", ">=", f":{port}", "and", "sport", "<=", f":{port}")
show("ss", "-H", "-ltn", "src", "192.0.2.0/24")
show("ss", "-H", "-uanp")
show("ss", "-H", "-uan", "state", "established")
show("ss", "-H", "-Mtan")
show("ss", "-H", "-w")
show("netstat", "-tanp")
show("netstat", "-uanp")
show("netstat", "-ltn6")
show("lsof", "-nP", "-a", "-p", str(os.getpid()), "-iTCP", "-FPTn")
show("lsof", "-nP", "-a", "-p", str(os.getpid()), "-iUDP", "-FPTn")
# What waits at a unix socket is counted with what the kernel needs for it, which is its own affair.
show("ss", "-H", "-xlp")
text = subprocess.run(["ss", "-xpH", "state", "established"], capture_output=True, text=True, check=True).stdout
print(*sorted(line for line in map(named, text.splitlines()) if "<pid>" in line), sep="\n")
for table in ("tcp", "tcp6", "udp"):
    with open(f"/proc/net/{table}") as file:
        rows = [line.split() for line in file][1:]
    print(table, sorted(f"{KNOWN[row[9]]} {row[3]} {row[4]}" for row in rows if row[9] in KNOWN))
