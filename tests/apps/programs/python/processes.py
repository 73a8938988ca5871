"""subprocess, multiprocessing, signals, threads and asyncio of the standard library."""

import asyncio
import concurrent.futures
import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import threading
from multiprocessing import shared_memory


def square(x):
    return x * x


def fill(name, lock, total):
    block = shared_memory.SharedMemory(name=name)
    for i in range(100):
        with lock:
            block.buf[i] = (block.buf[i] + 1) % 256
            total.value += 1
    block.close()


def subprocesses():
    print(subprocess.run(["tr", "a-z", "A-Z"], input="some text", capture_output=True, text=True))
    print(subprocess.run("exit 9", shell=True).returncode, subprocess.getstatusoutput("echo x; exit 2"))
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"]) as sleeper:
        sleeper.send_signal(signal.SIGINT)
        sleeper.terminate()
        print(sleeper.wait() in (-signal.SIGTERM, -signal.SIGINT, 1))
    try:
        subprocess.run(["sleep", "100"], timeout=0.1)
    except subprocess.TimeoutExpired as error:
        print(error.cmd, round(error.timeout, 1))
    data = os.urandom(3_000_000)
    print(subprocess.run(["cat"], input=data, capture_output=True).stdout == data)
    first = subprocess.Popen(["seq", "10"], stdout=subprocess.PIPE)
    print(subprocess.check_output(["tail", "-1"], stdin=first.stdout), first.wait())
    try:
        subprocess.run(["/no/such/program"])
    except FileNotFoundError as error:
        print(error)
    print(os.posix_spawn("/bin/true", ["true"], {}) > 0, os.wait()[1])


def multiprocess():
    with multiprocessing.Pool(3) as pool:
        print(sum(pool.map(square, range(200))), pool.apply_async(square, (12,)).get())
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        block = shared_memory.SharedMemory(create=True, size=100)
        total, lock = context.Value("i", 0), context.Lock()
        workers = [context.Process(target=fill, args=(block.name, lock, total)) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print(method, total.value, set(block.buf[:100]), [worker.exitcode for worker in workers])
        block.close()
        block.unlink()
    parent, child = multiprocessing.Pipe()
    worker = multiprocessing.Process(target=lambda: child.send({"answer": parent.fileno() >= 0}))
    worker.start()
    print(parent.recv())
    worker.join()
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        print(list(pool.map(square, range(10))))


def threads():
    work, done, lock = queue.Queue(10), [], threading.Lock()

    def serve():
        while (item := work.get()) is not None:
            with lock:
                done.append(item)

    servers = [threading.Thread(target=serve) for _ in range(6)]
    for server in servers:
        server.start()
    for i in range(2000):
        work.put(i)
    for _ in servers:
        work.put(None)
    for server in servers:
        server.join()
    print(sorted(done) == list(range(2000)))
    event = threading.Event()
    threading.Timer(0.05, event.set).start()
    print(event.wait(10), threading.Condition().acquire(timeout=1))


def signals():
    seen = []
    signal.signal(signal.SIGALRM, lambda number, frame: seen.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    while len(seen) < 3:
        signal.pause()
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(seen[:3])
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    os.kill(os.getpid(), signal.SIGUSR1)
    print(signal.sigpending(), signal.sigwaitinfo([signal.SIGUSR1]).si_pid == os.getpid())
    signal.signal(signal.SIGCHLD, lambda number, frame: seen.append("child"))
    if os.fork() == 0:
        os._exit(5)
    print(os.waitstatus_to_exitcode(os.wait()[1]), "child" in seen)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


async def coroutines():
    process = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    print(await process.communicate(b"through asyncio"))

    async def echo(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    for start, connect in (
        (lambda: asyncio.start_unix_server(echo, "socket"), lambda server: asyncio.open_unix_connection("socket")),
        (
            lambda: asyncio.start_server(echo, "127.0.0.1", 0),
            lambda server: asyncio.open_connection(*server.sockets[0].getsockname()),
        ),
    ):
        server = await start()
        lines = []
        for i in range(20):
            reader, writer = await connect(server)
            writer.write(b"line %d\n" % i)
            lines.append(await reader.read())
            writer.close()
        print(lines[0], lines[-1], len(lines))
        server.close()
    print(await asyncio.gather(*(asyncio.sleep(0.01 * i, i) for i in range(5)), asyncio.to_thread(square, 5)))


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    subprocesses()
    multiprocess()
    threads()
    signals()
    asyncio.run(coroutines())
