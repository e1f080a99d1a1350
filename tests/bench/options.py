"""What a run is asked to do."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CONTESTANTS = ("rclone-copyurl", "rclone-copy", "curl-aws", "aioboto3", "dyte-archiver")
SCENARIOS = ("floor", "memory", "latency", "idle", "instructions", "small", "pods", "sweep")
ROUTES = {
    "plain": "http to http",
    "tls": "https to https",
    "held": "a source held to a rate, http to http",
    "far": "as held, and the source a round trip away",
    "apart": "as far, and the storage a round trip away, too",
}


@dataclass(frozen=True)
class Options:
    """The command line, read."""

    sizes: Sequence[str]
    rounds: int
    routes: Sequence[str]
    held_mb_s: int
    round_trip_ms: int
    only: Sequence[str]
    checksum: str
    at_once: Sequence[int]
    huge: str | None
    json: Path | None


def read_options(arguments: Sequence[str]) -> Options:
    """Options of a command line; argparse ends the program where they make no sense."""
    every = (*CONTESTANTS, *SCENARIOS)
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Race dyte-archiver against what one would use otherwise. See tests/bench/README.md.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--sizes", type=_list, default="300MB,3GB", help="samples, comma-separated")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contestant does each job")
    for route, ends in ROUTES.items():
        parser.add_argument(
            f"--{route}",
            dest="routes",
            action="append_const",
            const=route,
            default=argparse.SUPPRESS,
            help=f"measure {ends}; none of these options: all",
        )
    parser.add_argument(
        "--both",
        dest="routes",
        action="store_const",
        const=["plain", "tls"],
        default=argparse.SUPPRESS,
        help="as --plain --tls",
    )
    parser.add_argument("--held-mb-s", type=int, default=40, help="megabytes a second of a held connection")
    parser.add_argument(
        "--round-trip-ms", type=int, default=50, help="how far away `--far` and `--apart` are"
    )
    parser.add_argument("--only", type=_list, default=",".join(every), help="contestants and scenarios")
    parser.add_argument(
        "--checksum", choices=("crc64nvme", "none"), default="crc64nvme", help="the service's storage setting"
    )
    parser.add_argument(
        "--at-once",
        type=_numbers,
        default="1,4",
        help="`memory`: how many of the smallest sample move at once",
    )
    parser.add_argument("--huge", help="`memory`: also one file of zeros of this size, such as 7200MB")
    parser.add_argument("--json", type=Path, help="write every single measure to this file")
    given = vars(parser.parse_args(arguments))
    if unknown := set(given["only"]) - set(every):
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}")
    return Options(**{"routes": list(ROUTES)} | given)


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in _list(text)]
