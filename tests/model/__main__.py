"""The model with more room: `python -m tests.model --steals 2 --crashes 2 --audio --change video`."""

import argparse
import sys
import time
from dataclasses import fields

from tests.model.protocol import Protocol
from tests.model.search import Broken, search
from tests.model.states import AUDIO, VIDEO, Limits, Rules

ARTIFACTS = {"video": VIDEO, "audio": AUDIO}


def main() -> int:
    """Search; 1 if an invariant does not hold, with how it comes to that."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    usual = Limits()
    for name in ("steals", "crashes", "losses", "late", "orders"):
        parser.add_argument(f"--{name}", type=int, default=getattr(usual, name))
    for name in ("audio", "zombies-die", "no-names-guarded", "no-checksum-told"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--change", action="append", choices=ARTIFACTS, default=[])
    rules = [field.name for field in fields(Rules)]
    parser.add_argument(
        "--without", action="append", choices=rules, default=[], help="leave a protection out"
    )
    parser.add_argument("--but", action="append", default=[], help="an invariant that need not hold")
    given = parser.parse_args()
    limits = Limits(
        steals=given.steals,
        crashes=given.crashes,
        losses=given.losses,
        late=given.late,
        orders=given.orders,
        audio=given.audio,
        changes=tuple(ARTIFACTS[name] for name in given.change),
        guards_names=not given.no_names_guarded,
        tells_checksum=not given.no_checksum_told,
        zombies_die=given.zombies_die,
    )
    began_at = time.monotonic()
    found = search(Protocol(Rules(**dict.fromkeys(given.without, False)), limits), but=frozenset(given.but))
    told = str(found) if isinstance(found, Broken) else "all invariants hold"
    states = found.states if isinstance(found, Broken) else found
    sys.stdout.write(f"{told}\n{states} states in {time.monotonic() - began_at:.1f} s\n")
    return int(isinstance(found, Broken))


if __name__ == "__main__":
    sys.exit(main())
