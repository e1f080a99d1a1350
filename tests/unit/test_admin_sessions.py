"""A session is known to every process with the token, until it ends, and to nobody else."""

import pytest

from service.admin.sessions import LASTS_S, Sessions

NOW = 1_800_000_000.0


def sessions(token: str = "a token of the port", *, at: float = NOW) -> Sessions:
    return Sessions(token, clock=lambda: at)


def cookies(*lines: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"h"), *((b"cookie", line.encode("latin-1")) for line in lines)]


def test_a_session_is_good_in_another_process_until_it_ends() -> None:
    session = sessions().issue()
    assert sessions(at=NOW + LASTS_S - 2).is_valid(session)
    assert not sessions(at=NOW + LASTS_S + 2).is_valid(session)
    assert not sessions("another token of it").is_valid(session)
    assert "token" not in session


@pytest.mark.parametrize(
    "forged",
    ["", ".", "x", "1800043200", "1800043200.", "9999999999.{signature}", "{until}.{signature}0",
     "{until}.{form}", "inf.{signature}", "\udcff.\udcff", "{until}.{signature}.x"],
)  # fmt: skip
def test_a_session_cannot_be_made_up(forged: str) -> None:
    until, _, signature = sessions().issue().partition(".")
    made_up = forged.format(until=until, signature=signature, form=sessions().form_token(None))
    assert not sessions().is_valid(made_up)


def test_the_cookie_is_found_among_others_also_beside_a_dead_one_of_its_name() -> None:
    known = sessions()
    session = known.issue()
    assert known.found_in(cookies(f"a=b; {known.cookie}={session}; c=d")) == session
    assert known.found_in(cookies(f"{known.cookie}=dead.x; {known.cookie}={session}")) == session
    assert known.found_in(cookies("a=b", f"{known.cookie}={session}")) == session
    assert known.found_in(cookies(f"other={session}", "\xff=\xff", ";;=")) is None


def test_deployments_on_one_host_do_not_share_a_cookie() -> None:
    assert sessions("one token of it").cookie != sessions("another token of it").cookie


def test_a_form_s_token_is_of_its_session_alone() -> None:
    known = sessions()
    first, second = known.issue(), sessions(at=NOW + 60).issue()
    assert known.is_form_token(first, known.form_token(first))
    assert not known.is_form_token(first, known.form_token(second))
    assert not known.is_form_token(first, known.form_token(None))
    assert not known.is_form_token(first, "")
    assert not known.is_form_token(None, "\udcff")
