"""Draw the panels of manifests/grafana/crisp.json as SVG, from what a Prometheus server has recorded.

    tools/dashboard.py http://127.0.0.1:9090 5 docs/dashboard.svg      # of the last 5 minutes

The queries are the dashboard's own, and Prometheus answers them. The picture is ours: Grafana draws more finely.
"""

from __future__ import annotations

import json
import re
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

DASHBOARD = Path(__file__).parents[1] / "manifests/grafana/crisp.json"
WIDTH, HEIGHT, GAP = 560, 210, 12
LEFT, TOP, RIGHT, LEGEND = 66, 30, 12, 58
POINTS = 120
SHOWN = 8
"""Series of a panel that have a line: those that reach the highest values."""
COLOURS = ("#3274d9", "#e0752d", "#37872d", "#c4162a", "#8f3bb8", "#b59a00", "#1f8a8a", "#7a5c3e")
_BYTES: tuple[tuple[float, str], ...] = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B"))
_UNITS: dict[str, tuple[tuple[float, str], ...]] = {
    "s": ((1, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "percentunit": ((1e-2, "%"),),
    "bytes": _BYTES,
    "Bps": tuple((factor, f"{name}/s") for factor, name in _BYTES),
}
"""By Grafana's names of them, the largest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    name: str
    points: list[tuple[float, float]]

    @property
    def peak(self) -> float:
        return max(value for _, value in self.points)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    server: str
    start: float
    end: float

    def query(self, target: dict[str, str], interval: float) -> list[Series]:
        """What one query of a panel gives, as Grafana would ask it and name it."""
        expression = target["expr"].replace("$instance", ".*").replace("$__rate_interval", f"{interval:.0f}s")
        step = (self.end - self.start) / POINTS
        words = urllib.parse.urlencode({"query": expression, "start": self.start, "end": self.end, "step": step})
        with urllib.request.urlopen(f"{self.server}/api/v1/query_range?{words}") as reply:
            found = json.load(reply)["data"]["result"]
        return [_series(one, target["legendFormat"]) for one in found if _points(one)]


def _series(result: Any, legend: str) -> Series:
    name = re.sub(r"{{(\w+)}}", lambda match: result["metric"].get(match[1], ""), legend)
    name = name.replace(result["metric"].get("instance", "\0"), "").strip()  # there is one node in the picture
    return Series(name=name or "crispd", points=_points(result))


def _points(result: Any) -> list[tuple[float, float]]:
    pairs = [(float(when), float(value)) for when, value in result["values"]]
    return [pair for pair in pairs if pair[1] == pair[1]]  # NaN: nothing to divide by


def draw(window: Window) -> Iterator[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    rows = (len(panels) + 1) // 2
    width, height = 2 * WIDTH + 3 * GAP, rows * (HEIGHT + GAP) + GAP + 20
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
    yield ' font-family="DejaVu Sans, sans-serif" font-size="11">'
    yield f'<rect width="{width}" height="{height}" fill="#f4f5f5"/>'
    for number, panel in enumerate(panels):
        x, y = GAP + number % 2 * (WIDTH + GAP), GAP + number // 2 * (HEIGHT + GAP)
        series = [one for target in panel["targets"] for one in window.query(target, interval=20)]
        series.sort(key=lambda one: one.peak, reverse=True)
        yield f'<g transform="translate({x} {y})">'
        yield from _panel(panel["title"], panel["fieldConfig"]["defaults"].get("unit", ""), series[:SHOWN], window)
        yield "</g>"
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(window.end))
    text = f"Drawn by tools/dashboard.py from a Prometheus server's answers to the dashboard's queries, {when}."
    yield f'<text x="{GAP}" y="{height - 10}" fill="#666">{text}</text></svg>'


def _panel(title: str, unit: str, series: Sequence[Series], window: Window) -> Iterator[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - LEGEND
    top = max((one.peak for one in series), default=0) * 1.05 or 1.0
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" rx="3" fill="#fff" stroke="#d8d9da"/>'
    yield f'<text x="12" y="19" font-weight="bold">{escape(title)}</text>'
    for part in range(4):
        y = bottom - part / 3 * (bottom - TOP)
        yield f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#e6e7e8"/>'
        value = _value(top * part / 3, unit)
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#666">{value}</text>'
    for part in range(5):
        x = LEFT + part / 4 * (right - LEFT)
        clock = time.strftime("%H:%M:%S", time.gmtime(window.start + part / 4 * (window.end - window.start)))
        anchor = "end" if part == 4 else "middle"
        yield f'<text x="{x:.0f}" y="{bottom + 14}" text-anchor="{anchor}" fill="#666">{clock}</text>'
    for one, colour in zip(series, COLOURS):
        places = (
            f"{LEFT + (when - window.start) / (window.end - window.start) * (right - LEFT):.1f} "
            f"{bottom - value / top * (bottom - TOP):.1f}"
            for when, value in one.points
        )
        yield f'<path d="M{"L".join(places)}" fill="none" stroke="{colour}" stroke-width="1.4"/>'
    yield from _legend(series)
    if not series:
        yield f'<text x="{WIDTH / 2}" y="{(TOP + bottom) / 2}" text-anchor="middle" fill="#666">nothing to show</text>'


def _legend(series: Sequence[Series]) -> Iterator[str]:
    x, y = float(LEFT), HEIGHT - LEGEND + 30
    for one, colour in zip(series, COLOURS):
        length = 24 + 6.6 * len(one.name)
        if x + length > WIDTH:
            x, y = float(LEFT), y + 14
        yield f'<rect x="{x:.0f}" y="{y - 6}" width="10" height="3" fill="{colour}"/>'
        yield f'<text x="{x + 14:.0f}" y="{y}">{escape(one.name)}</text>'
        x += length


def _value(number: float, unit: str) -> str:
    units = _UNITS.get(unit, ((1, ""),))
    factor, name = next((one for one in units if number >= one[0]), units[-1])
    return f"{number / factor:.3g} {name}".strip() if number else "0"


if __name__ == "__main__":
    server, minutes, target = sys.argv[1:]
    now = time.time()
    picture = "\n".join(draw(Window(server=server.rstrip("/"), start=now - float(minutes) * 60, end=now)))
    Path(target).write_text(picture + "\n")
