"""What a file descriptor can stand for, and the boundary to the host.

``file.File`` is the open file description; pipes, eventfds, epoll, terminals and unix sockets are its
subclasses here. ``boundary`` is the only package of the kernel that does I/O on the host. Nothing in
here knows of path names, processes or system call numbers.
"""
