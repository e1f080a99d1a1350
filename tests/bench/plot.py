"""`python -m tests.bench.plot FILE...`: what `--json` wrote as pictures for the README.

Of the scenario `sweep` throughput and CPU by part size and parts at once, of `memory` the curves of the
service's resident memory. Files of several runs are taken together. Needs matplotlib, of the `bench` extra.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib import pyplot as plt

PICTURES = Path(__file__).parent / "pictures"
_STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "white",  # a README may be read on black
    "font.size": 9,
    "grid.alpha": 0.3,
    "svg.fonttype": "none",
    "svg.hashsalt": "dyte-archiver",
}


def main() -> None:
    """Draw what the files have."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.plot", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--into", type=Path, default=PICTURES, help="a folder")
    options = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {"sweep": [], "memory": []}
    for file in options.files:
        measured = json.loads(file.read_text("utf-8"))
        for name, rows in found.items():
            rows.extend(measured[name])
    options.into.mkdir(exist_ok=True)
    with plt.rc_context(_STYLE):
        if found["sweep"]:
            _draw_sweep(found["sweep"], options.into / "sweep.svg")
        if found["memory"]:
            _draw_memory(found["memory"], options.into / "memory.svg")


def _draw_sweep(settings: Sequence[dict[str, Any]], file: Path) -> None:
    """A row for each route: MB/s and CPU s/GB, medians, over the number of parts at once."""
    routes = list(dict.fromkeys(each["route"] for each in settings))
    figure, grid = plt.subplots(len(routes), 2, figsize=(8, 2.6 * len(routes)), squeeze=False)
    for route, axes in zip(routes, grid, strict=True):
        of_route = [each for each in settings if each["route"] == route]
        for axis, field, unit in zip(axes, ("mb_s", "cpu_s_per_gb"), ("MB/s", "CPU s/GB"), strict=True):
            for size in sorted({each["part_size_mib"] for each in of_route}):
                counts = sorted({each["parts_in_flight"] for each in of_route})
                medians = [
                    median(
                        each[field]
                        for each in of_route
                        if (each["part_size_mib"], each["parts_in_flight"]) == (size, count)
                    )
                    for count in counts
                ]
                axis.plot(range(len(counts)), medians, marker="o", markersize=3, label=f"{size} MiB")
            axis.set_xticks(range(len(counts)), map(str, counts))
            axis.set_ylim(bottom=0)
            axis.set_title(f"{unit}, {route}, {of_route[0]['sample']}", loc="left")
            axis.set_xlabel("parts at once")
    grid[0][0].legend(title="part size", frameon=False, ncols=2)
    _save(figure, file)


def _draw_memory(occupancies: Sequence[dict[str, Any]], file: Path) -> None:
    """Resident memory over the share of the transfer's time, so that short and long ones lie together."""
    figure, axis = plt.subplots(figsize=(8, 2.8))
    for each in occupancies:
        times, mib = zip(*each["curve"], strict=True)
        label = f"{each['case']}, {each['wall_s']:.0f} s, at most {each['peak_mib']:.0f} MiB"
        axis.plot([100 * second / times[-1] for second in times], mib, linewidth=1, label=label)
    axis.set_ylim(bottom=0)
    axis.set_title("resident memory of the service, MiB", loc="left")
    axis.set_xlabel("% of the transfer's time")
    axis.legend(frameon=False, loc="lower right")
    _save(figure, file)


def _save(figure: Any, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
