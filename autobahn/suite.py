"""The Autobahn suite on this machine: found, installed once, and started.

The suite is Python 2 and stays so. It is looked for in this order: a Python 2.7 (on the PATH or under pyenv), into
which the pinned PyPI package is installed below `target/`, leaving the interpreter and the home directory as they
were; else the suite's own container image, by docker or podman. Nothing else is tried.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

VERSION = "25.10.1"
PACKAGE = f"autobahntestsuite=={VERSION}"
IMAGE = "crossbario/autobahn-testsuite"

NOT_FOUND = f"""\
The Autobahn suite needs CPython 2.7 with pip, or a container engine, and neither was found:
  - `python2.7` on the PATH (or under pyenv: `pyenv install 2.7.18`); {PACKAGE} is then installed from PyPI;
  - or docker or podman with a running daemon, for the image {IMAGE}."""


class SuiteMissing(Exception):
    """No way to run the suite here; the text says what would help."""


class Suite:
    """A command that is `wstest`, and the environment that it needs."""

    def __init__(self, command: list[str], environment: dict[str, str], name: str):
        self.command = command
        self.environment = environment
        self.name = name

    @classmethod
    def find(cls, tools: Path, shared: Path) -> Suite:
        """Finds or installs the suite; `tools` keeps the installation, `shared` is what a container may see."""
        interpreter = _python2()
        if interpreter is not None:
            return cls._installed(interpreter, tools / f"autobahntestsuite-{VERSION}")
        for engine in ("docker", "podman"):
            if shutil.which(engine) and _succeeds([engine, "info"]):
                mount = ["--volume", f"{shared}:{shared}", "--user", f"{os.getuid()}:{os.getgid()}"]
                command = [engine, "run", "--rm", "--init", "--network", "host", *mount, IMAGE, "wstest"]
                return cls(command, dict(os.environ), f"container image {IMAGE}")
        raise SuiteMissing(NOT_FOUND)

    @classmethod
    def _installed(cls, interpreter: str, base: Path) -> Suite:
        # A user base of its own rather than `--target`: the suite needs zope.interface, a namespace package that is
        # only found through the .pth file which Python reads in site directories.
        environment = {**os.environ, "PYTHONUSERBASE": str(base), "PYTHONDONTWRITEBYTECODE": "1"}
        for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONNOUSERSITE", "PIP_USER", "PIP_TARGET"):
            environment.pop(name, None)
        suite = cls([interpreter, "-W", "ignore", "-m", "autobahntestsuite.wstest"], environment, f"{PACKAGE}, {interpreter}")
        if not suite._answers():
            base.mkdir(parents=True, exist_ok=True)
            print(f"installing {PACKAGE} into {base}", flush=True)
            pip = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-warn-script-location"]
            subprocess.run([*pip, "--user", PACKAGE], env=environment, stdin=subprocess.DEVNULL, check=True)
            if not suite._answers():
                raise SuiteMissing(f"{PACKAGE} was installed into {base}, but does not start")
        return suite

    def _answers(self) -> bool:
        done = subprocess.run([*self.command, "-a"], env=self.environment, capture_output=True, text=True, cwd="/")
        return done.returncode == 0 and f"AutobahnTestSuite {VERSION}" in done.stdout

    def start(self, arguments: list[str], directory: Path, log: Path) -> subprocess.Popen:
        """Starts `wstest` with its output in `log`."""
        with log.open("w") as output:
            return subprocess.Popen(
                [*self.command, *arguments],
                env=self.environment,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def case_ids(self, scratch: Path) -> list[str]:
        """The ids of all active cases, in the suite's order, by the suite's own word."""
        # Every mode prints the cases it is going to run. Against a port where nobody listens it then stops by itself.
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch) as directory:
            spec = Path(directory, "spec.json")
            spec.write_text(json.dumps({
                "outdir": directory, "servers": [{"agent": "none", "url": "ws://127.0.0.1:1"}], "cases": ["*"],
                "exclude-cases": [], "exclude-agent-cases": {},
            }))
            log = Path(directory, "log")
            self.start(["-m", "fuzzingclient", "-s", str(spec)], Path(directory), log).wait(timeout=300)
            text = log.read_text()
        found = re.search(r"^Cases = (\[.*\])$", text, re.MULTILINE)
        if found is None:
            raise SuiteMissing(f"the suite did not list its cases; it said:\n{text}")
        return ast.literal_eval(found[1])


def _python2() -> str | None:
    """A CPython 2.7 with pip: its own path, not a shim's, which would depend on the directory it is called from."""
    roots = [os.environ.get("PYENV_ROOT"), Path.home() / ".pyenv"]
    candidates = [shutil.which("python2.7"), shutil.which("python2")]
    for root in filter(None, roots):
        candidates += sorted(Path(root).glob("versions/2.7*/bin/python2.7"), reverse=True)
    for candidate in filter(None, candidates):
        ask = "import sys, pip; assert sys.version_info[:2] == (2, 7); print(sys.executable)"
        done = subprocess.run([candidate, "-c", ask], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode == 0:
            return done.stdout.strip()
    return None


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0
