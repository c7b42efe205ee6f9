"""What `loopwire lint` finds in a recording of the suite, beside what the suite's cases break on purpose.

`violations.json` says for each rule which cases break it, read off the suite's own descriptions. Every other case, and
the server under test in all of them, has to keep every rule. The cases that the command itself names beside a rule have
to be the same.
"""

from __future__ import annotations

import base64
import fnmatch
import json
import re
import subprocess
from collections import defaultdict
from pathlib import Path

EXPECTED: dict[str, list[str]] = json.loads(Path(__file__).with_name("violations.json").read_text())
LINT_BROKEN = 10
CLIENT = re.compile(rb'\{"at":[\d.]+,"connection":(\d+),"from":"client","bytes"')
KEY = re.compile(r"^sec-websocket-key:\s*(\S+)", re.IGNORECASE | re.MULTILINE)


def expected(case: str) -> list[str]:
    """The rules that a case breaks on purpose."""
    return sorted(rule for rule, cases in EXPECTED.items() if any(fnmatch.fnmatchcase(case, pattern) for pattern in cases))


def compare(binary: Path, recording: Path, reports: Path, cases: list[str]) -> list[str]:
    """Has a recording of these cases linted; a sentence for each thing that is not as expected."""
    linted = subprocess.run([binary, "lint", "--json", recording], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if linted.returncode not in (0, LINT_BROKEN):
        return [f"lint ended with {linted.returncode}: {linted.stderr.strip()}"]
    found: dict[int, dict[str, list[str]]] = defaultdict(lambda: {"client": [], "server": []})
    named: dict[str, str] = {}
    for event in map(json.loads, linted.stdout.splitlines()):
        if event["event"] == "violation":
            found[event["connection"]][event["from"]].append(event["rule"])
            named[event["rule"]] = event["autobahn"]
    connections, differences = connections_by_case(recording, reports)
    for rule, listed in named.items():
        others = [case for case in cases if covers(listed, case) != (rule in expected(case))]
        differences += [f"{case}: {rule} names {listed!r}" for case in others]
    for case in cases:
        if case not in connections:
            differences.append(f"{case}: no connection of the recording is this case's")
            continue
        broken = found.pop(connections[case], {"client": [], "server": []})
        if sorted(broken["client"]) != expected(case):
            differences.append(f"{case}: the suite broke {broken['client'] or 'nothing'}, not {expected(case) or 'nothing'}")
        if broken["server"]:
            differences.append(f"{case}: the server broke {broken['server']}")
    differences += [f"connection {number}, of no case: {rules}" for number, rules in found.items()]
    return differences


def covers(listed: str, case: str) -> bool:
    """Whether a rule's cases, such as `3.*, 5.9–5.17, 6.12.*–6.21.*`, have this one among them."""

    def numbers(text: str) -> list[int]:
        return [int(number) for number in text.removesuffix(".*").split(".")]

    for part in filter(None, listed.split(", ")):
        first, dash, last = part.partition("–")
        own = numbers(case)[: len(numbers(first))]
        if numbers(first) <= own <= numbers(last) if dash else fnmatch.fnmatchcase(case, first):
            return True
    return False


def connections_by_case(recording: Path, reports: Path) -> tuple[dict[str, int], list[str]]:
    """Which connection is which case's, by the keys in their requests."""
    differences = []
    by_key = {}
    requests: dict[int, bytes] = defaultdict(bytes)
    with recording.open("rb") as lines:
        for line in lines:
            # Most of it is payload, and not looked at.
            entry = CLIENT.match(line)
            if entry is None or b"\r\n\r\n" in requests[int(entry[1])]:
                continue
            requests[int(entry[1])] += base64.b64decode(json.loads(line)["bytes"])
    for number, request in requests.items():
        if key := KEY.search(request.decode("latin-1")):
            by_key[key[1]] = number
    connections = {}
    for path in reports.glob("*_case_*.json"):
        report = json.loads(path.read_text())
        key = KEY.search(report["httpRequest"])
        if key is None or key[1] not in by_key:
            differences.append(f"{path.name}: its connection was not recorded")
        else:
            connections[report["id"]] = by_key.pop(key[1])
    differences += [f"connection {number} belongs to no case" for number in by_key.values()]
    return connections, differences
