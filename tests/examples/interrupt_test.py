#!/usr/bin/env python3
"""Ctrl-C at many moments of an example's life: no process, socket or directory may stay behind.

    interrupt_test.py <example> <agent>

The example runs in a terminal of its own, with its state and its scratch directories below a folder
of this test's. HF_SANDBOX_TEST_SCALE=full tries every millisecond of the start.
"""

import errno
import os
import pty
import select
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path


def read(terminal, seconds):
    """What comes within the time; None when the program has closed its terminal."""
    if not select.select([terminal], [], [], max(seconds, 0))[0]:
        return b""
    try:
        return os.read(terminal, 65536) or None
    except OSError as e:
        if e.errno == errno.EIO:
            return None
        raise


def run(example, environment, moment):
    """Runs the example and types Ctrl-C at the moment: seconds after its start, or once it has
    printed this text. Returns its wait status and what it printed."""
    began, begins = os.pipe()
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.execve(example, [example], environment)
        finally:
            os._exit(127)
    os.close(begins)
    os.read(began, 1)  # the end of the pipe: the example has taken this program's place
    os.close(began)
    start, output, typed = time.monotonic(), b"", moment is None
    while True:
        if not typed:
            late = isinstance(moment, float) and time.monotonic() - start >= moment
            said = isinstance(moment, bytes) and moment in output
            if late or said:
                os.write(terminal, b"\x03")
                typed = True
        left = start + moment - time.monotonic() if isinstance(moment, float) and not typed else 60
        more = read(terminal, left)
        if more is None:
            break
        output += more
    os.close(terminal)
    return os.waitpid(pid, 0)[1], output.decode(errors="replace")


def processes(mark):
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if mark.encode() in line:
            found.append(f"{entry.name}: {line.decode(errors='replace')}")
    return found


def left(place):
    """Everything that is still there of a run."""
    found = []
    for folder in ("state", "scratch"):
        for here, folders, files in os.walk(place / folder):  # which passes over what vanishes
            found += [os.path.relpath(os.path.join(here, name), place) for name in folders + files]
    return found + processes(str(place))


def check(example, environment, place, moment):
    status, output = run(example, environment, moment)
    deadline = time.monotonic() + 30
    while (rest := left(place)) and time.monotonic() < deadline:
        time.sleep(0.01)
    if rest:
        print(f"{moment}: left behind: {rest}\n{output}")
        for folder in ("state", "scratch"):
            for entry in (place / folder).iterdir():
                shutil.rmtree(entry, ignore_errors=True)
        return None, False
    interrupted = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGINT
    if not interrupted and status != 0:
        print(f"{moment}: ended with the wait status {status}\n{output}")
        return None, False
    return interrupted, True


def main():
    example, agent = sys.argv[1:3]
    place = Path(tempfile.mkdtemp(prefix="hf-sandbox-interrupt-"))
    environment = dict(os.environ, HF_SANDBOX_AGENT=agent)
    for variable, folder in (("XDG_RUNTIME_DIR", "state"), ("TMPDIR", "scratch")):
        (place / folder).mkdir(mode=0o700)
        environment[variable] = str(place / folder)
    # The agent of a sandbox made by root is another user, who has to get to its scratch directory.
    place.chmod(0o711)
    (place / "scratch").chmod(0o711)
    step, count = (0.001, 300) if os.environ.get("HF_SANDBOX_TEST_SCALE") == "full" else (0.008, 15)
    moments = [None] + [i * step for i in range(count)]
    moments += [b"is up", b"count to three", b"1\r\n", b"2\r\n", b"says that", b"foo.txt holds", b"$ id"]
    try:
        results = [check(example, environment, place, moment) for moment in moments]
    finally:
        shutil.rmtree(place, ignore_errors=True)
    interrupted = sum(1 for was, _ in results if was)
    print(f"{len(results)} runs, {interrupted} of them interrupted")
    if not all(good for _, good in results):
        return 1
    if results[0][0] is not False:
        print("the run without Ctrl-C did not end by itself")
        return 1
    if interrupted < len(results) / 2:
        print("most runs were over before the interruption: this tested nothing")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
