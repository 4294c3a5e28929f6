"""The server's end, by signals."""

import signal
import time
from pathlib import Path

import psutil

from tests.support.ports import until
from tests.support.server import running_server, settings_for


def test_the_third_signal_drops_everything(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, runner={"enabled": True, "drain_seconds": 300})
    with running_server(settings, tmp_path) as server:
        assert server.process is not None
        this = psutil.Process(server.process.pid)
        until(lambda: bool(this.children()), 30, "the embedded runner is there")
        runner = this.children()[0]
        runner.suspend()  # it heeds nothing that can be heeded
        asked = time.monotonic()
        for _ in range(3):
            server.process.send_signal(signal.SIGTERM)
            until(lambda: "stopping" in server.log.read_text(), 10, "it stops")
            time.sleep(0.2)  # signals of one kind do not queue
        server.process.wait(20)
        server.process = None
        assert time.monotonic() - asked < 15
        assert not runner.is_running()
