"""Terminals: the line discipline, pseudo-terminal pairs, the console, and the rules of job control.

``discipline`` and ``output`` are pure state machines over bytes; ``terminal`` is the device with its queues, its
session and its ioctls; ``pty`` and ``console`` are the two kinds of hardware at its other side. Nothing in
here imports the process model: what terminals need of it is written down in ``jobs``.
"""
