"""What an answer means is told as one of our errors: what happened, what to do about it, and no secret."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.apps import App
from service.errors import (
    ProviderError,
    ProviderMissing,
    ProviderRefused,
    ProviderRejected,
    ProviderUnavailable,
)
from service.provider import ProviderApi, api_session
from service.provider.asking import ANSWER_LIMIT
from tests.unit.scripted_api import DYTE, KEY, REALTIMEKIT, Answer, ScriptedApi, bad, good

RECORDING = good({"id": "rec-1", "status": "RECORDING"})


@pytest.fixture
async def server() -> AsyncIterator[ScriptedApi]:
    async with ScriptedApi() as server:
        yield server


@pytest.fixture
async def api(server: ScriptedApi) -> AsyncIterator[ProviderApi]:
    async with server.client() as api:
        yield api


@pytest.mark.parametrize(
    ("answer", "family"),
    [
        (Answer(401, {"message": "Unauthorized"}), ProviderRefused),
        (Answer(401, b"no"), ProviderRefused),
        (bad(403), ProviderRefused),
        (Answer(400, {"success": False, "errors": [{"code": 6003}]}), ProviderRefused),
        (bad(404), ProviderMissing),
        (bad(410), ProviderMissing),
        (bad(400, "no"), ProviderRejected),
        (bad(409, "no"), ProviderRejected),
        (bad(422, "no"), ProviderRejected),
        (Answer(200, {"success": False, "errors": [{"code": 1, "message": "no"}]}), ProviderRejected),
        (Answer(302, b"", {"Location": "/v2/other"}), ProviderUnavailable),
        (Answer(200, b"<html>Welcome</html>"), ProviderUnavailable),
        (Answer(200, b"{" + b" " * ANSWER_LIMIT + b"}"), ProviderUnavailable),
        (Answer(204, b""), ProviderUnavailable),
    ],
)
async def test_an_answer_that_asking_again_would_not_change_fails_at_once(
    server: ScriptedApi, api: ProviderApi, answer: Answer, family: type[ProviderError]
) -> None:
    server.answers(answer)
    with pytest.raises(ProviderError) as caught:
        await api.recording("rec-1")
    assert type(caught.value) is family
    assert len(server.asked) == 1


async def test_an_answer_up_to_the_limit_is_read(server: ScriptedApi, api: ProviderApi) -> None:
    body = json.dumps(RECORDING.body).encode()
    server.answers(Answer(200, body + b" " * (ANSWER_LIMIT - len(body))))
    assert (await api.recording("rec-1")).recording is not None


async def test_no_redirect_takes_the_credentials_elsewhere(server: ScriptedApi) -> None:
    async with ScriptedApi() as elsewhere, server.client() as api:
        server.answers(Answer(307, b"", {"Location": f"{elsewhere.url}/recordings/rec-1"}))
        with pytest.raises(ProviderUnavailable, match="307, which is not followed"):
            await api.recording("rec-1")
        assert elsewhere.asked == []


async def test_a_certificate_that_cannot_be_trusted_is_not_tried_again(server: ScriptedApi) -> None:
    async with server.client(api_url=server.url.replace("http:", "https:")) as api:
        with pytest.raises(ProviderUnavailable, match="cannot be reached") as caught:
            await api.check()
    assert "SSL_CERT_FILE" in caught.value.mend
    assert server.pauses == []


async def test_a_long_message_is_cut(server: ScriptedApi, api: ProviderApi) -> None:
    server.answers(bad(400, "x" * 5000))
    with pytest.raises(ProviderRejected) as caught:
        await api.recording("rec-1")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(("given", "name"), [(DYTE, "ARCHIVER_API_KEY"), (REALTIMEKIT, "ARCHIVER_API_TOKEN")])
async def test_refused_credentials_name_their_setting(
    server: ScriptedApi, given: dict[str, str], name: str
) -> None:
    server.answers(Answer(401, {"message": "Unauthorized"}))
    async with server.client(given) as api:
        with pytest.raises(ProviderRefused, match="401: Unauthorized") as caught:
            await api.check()
    assert name in caught.value.mend


async def test_without_credentials_nothing_is_asked(server: ScriptedApi) -> None:
    async with api_session() as session:
        api = ProviderApi(App(), session, pace=server.pace(), sleep=server.sleep, jitter=lambda: 0.0)
        with pytest.raises(ProviderRefused, match="no credentials are given") as caught:
            await api.recording("rec-1")
    assert "ARCHIVER_API_KEY" in caught.value.mend
    assert server.turns == 0


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
async def test_no_message_repeats_a_secret_or_a_links_query(
    server: ScriptedApi, api: ProviderApi, status: int
) -> None:
    assert api.app.authorization is not None
    credentials = api.app.authorization.partition(" ")[2]
    message = f"{'x' * 280} {KEY} {credentials} https://files.example.com/rec.mp4?X-Signature=s1gned"
    for said in (message, message[281:]):
        server.answers(bad(status, said))
        with pytest.raises(ProviderError) as caught:
            await api.recording("rec-1")
        told = f"{caught.value} {caught.value.mend}"
        assert KEY[:8] not in told
        assert credentials[:8] not in told
        assert "s1gned" not in told


async def test_a_netrc_for_the_apis_host_does_not_replace_the_credentials(
    server: ScriptedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n", "utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.answers(RECORDING)
    async with server.client(REALTIMEKIT) as api:
        await api.recording("rec-1")
    assert [asked.headers["Authorization"] for asked in server.asked] == [f"Bearer {KEY}"]
    assert len(server.asked[0].headers.getall("Authorization")) == 1  # type: ignore[attr-defined]  # a multidict
