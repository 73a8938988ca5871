"""The virtual file system: mounts, dentries, inodes, open files, locks, and the file systems themselves.

May import ``abi``, ``sched`` and ``io``. What a file system must know of processes (procfs, terminals) is
handed to it as an object at boot.
"""
