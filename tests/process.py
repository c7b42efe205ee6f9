"""What the scripts that put the built command to a test share: building it, starting its echo server, ending processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
# Whatever the scripts need is installed here, and goes with `cargo clean`.
TOOLS = TARGET / "tools"
START_TIMEOUT = 30
WEBSOCKETS = "websockets==17.4"
WS = "ws@8.23.0"
CHROMIUM_FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-port=0",
]


def build() -> Path:
    """The command, built with the release profile."""
    command = ["cargo", "build", "--release", "--locked", "--quiet"]
    subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=True)
    return TARGET / "release" / "loopwire"


@contextlib.contextmanager
def echo_server(binary: Path, *flags: str, log: Path | None = None) -> Iterator[tuple[subprocess.Popen, str]]:
    """`loopwire echo` on a port of its own choice: the process and its address, until the block ends."""
    with log.open("w+b") if log else tempfile.TemporaryFile() as output:
        command = [binary, "echo", "--listen", "127.0.0.1:0", *flags]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield server, _address(server, output.fileno())
            if server.poll() is not None:
                print(f"the server ended by itself, with {server.returncode}", file=sys.stderr)
        finally:
            stop(server)


def _address(server: subprocess.Popen, log: int) -> str:
    """The first thing that it prints is where it listens."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and server.poll() is None:
        if found := re.search(rb"127\.0\.0\.1:[1-9]\d*", os.pread(log, 1 << 16, 0)):
            return found[0].decode()
        time.sleep(0.05)
    raise SystemExit(f"the server did not say where it listens: {os.pread(log, 1 << 16, 0)!r}")


def stop(process: subprocess.Popen) -> None:
    """Ends a process, by force if it does not go."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def install_ws() -> Path:
    """The folder that has node `ws`, to be NODE_PATH."""
    modules = TOOLS / "node" / "node_modules"
    installed = modules / "ws" / "package.json"
    if not installed.exists() or json.loads(installed.read_text())["version"] != WS.split("@")[1]:
        print(f"installing {WS}", flush=True)
        (TOOLS / "node").mkdir(parents=True, exist_ok=True)
        run_tool(["npm", "install", "--prefix", TOOLS / "node", "--no-save", "--no-audit", "--no-fund", "--silent", WS])
    return modules


def install_websockets() -> Path:
    """The folder that has Python `websockets`, to be on PYTHONPATH."""
    packages = TOOLS / WEBSOCKETS
    if not (packages / "websockets").exists():
        print(f"installing {WEBSOCKETS}", flush=True)
        run_tool([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", packages, WEBSOCKETS])
    return packages


def find_chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    if not any(map(shutil.which, names)):
        print("installing chromium", flush=True)
        root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        run_tool([*root, "apt-get", "-qq", "update"])
        run_tool([*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "install", "--no-install-recommends", "chromium"])
    return next(filter(None, map(shutil.which, names)))


def run_tool(command: list) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}")
