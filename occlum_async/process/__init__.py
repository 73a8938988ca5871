"""Processes and threads as the LibOS sees them, and the host processes that stand behind them.

``process``/``thread``/``signals``/``sessions`` are the model; ``guest``/``channel``/``supervisor`` are the host side
of it; ``elf``/``execute``/``fork`` bring the two together. May import ``abi``, ``sched``, ``io``, ``fs``.
"""
