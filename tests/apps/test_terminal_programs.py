"""Full-screen and interactive programs on a terminal: less, vim, tmux, top, script, python3, and pty inside."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.terminal import Terminal

PROMPT = "READY> "
SHELL = ("/bin/bash", "--norc", "--noprofile", "-i")
OPTIONS = ("-e", f"PS1={PROMPT}", "-e", "PROMPT_COMMAND=", "-e", "LC_ALL=C.UTF-8", "-w", "/tmp")


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


@needs("less")
def test_less() -> None:
    with Terminal.inside("/bin/bash", "-c", "seq 1000 | less", options=OPTIONS) as less:
        less.expect(r"\b23\r\n")
        less.type(" ")
        less.expect(r"\b46\r\n")
        less.type("G")
        less.expect(r"\b1000\r\n")
        less.type("g/^77$\r")
        less.expect("77\x1b")
        less.type("q")
        assert less.status() == 0


@needs("vim")
def test_vim(tmp_path: Path) -> None:
    (tmp_path / "poem").write_text("roses are red\n")
    options = (*OPTIONS, "--bind", f"{tmp_path}:/data")
    with Terminal.inside("vim", "-u", "NONE", "-N", "/data/poem", options=options) as vim:
        vim.expect("roses are red")
        vim.type("oviolets are blue\x1b")
        vim.expect("violets are blue")
        vim.type("gg:s/red/white/\r")
        vim.expect("white")
        vim.resize(30, 100)
        vim.expect(r"\x1b\[29;1H")  # it has drawn the new lines
        vim.type(":set lines? columns?\r")
        vim.expect("lines=30")
        vim.expect("columns=100")
        vim.type("\r:!echo from the sh''ell\r")
        vim.expect("from the shell")
        vim.type("\r:wq\r")
        assert vim.status() == 0
        assert vim.modes() == vim.saved
    assert (tmp_path / "poem").read_text() == "roses are white\nviolets are blue\n"


@needs("tmux")
def test_tmux() -> None:
    with Terminal.inside(*SHELL, options=OPTIONS) as bash:
        bash.expect(PROMPT)
        bash.line("tmux -f /dev/null new-session -s work 'bash --norc'")
        bash.expect(r"\[work\]")
        bash.line("echo one $((40 + 2))")
        bash.expect("one 42")
        bash.type("\x02%")  # split
        bash.expect("│")
        bash.line("tmux send-keys -t work.0 'echo sent by key''s' Enter")
        bash.expect("sent by keys")
        bash.line("echo panes=$(tmux list-panes | wc -l)")
        bash.expect("panes=2")
        bash.type("\x02d")
        bash.expect(r"\[detached \(from session work\)\]")
        bash.expect(PROMPT)
        bash.line("tmux capture-pane -p -t work.0 | grep -c 'one 42'")
        bash.expect(r"\r1\r\n")
        bash.expect(PROMPT)
        bash.line("tmux attach -t work")
        bash.expect("sent by keys")
        bash.line("tmux kill-server")
        bash.expect(r"\[server exited\]|no server")
        bash.expect(PROMPT)
        bash.line("exit 3")
        assert bash.status() == 3


@needs("top")
def test_top() -> None:
    with Terminal.inside("top", "-d", "1", options=OPTIONS) as top:
        top.expect(r"top - \d\d:\d\d:\d\d")
        top.expect(r"Tasks:.*total")
        top.expect(r"PID USER")
        top.expect(r"\d+ root .* top")
        top.expect(r"top - \d\d:\d\d:\d\d")  # a second round
        top.type("q")
        assert top.status() == 0


@needs("script")
def test_script() -> None:
    with Terminal.inside(*SHELL, options=OPTIONS) as bash:
        bash.expect(PROMPT)
        bash.line("script -q -c 'tty; stty size; cat' record")
        bash.expect(r"/dev/pts/\d+\r\n24 80\r\n")
        bash.line("hello")
        bash.expect("hello\r\nhello\r\n")
        bash.type("\x04")
        bash.expect(PROMPT)
        bash.line("grep -c hello record")
        bash.expect(r"\r2\r\n")
        bash.expect(PROMPT)
        bash.line("script -q -e -c 'exit 5' /dev/null; echo status $?")
        bash.expect("status 5")


def test_python_prompt() -> None:
    with Terminal.inside("/usr/bin/python3", "-q", options=OPTIONS) as python:
        python.expect(">>> ")
        python.line("6 * 7")
        python.expect(r"\n42\r\n")
        python.expect(">>> ")
        python.line("import time; print('no' + 'w'); time.sleep(100)")
        python.expect("now")
        python.type("\x03")
        python.expect("KeyboardInterrupt")
        python.expect(">>> ")
        python.line("import sys; sys.exit(9)")
        assert python.status() == 9


@needs("nano")
def test_nano(tmp_path: Path) -> None:
    with Terminal.inside("nano", "/data/note", options=(*OPTIONS, "--bind", f"{tmp_path}:/data")) as nano:
        nano.expect("GNU nano")
        nano.type("written\x18y\r")
        assert nano.status() == 0
    assert (tmp_path / "note").read_text() == "written\n"


SCRIPTED = r"""
import os, pty, select, signal, sys, termios

pid, master = pty.fork()
if pid == 0:
    os.execve("/bin/bash", ["bash", "--norc", "-i"], {"PS1": "inner> ", "PATH": os.environ["PATH"], "TERM": "dumb"})
seen = ""

def expect(text):
    global seen
    while text not in seen:
        seen += os.read(master, 4096).decode()
    before, _, seen = seen.partition(text)
    return before

def line(text):
    os.write(master, text.encode() + b"\n")

expect("inner> ")
termios.tcsetwinsize(master, (33, 99))
line("stty size"); expect("33 99"); expect("inner> ")
line("sh -c 'echo no\"\"w; exec sleep 100'"); expect("now"); os.write(master, b"\x1a")
expect("Stopped"); expect("inner> ")
line("kill %1; wait %1; echo status $?"); expect("status 143"); expect("inner> ")
line("sh -c 'echo no\"\"w; exec sleep 100'"); expect("now"); os.write(master, b"\x03"); expect("inner> ")
line("echo status $?"); expect("status 130"); expect("inner> ")
line("exit 6")
_, status = os.waitpid(pid, 0)
assert os.waitstatus_to_exitcode(status) == 6
try:
    while os.read(master, 4096):
        pass
except OSError as error:
    print("the end:", error.strerror)
"""


def test_a_terminal_within_the_terminal() -> None:
    with Terminal.inside("/usr/bin/python3", "-c", SCRIPTED, options=OPTIONS) as python:
        python.expect("the end: Input/output error")
        assert python.status() == 0
        assert not re.search("Traceback", python.seen)
