"""`python -m tests.chaos --minutes 30 --seed N`: a long run, with what was done and lost at the end."""

import argparse
import contextlib
import json
import shutil
import sys
from pathlib import Path
from tempfile import mkdtemp

from tests.chaos.fleet import LEASE_S, fleet
from tests.chaos.plan import make_plan
from tests.chaos.verdict import judge
from tests.doubles.servers import Postgres, SeaweedFS


def main() -> int:
    """Run, and say what came of it; 1 if anything was lost or left, and then the logs are kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--recordings", type=int, default=None, help="60 for every two minutes if not told")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--receivers", type=int, default=2)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    folder = Path(mkdtemp(prefix="chaos-"))
    count = options.recordings or max(6, round(30 * options.minutes))
    with contextlib.ExitStack() as stack:
        postgres, seaweedfs = stack.enter_context(Postgres()), stack.enter_context(SeaweedFS())
        all_of_it = stack.enter_context(
            fleet(
                folder,
                seed=options.seed,
                recordings=count,
                workers=options.workers,
                receivers=options.receivers,
                postgres=postgres,
                seaweedfs=seaweedfs,
            )
        )
        plan = make_plan(
            options.seed, seconds=60 * options.minutes, processes=list(all_of_it.members), lease_s=LEASE_S
        )
        sys.stdout.write("".join(f"{blow}\n" for blow in plan))
        all_of_it.run(plan)
        all_of_it.deliver_the_rest()
        checks = judge(all_of_it)
        done = dict(sorted(all_of_it.done.items()))
    sys.stdout.write("\n".join(f"{count:6}  {what}" for what, count in done.items()) + "\n")
    for check in checks:
        sys.stdout.write(f"{'FAULT' if check.faults else 'ok':6}  {check.name}: {check.told}\n")
        sys.stdout.writelines(f"        {fault}\n" for fault in check.faults)
    is_whole = not any(check.faults for check in checks)
    if options.json is not None:
        found = {"seed": options.seed, "done": done, "checks": {each.name: each.faults for each in checks}}
        options.json.write_text(json.dumps(found, indent=2))
    if is_whole:
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    sys.stdout.write(f"the logs are in {folder}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
