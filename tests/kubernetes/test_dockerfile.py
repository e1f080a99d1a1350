"""Proves what of the image can be seen without building it; `test_image` builds it."""

import re
import subprocess
import tomllib

from tests.doubles.programs import find_program
from tests.test_house import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
FINAL = DOCKERFILE.rpartition("\nFROM ")[2]


def test_the_linter_finds_nothing_to_object_to() -> None:
    linter = find_program("hadolint")
    assert linter, "pip install '.[test]' brings hadolint"
    done = subprocess.run(
        [linter, "--failure-threshold", "style", "Dockerfile"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_dependencies_come_before_the_code_and_every_one_is_checked_by_its_hash() -> None:
    at = [DOCKERFILE.index(step) for step in ("COPY requirements.txt", "--require-hashes", "COPY service")]
    assert at == sorted(at)
    assert "--no-index --find-links wheels" in DOCKERFILE


def test_every_extra_but_tracing_is_in_it_unless_one_says_otherwise() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    (given,) = re.findall(r"^ARG EXTRAS=(.*)$", DOCKERFILE, re.MULTILINE)
    (every,) = extras["all"]
    # Traces are asked for by few, and would be 7 MB for all.
    assert set(given.split(",")) == set(re.findall(r"\w+", every.partition("[")[2])) - {"tracing"}


def test_nothing_runs_in_the_image_that_is_kept() -> None:
    assert not re.search(r"^(RUN|VOLUME|ADD) ", FINAL, re.MULTILINE)
    assert re.search(r"^USER 65532:65532$", FINAL, re.MULTILINE)


def test_signals_and_probes_pass_no_shell() -> None:
    given = re.findall(r"^(?:ENTRYPOINT|CMD|  CMD) (.*)$", FINAL, re.MULTILINE)
    assert len(given) == 3
    assert all(each.startswith("[") for each in given)


def test_what_is_sent_to_the_build_is_only_what_it_takes() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    let_in = {each.removeprefix("!") for each in ignored if each.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, re.MULTILINE)
    assert ignored[1] == "*"
    assert let_in == set(copied)
