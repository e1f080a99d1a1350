"""`python -m tests.bench.short`: a short bench that fails on what does not depend on how busy a machine is.

That is memory and instructions. Times are printed and judged by nobody.
"""

import json
import sys
import tempfile
from pathlib import Path

from tests.bench.__main__ import main as measure

_ARGUMENTS = ["--sizes", "40MB", "--rounds", "1", "--both", "--only"]
_ARGUMENTS.append("rclone-copy,dyte-archiver,memory,instructions")
PEAK_MIB = {"http to http": 165.0, "https to https": 180.0}
"""The most that the service may take for one recording, or for four at once."""
INSTRUCTIONS_A_BYTE = 9.0


def main() -> None:
    """Measure, print, and end with 1 if a limit is passed, which is named."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "short.json"
        measure([*_ARGUMENTS, "--json", str(file)])
        found = json.loads(file.read_text("utf-8"))
    faults = [
        f"{each['case']}: {each['peak_mib']:.0f} MiB, at most {most:.0f} are allowed"
        for each in found["memory"]
        for route, most in PEAK_MIB.items()
        if each["case"].startswith(f"{route}:") and each["peak_mib"] > most
    ]
    faults += [
        f"{each['route']}: {each['counted'] / each['size_bytes']:.2f} instructions a byte, "
        f"at most {INSTRUCTIONS_A_BYTE} are allowed"
        for each in found["instructions"]
        if each["counted"] > INSTRUCTIONS_A_BYTE * each["size_bytes"]
    ]
    sys.stdout.write("".join(f"FAILED: {fault}\n" for fault in faults))
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
