"""What benches/compare measures and how it is told: the cases, the tables, the chart."""

from __future__ import annotations

import json
import unittest
import xml.etree.ElementTree
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from html import escape

# The first server once more.
AGAIN = "again"


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    bench: str
    size: int
    mode: str = "echo"
    # What of the load generator's report is told, less being better, where each server is measured alone, and how often.
    alone: tuple[str, str] | None = None
    rounds: int = 1
    unit: str = "messages per CPU-second"

    @property
    def flags(self) -> list[str]:
        return self.bench.split() + (["--insecure"] if self.mode == "tls" else [])


CASES = [
    Case("100x20", "100 connections × 20 B", "echo -c 100 -s 20 --binary", 20),
    Case("10x1K", "10 × 1 KiB", "echo -c 10 -s 1024 --binary", 1024),
    Case("10x16K", "10 × 16 KiB", "echo -c 10 -s 16384 --binary", 16384),
    Case("200x16K", "200 × 16 KiB", "echo -c 200 -s 16384 --binary", 16384),
    Case("500x16K", "500 × 16 KiB", "echo -c 500 -s 16384 --binary", 16384),
    Case("50x20-16", "50 × 20 B, 16 in flight", "echo -c 50 -s 20 --depth 16 --binary", 20),
    Case("16x1K-16", "16 × 1 KiB, 16 in flight", "echo -c 16 -s 1024 --depth 16 --binary", 1024),
    Case("1x1M", "1 × 1 MiB", "echo -c 1 -s 1048576 --binary", 1 << 20),
    Case("fanout", "128 B to 1,000 subscribers", "fanout --subscribers 1000 -s 128 --batch 1", 128, "broadcast"),
    Case("fanout-16", "128 B to 1,000, 16 at a time", "fanout --subscribers 1000 -s 128 --batch 16", 128, "broadcast"),
    Case("deflate-200", "compressed, 50 × 200 B JSON", "echo -c 50 -s 200 --deflate", 200, "deflate"),
    Case("deflate-1K", "compressed, 50 × 1 KiB JSON", "echo -c 50 -s 1024 --deflate", 1024, "deflate"),
    Case("tls-1K", "TLS, 50 × 1 KiB", "echo -c 50 -s 1024 --binary", 1024, "tls"),
    Case("idle", "15,000 idle connections", "idle -c 15000 --hold 3s", 0, alone=("server", "bytes_per_connection"), unit="bytes each"),
    Case(
        "latency", "100 × 20 B, 40,000 per second", "echo -c 100 -s 20 --binary --rate 40000 --duration 400ms --warmup 100ms", 20,
        alone=("latency_us", "p99"), rounds=24, unit="µs at p99",
    ),
]


@dataclass
class Figure:
    """One server in one case: the median, and between which ratios to the first server the middle half of all rounds is."""

    value: float
    ratio: float
    least: float
    most: float
    # How much of their cores the two sides used, 1 being all of it.
    server_cpu: float | None = None
    client_cpu: float | None = None


