"""io_uring for guests: the rings that they share with the kernel, and the life of requests in them.

What an operation does is not known here: each is handed in as a coroutine function, which calls the handler of
the ordinary system call. No module of this room may know a process or a system call.
"""
