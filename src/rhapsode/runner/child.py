"""The child process: holds the models, runs the pipeline, and may die without harm.

`python -m rhapsode.runner.child SETTINGS` reads commands on its standard input and ends
when that closes, so that it never outlives its supervisor.
"""

import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

from rhapsode.runner.config import ChildSettings

_PR_SET_PDEATHSIG = 1


class Pipes:
    """The two pipes to the supervisor, taken away from everybody else.

    Libraries print to standard output and read standard input at will; from here on they
    reach the log and nothing, and cannot disturb what supervisor and child say.
    """

    def __init__(self) -> None:
        self.commands: IO[bytes] = os.fdopen(os.dup(0), "rb")
        self._answers = os.dup(1)
        self._lock = threading.Lock()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        os.close(nothing)

    def send(self, line: bytes) -> None:
        """Write one line, whole, whichever thread calls."""
        with self._lock:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._answers, rest) :]


def guard() -> None:
    """Leave signals to the supervisor, offer this process to the out-of-memory killer first.

    A terminal's Ctrl-C and a service manager's SIGTERM reach the whole group; it is the
    supervisor who decides what becomes of the job.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    faulthandler.enable()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
    if sys.platform == "linux":
        # Closing the pipe ends us too, unless native code holds the interpreter at that time.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def read_commands(commands: IO[bytes], hear: Callable[[bytes], None]) -> None:
    """Pass every line on; leave the process at once when there will be no more."""
    try:
        for line in commands:
            hear(line)
    finally:
        os._exit(0)


def main() -> None:
    """Take the pipes before anything heavy is imported, then work until they close."""
    pipes = Pipes()
    guard()
    from rhapsode.runner import messages
    from rhapsode.runner.workshop import Workshop, send_logs

    def say(message: messages.Answer) -> None:
        pipes.send(messages.encode(message))

    send_logs(say)
    workshop = Workshop(ChildSettings.from_json(sys.argv[1]), say)
    queue = SimpleQueue[messages.Command]()

    def hear(line: bytes) -> None:
        command = messages.decode(line)
        if isinstance(command, messages.Cancel):
            workshop.cancel(command.run)
        queue.put(command)

    threading.Thread(target=read_commands, args=(pipes.commands, hear), daemon=True).start()
    say(messages.Ready(workshop.capabilities()))
    while True:
        try:
            workshop.handle(queue.get(timeout=workshop.next_due()))
        except Empty:
            workshop.tidy()


if __name__ == "__main__":
    main()