@dataclass
class Results:
    """All figures, by case and server, the one that they are ratios to first, and what has to be known to judge them."""

    about: dict[str, str]
    figures: dict[str, dict[str, dict]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def rows(figures: dict[str, dict]) -> list[tuple[str, Figure]]:
    """All servers of a case, the best first, those above them that the others are compared with."""
    table = [(server, Figure(**figure)) for server, figure in figures.items()]
    above = ("floor", AGAIN) if "floor" in figures else (AGAIN,)
    return sorted(table, key=lambda row: (above.index(row[0]) if row[0] in above else len(above), -row[1].ratio))


def figure(value: float) -> str:
    """Three digits that count, as people write them: 1.25M, 312k, 48.0."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * size:
            return figure(value / size) + unit
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def tables(results: Results) -> str:
    """Markdown: all ratios at a glance, then each case with its figures."""
    measured = [(case, results.figures[case.name]) for case in CASES if results.figures.get(case.name)]
    servers = list(dict.fromkeys(["floor", "loopwire", *(name for _, figures in measured for name in figures)]))
    servers = [name for name in servers if name != AGAIN and any(name in figures for _, figures in measured)] + [AGAIN]
    text = "Ratios to the floor, or to loopwire where there is no floor; above 1 is better, for memory and latency too.\n\n"
    text += markdown(["case", *servers], ([case.title, *(ratio(figures, name) for name in servers)] for case, figures in measured))
    for case, figures in measured:
        text += f"\n### {case.title}\n\n"
        heads = ["server", case.unit, "ratio", "half of all rounds", "server's CPU", "client's CPU"]
        text += markdown(heads, (cells(*row) for row in rows(figures)))
    text += "\n" + "\n".join(f"- {name}: {value}" for name, value in results.about.items()) + "\n"
    return text + "".join(f"- failed: {failure}\n" for failure in results.failures)


def ratio(figures: dict[str, dict], server: str) -> str:
    return f"{figures[server]['ratio']:.2f}" if server in figures else "–"


def cells(server: str, row: Figure) -> list[str]:
    spread = "–" if row.least == row.most else f"{row.least:.2f}–{row.most:.2f}"
    return [server, figure(row.value), f"{row.ratio:.2f}", spread, percent(row.server_cpu), percent(row.client_cpu)]


def percent(part: float | None) -> str:
    return "–" if part is None else f"{part:.0%}"


def markdown(heads: list[str], lines: Iterator[list[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in [heads, ["---"] + ["---:"] * (len(heads) - 1), *lines])


# Drawing.

WIDTH, COLUMNS, MARGIN, GAP = 920, 2, 16, 24
TITLE, BAR, LABEL, VALUE = 44, 18, 128, 52
STYLE = """
  text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 13px } .note { fill: #59636e; font-size: 11px } .us { font-weight: 700 }
  .paper { fill: #ffffff } .bar { fill: #9aa4b0 } .bar.floor { fill: #d1d9e0 } .bar.us { fill: #0969da } .one { stroke: #59636e }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .note { fill: #9198a1 }
    .paper { fill: #0d1117 } .bar { fill: #656c76 } .bar.floor { fill: #3d444d } .bar.us { fill: #4493f8 } .one { stroke: #9198a1 }
  }
"""


def svg(results: Results) -> str:
    """Every case a panel of bars: how good each server is, the floor, or loopwire where there is no floor, being 1."""
    panels = [
        (case, [row for row in rows(results.figures[case.name]) if row[0] != AGAIN])
        for case in CASES if results.figures.get(case.name)
    ]
    column = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS
    drawn, top = [], MARGIN + 30.0
    for first in range(0, len(panels), COLUMNS):
        line = panels[first : first + COLUMNS]
        for place, (case, table) in enumerate(line):
            drawn += panel(case, table, MARGIN + place * (column + GAP), top, column)
        top += TITLE + BAR * max(len(table) for _, table in line) + GAP
    heading = "Longer is better. The line is 1.00: a bare epoll loop that does no WebSocket work (floor), or loopwire where that cannot serve."
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top:.0f}" width="{WIDTH}" height="{top:.0f}" role="img">',
        f"<title>{heading}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{top:.0f}" rx="8"/>',
        f'<text class="note" x="{MARGIN}" y="{MARGIN + 12}">{heading}</text>',
        *drawn,
        "</svg>\n",
    ])


def panel(case: Case, table: list[tuple[str, Figure]], left: float, top: float, width: float) -> Iterator[str]:
    by_name = dict(table)
    reference = next((name for name in ("floor", "loopwire") if name in by_name), table[0][0])
    scale = (width - LABEL - VALUE) / max(1.0, *(row.ratio for row in by_name.values()))
    yield f'<text class="title" x="{left:.1f}" y="{top + 14:.1f}">{escape(case.title)}</text>'
    told = f"1.00 is {figure(by_name[reference].value)} {case.unit}" + ("" if reference == "floor" else f" ({reference})")
    yield f'<text class="note" x="{left:.1f}" y="{top + 30:.1f}">{escape(told)}</text>'
    top += TITLE
    for place, (name, row) in enumerate(table):
        kind = {"loopwire": " us", "floor": " floor"}.get(name, "")
        y = top + place * BAR
        middle = y + BAR - 5
        yield f'<text class="{kind.strip()}" x="{left + LABEL - 8:.1f}" y="{middle:.1f}" text-anchor="end">{escape(name)}</text>'
        yield f'<rect class="bar{kind}" x="{left + LABEL:.1f}" y="{y + 2:.1f}" width="{row.ratio * scale:.1f}" height="{BAR - 4}" rx="2"/>'
        value = figure(row.value) if case.alone else f"{row.ratio:.2f}"
        yield f'<text class="{kind.strip()}" x="{left + width:.1f}" y="{middle:.1f}" text-anchor="end">{value}</text>'
    one = left + LABEL + scale
    yield f'<line class="one" x1="{one:.1f}" x2="{one:.1f}" y1="{top - 2:.1f}" y2="{top + len(table) * BAR:.1f}" stroke-dasharray="3 3"/>'


# The tests of all this.


class ResultsTest(unittest.TestCase):
    RESULTS = Results(
        {"machine": "one"},
        {
            "100x20": {
                "floor": asdict(Figure(1000, 1, 1, 1, 1.0, 0.5)),
                "b&b": asdict(Figure(500, 0.5, 0.4, 0.6, 1.0, 0.5)),
                "loopwire": asdict(Figure(790, 0.8, 0.75, 0.85, 1.0, 0.5)),
                AGAIN: asdict(Figure(1010, 1.01, 0.9, 1.1, 1.0, 0.5)),
            },
            "idle": {"loopwire": asdict(Figure(200, 1, 1, 1)), "b&b": asdict(Figure(2000, 0.1, 0.1, 0.1))},
        },
    )

    def test_the_best_comes_first_and_above_it_what_it_is_compared_with(self):
        order = [[name for name, _ in rows(figures)] for figures in self.RESULTS.figures.values()]
        self.assertEqual(order, [["floor", AGAIN, "loopwire", "b&b"], ["loopwire", "b&b"]])

    def test_figures_have_three_digits(self):
        values = {1.234: "1.23", 12.34: "12.3", 99.96: "100", 999.4: "999", 999.6: "1.00k", 12345: "12.3k", 1.25e6: "1.25M"}
        self.assertEqual({value: figure(value) for value in values}, values)

    def test_the_tables(self):
        text = tables(self.RESULTS)
        for line in (
            "| case | floor | loopwire | b&b | again |",
            "| 100 connections × 20 B | 1.00 | 0.80 | 0.50 | 1.01 |",
            "| 15,000 idle connections | – | 1.00 | 0.10 | – |",
            "| server | messages per CPU-second | ratio | half of all rounds | server's CPU | client's CPU |",
            "| loopwire | 790 | 0.80 | 0.75–0.85 | 100% | 50% |",
            "| b&b | 2.00k | 0.10 | – | – | – |",
            "- machine: one",
        ):
            self.assertIn(line + "\n", text)

    def test_the_chart_has_a_bar_for_each_server_as_long_as_its_ratio(self):
        root = xml.etree.ElementTree.fromstring(svg(self.RESULTS))
        bars = [bar for bar in root.iter("{http://www.w3.org/2000/svg}rect") if "bar" in bar.get("class")]
        full = float(bars[0].get("width"))
        self.assertEqual([bar.get("class") for bar in bars], ["bar floor", "bar us", "bar", "bar us", "bar"])
        self.assertEqual([round(float(bar.get("width")) / full, 2) for bar in bars], [1, 0.8, 0.5, 1, 0.1])
        for text in root.iter("{http://www.w3.org/2000/svg}text"):
            self.assertLessEqual(float(text.get("x")), WIDTH - MARGIN)

    def test_what_was_saved_reads_as_what_was_measured(self):
        again = Results(**json.loads(json.dumps(vars(self.RESULTS))))
        self.assertEqual((tables(again), svg(again)), (tables(self.RESULTS), svg(self.RESULTS)))
