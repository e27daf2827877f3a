"""A Streamlit server of a test's own: started in a checkout, killed, started again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
PATIENCE_S = 300.0


class AppServer:
    """The app of `code` (a checkout) on the files of `root`; the port stays over restarts."""

    def __init__(self, root: Path, log: Path, code: Path = ROOT) -> None:
        self.root, self.code, self.log = root, code, log
        self.environment = {**os.environ, "PYTHONPATH": str(code)}
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> AppServer:
        """Raises RuntimeError, with what it printed, when the server does not answer."""
        main = self.code / "app" / "main.py"
        options = ("--server.headless", "true", "--server.port", str(self.port))
        command = (sys.executable, "-m", "streamlit", "run", str(main), *options)
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                command, cwd=self.root, env=self.environment, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE_S
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the app does not answer: {self.printed()}")
            time.sleep(0.1)
        return self

    def answers(self) -> bool:
        try:
            with DIRECT.open(f"{self.address}/_stcore/health", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """kill -9, as a crash would end it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def printed(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
