"""bash on a terminal: prompts, editing, job control, window sizes. The host's own terminal is the oracle."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terminal import Terminal

PROMPT = "READY> "


SHELL = ("/bin/bash", "--norc", "--noprofile", "-i")
OPTIONS = ("-e", f"PS1={PROMPT}", "-e", "HISTFILE=", "-e", "PROMPT_COMMAND=", "-w", "/tmp")


@pytest.fixture(params=["inside", "strictly", "natively"])
def bash(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    if request.param != "natively":
        terminal = Terminal.inside(*SHELL, options=(*OPTIONS, "--strict") if request.param == "strictly" else OPTIONS)
    else:
        terminal = Terminal(*SHELL, env={"PS1": PROMPT, "HISTFILE": "", "PROMPT_COMMAND": ""}, folder=tmp_path)
    with terminal:
        terminal.expect(PROMPT)
        yield terminal


def ask(bash: Terminal, command: str, answer: str) -> None:
    """Type a command; its output must contain the answer (which the command, echoed, does not)."""
    bash.line(command)
    bash.expect(answer)
    bash.expect(PROMPT)


def test_it_has_a_terminal_and_leads_a_session(bash: Terminal) -> None:
    ask(bash, "tty", r"/dev/(pts/\d+|console)\r")
    ask(bash, "test -t 0 -a -t 1 -a -t 2 && echo is''tty", "istty")
    ask(bash, "echo $(ps -o sid= -p $$) = $$ | sed 's/ //g;s/^/sid:/'", r"sid:(\d+)=\1")
    ask(bash, "echo $-", r"[a-zA-Z]*i[a-zA-Z]*m[a-zA-Z]*B[a-zA-Z]*\r")


def test_the_exit_status_is_bashs(bash: Terminal) -> None:
    saved = bash.saved
    bash.line("exit 42")
    assert bash.status() == 42
    assert bash.modes() == saved


def test_ctrl_d_ends_it(bash: Terminal) -> None:
    bash.line("(exit 7)")
    bash.expect(PROMPT)
    bash.type("\x04")
    assert bash.status() == 7


def test_ctrl_c_interrupts_the_foreground_only(bash: Terminal) -> None:
    bash.line("trap 'echo not-me' INT; sleep 1000 & cat")
    bash.expect(r"\[1\] \d+\r\n")
    bash.line("echoed")
    bash.expect("echoed\r\nechoed")
    bash.type("\x03")
    bash.expect(r"\^C")
    bash.expect(PROMPT)
    ask(bash, "echo status $?", "status 130")
    ask(bash, "jobs", r"\[1\]\+  Running +sleep 1000 &")


def test_stop_background_and_foreground(bash: Terminal) -> None:
    bash.line("sh -c 'echo no\"\"w; exec tee typed'")
    bash.expect("now")
    bash.line("first")
    bash.expect("first\r\nfirst\r\n")
    bash.type("\x1a")
    bash.expect(r"\[1\]\+  Stopped +sh -c")
    bash.expect(PROMPT)
    ask(bash, "bg", r"\[1\]\+ sh -c.* &")
    # In the background it may not read: SIGTTIN stops it again.
    ask(bash, "wait %1; jobs", r"\[1\]\+  Stopped")
    bash.line("fg %1")
    bash.expect("fg %1\r\n.*exec tee typed'\r\n")
    bash.line("second")
    bash.expect("second\r\nsecond\r\n")
    bash.type("\x04")
    bash.expect(PROMPT)
    ask(bash, "cat typed", "first\r\nsecond\r\n")


def test_kill_a_job(bash: Terminal) -> None:
    bash.line("sleep 1000 | cat &")
    bash.expect(r"\[1\] \d+")
    bash.line("kill %1; wait %1; echo status $?")
    bash.expect("status 143")


def test_ctrl_backslash_quits(bash: Terminal) -> None:
    bash.line("ulimit -c 0; sh -c 'echo no\"\"w; exec cat'")
    bash.expect("now")
    bash.type("\x1c")
    bash.expect("Quit")
    ask(bash, "echo status $?", "status 131")


def test_window_size(bash: Terminal) -> None:
    ask(bash, "stty size", r"\b24 80\r")
    ask(bash, "trap 'echo size $(stty size)' WINCH", "")
    bash.resize(40, 132)
    bash.line("")
    bash.expect("size 40 132")
    bash.expect(PROMPT)
    ask(bash, "echo $LINES x $COLUMNS", "40 x 132")


def test_readline_edits(bash: Terminal) -> None:
    bash.type("echo wrong\x17right\x01\x1b[C\x05 end\r")  # Ctrl-W, Ctrl-A, right, Ctrl-E
    bash.expect("\rright end\r")
    bash.expect(PROMPT)
    bash.type("\x1b[A\r")  # up: the same once more
    bash.expect("\rright end\r")
    bash.expect(PROMPT)
    bash.line("mkdir only_one_such_name")
    bash.expect(PROMPT)
    bash.type("cd only_\t\r")
    bash.expect(PROMPT)
    ask(bash, "pwd", r"\r/\S*/only_one_such_name\r")
    bash.type("\x12pwd")  # Ctrl-R
    bash.expect(r"reverse-i-search.*pwd")
    bash.type("\r")
    bash.expect(r"\r/\S*/only_one_such_name\r")


def test_read_with_a_timeout_and_without_echo(bash: Terminal) -> None:
    ask(bash, "read -t 0.1 x; echo status $?", "status 142")
    bash.line("read -s -p Pa''ss: secret; echo; echo got ${#secret}")
    bash.expect("Pass:")
    bash.line("geheim")
    bash.expect("got 6")
    assert "geheim" not in bash.seen
    bash.line("read -n 1 key; echo; echo key=$key")
    bash.expect("key\r\n")
    bash.type("q")
    bash.expect("key=q")


def test_stty_changes_the_terminal(bash: Terminal) -> None:
    ask(bash, "stty -a | head -1", r"speed 38400 baud; rows 24; columns 80; line = 0;")
    ask(bash, "stty -echo; stty -a | grep -o -- '-echo '; stty echo", "-echo ")
    bash.line("stty intr ^T; sh -c 'echo no\"\"w; exec cat'")
    bash.expect("now")
    bash.type("\x14")
    bash.expect(PROMPT)
    ask(bash, "echo status $?", "status 130")


def test_the_size_is_known_from_the_start() -> None:
    with Terminal.inside("stty", "size", rows=33, columns=99) as stty:
        stty.expect("33 99\r\n")
        assert stty.status() == 0


def test_a_hangup_of_the_host_ends_everything() -> None:
    with Terminal.inside(*SHELL, options=OPTIONS) as bash:
        bash.expect(PROMPT)
        bash.line("cat")
        bash.expect("cat\r\n")
        bash.interrupt(signal.SIGHUP)
        assert bash.status() == 129
