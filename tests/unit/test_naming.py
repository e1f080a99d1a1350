"""Whatever the provider says of a file, its key is one that every storage takes, and no other file's."""

import math
import re
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from service.model import Artifact, Kind, Provider, Recording
from service.naming import KeyTemplate, candidates, safe

TEN = 1780480800.0
"""2026-06-03T10:00:00Z"""
ID = "0f0e1d2c-3b4a-4c5d-8e6f-708192a3b4c5"
FIELDS = [
    "output_file_name", "name", "extension", "recording_id", "meeting_id", "session_id", "organization_id",
    "app", "title", "kind", "started", "stopped",
]  # fmt: skip

names = st.one_of(
    st.text(),
    st.text(alphabet="./\\ :*?\0~ab\u202e\ud800", max_size=10),
    st.text(alphabet=st.characters(categories=["Mn", "Zs", "Cf", "Cn", "Lo"]), max_size=20),
    st.text(min_size=150, max_size=400),
    st.from_regex(r"[a-z]{1,5}(\.[a-z0-9]{1,20}){0,3}", fullmatch=True),
    st.sampled_from(["con", "NUL.mp4", "Com1", "LPT9.tar.gz", "aux ", "CONIN$"]),
)
ids = st.one_of(st.uuids().map(str), st.text(max_size=200), st.text(alphabet="a/\0\ud800", max_size=3))
moments = st.none() | st.floats() | st.floats(0, 4e9)
recordings = st.builds(
    Recording,
    id=ids,
    provider=st.just(Provider.DYTE),
    status=st.just("UPLOADED"),
    organization_id=st.none() | ids,
    meeting_id=st.none() | ids,
    session_id=st.none() | ids,
    app=names,
    title=st.none() | names,
    started_at=moments,
    stopped_at=moments,
)
artifacts = st.builds(
    Artifact, ids, st.sampled_from(Kind), st.just("https://p.example/f"), names, track=st.none() | names
)
literals = st.text(alphabet="ab-_ .é日 ", max_size=5) | st.text(alphabet="ab", min_size=100, max_size=200)
fields = st.sampled_from([*FIELDS, "started:%Y/%m/%d", "stopped:%H-%M %%", "started:%G-W%V/%u"])
templates = st.lists(
    st.lists(literals | fields.map(lambda field: f"{{{field}}}"), min_size=1, max_size=4).map("".join),
    min_size=1,
    max_size=16,
).map("/".join)


def artifact(name: str = "weekly.mp4", kind: Kind = Kind.VIDEO, recording_id: str = ID) -> Artifact:
    return Artifact(recording_id, kind, "https://provider.example/file", name)


def recording(**facts: Any) -> Recording:
    return Recording(ID, Provider.DYTE, "UPLOADED", **facts)


def key(template: str, made: Artifact | None = None, /, **facts: Any) -> str:
    return KeyTemplate.parse(template).key(made or artifact(), recording(**facts))


def faults_of(text: str) -> list[str]:
    with pytest.raises(ValueError, match=r"\w") as caught:
        KeyTemplate.parse(text)
    assert type(caught.value) is ValueError
    return str(caught.value).splitlines()


def faults_of_segment(segment: str) -> Iterator[str]:
    """What some storage would not take, told apart from how the service does it."""
    if not segment or segment in (".", ".."):
        yield "no name"
    if segment[:1] in (".", " ") or segment[-1:] in (".", " ") or segment != segment.strip():
        yield "an edge"
    if set(segment) & set('/\\:*?"<>|'):
        yield "a reserved character"
    for character in segment:
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            yield f"a control {character!a}"
        if unicodedata.bidirectional(character) in (
            "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI",
        ):  # fmt: skip
            yield f"a turn of the writing {character!a}"
        if ord(character) & 0xFFFF in (0xFFFE, 0xFFFF) and ord(character) < 0x10000:
            yield f"no character {character!a}"
    if not unicodedata.is_normalized("NFC", segment):
        yield "another form of Unicode"
    if re.fullmatch(r"con|prn|aux|nul|(com|lpt)\d", segment.partition(".")[0].rstrip(), re.IGNORECASE):
        yield "a device"
    if len(segment.encode("utf-8", "surrogatepass")) > 180:
        yield "too long"


def assert_safe(made: str) -> None:
    for segment in made.split("/"):
        assert not list(faults_of_segment(segment)), ascii(made)
        assert safe(segment) == segment
    assert len(made.encode()) <= 700


# ---- one segment


@given(name=names)
@example(name="")
@example(name="...")
@example(name="../../etc/passwd")
@example(name="x" * 5000 + ".mp4")
@example(name="🎬" * 100 + "." + "🎬" * 100)
@example(name="con")
@example(name="e\u0301" * 200)
@example(name="\u0301")
def test_any_name_becomes_one_that_every_storage_takes(name: str) -> None:
    made = safe(name)

    assert_safe(made)
    assert "/" not in made
    assert safe(name) == made


@pytest.mark.parametrize(
    "name",
    [
        "call.mp4",
        "Größe 日本語 🎬.mp4",
        "👨\u200d👩\u200d👧.mp4",
        "नी\u200cला.mp4",
        "a+b%20#1.webm",
        "no-suffix",
        "v1.2 final.mp4",
        "Contract.mp4",
        "com10.mp4",
        "aux-1.mp4",
        "[x] {y} 'z', (w) & ~v~ = $1;!@^`.mp4",
    ],
)
def test_a_plain_name_stays_what_it_is(name: str) -> None:
    assert safe(name) == name


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("a/b.mp4", "a_b.mp4"),
        ("..", "recording"),
        (" .hidden.mp4", "hidden.mp4"),
        (".call.mp4.0123456789abcdef.part", "call.mp4.0123456789abcdef.part"),
        (".dyte-archiver-parts", "dyte-archiver-parts"),
        ("what?.mp4", "what_.mp4"),
        ("tab\there.mp4", "tab_here.mp4"),
        ("call.mp4. ", "call.mp4"),
        ("\u3000call\u00a0.", "call"),
        ("C:\\calls\\1.mp4", "C_calls_1.mp4"),
        ("two\u2028lines\x85.mp4", "two_lines_.mp4"),
        ("invoice\u202e4pm.exe", "invoice_4pm.exe"),
        ("half\ud83c.mp4", "half_.mp4"),
        ("no\uffff.mp4", "no_.mp4"),
        ("Cafe\u0301.mp4", "Caf\u00e9.mp4"),
        ("CON", "CON_"),
        ("nul.mp4", "nul_.mp4"),
        ("Com1 .tar.gz", "Com1_ .tar.gz"),
        ("lpt\u00b2.mp4", "lpt\u00b2_.mp4"),
        (" .aux", "aux_"),
    ],
)
def test_what_a_storage_would_not_take_is_replaced(name: str, made: str) -> None:
    assert safe(name) == made


@given(stem=st.text(alphabet="abé日", min_size=200, max_size=300), end=st.text(alphabet="xy", max_size=3))
def test_long_names_keep_their_suffix_and_stay_distinct(stem: str, end: str) -> None:
    assert safe(f"{stem}{end}.mp4").endswith(".mp4")
    assert safe(f"{stem}{end}.mp4").startswith(stem[:50])
    assert safe(f"{stem}{end}.mp4") != safe(f"{stem}{end}z.mp4")
    assert safe(f"{stem}{end}.mp4") != safe(f"{stem}{end}.mp3")


# ---- what a template makes


@pytest.mark.parametrize(
    ("template", "made"),
    [
        ("{output_file_name}", "Weekly Sync.MP4"),
        ("{name}.{extension}", "Weekly Sync.mp4"),
        ("{title}/{kind}.{extension}", "Stand-up/video.mp4"),
        ("{app}/{kind}", "Acme _ staging/video"),
        ("{organization_id}/{meeting_id}/{session_id}/{recording_id}", f"org/meet/sess/{ID}"),
        ("{started}.mp4", "2026-06-03T10-00-00Z.mp4"),
        ("{stopped}", "2026-06-03T11-02-03Z"),
        ("{started:%Y/%m/%d}/{output_file_name}", "2026/06/03/Weekly Sync.MP4"),
        ("{started:%G-W%V-%u %j %y %H%M%S}", "2026-W23-3 154 26 100000"),
        ("{started:%Y년 100%%}", "2026년 100%"),
        ("archive/{{raw}}/{kind}", "archive/{raw}/video"),
        ("{title}{title}", "Stand-upStand-up"),
        ("fixed", "fixed"),
        ("nul/{kind}", "nul_/video"),
    ],
)
def test_fields_become_what_the_recording_says(template: str, made: str) -> None:
    assert made == key(
        template,
        artifact("Weekly Sync.MP4"),
        app="Acme / staging",
        organization_id="org",
        meeting_id="meet",
        session_id="sess",
        title="Stand-up",
        started_at=TEN + 0.9,
        stopped_at=TEN + 3723,
    )


@pytest.mark.parametrize(
    ("template", "made"),
    [
        ("{organization_id}/{meeting_id}/{session_id}", "unknown/unknown/unknown"),
        ("{app}", "default"),
        ("{title}.{extension}", "untitled.mp4"),
        ("{started:%Y/%m/%d}/{stopped}.mp4", "undated/undated.mp4"),
    ],
)
def test_what_the_provider_did_not_tell_has_a_word_of_its_own(template: str, made: str) -> None:
    assert key(template) == made
    blank = {"organization_id": "", "meeting_id": " ", "session_id": ".", "title": ".."}
    assert key(template, **blank, started_at=math.nan, stopped_at=math.inf) == made


def test_times_are_in_utc_wherever_the_service_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        assert key("{started}", started_at=TEN) == "2026-06-03T10-00-00Z"
    time.tzset()


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("call", "call|bin"),
        ("v1.2 final", "v1.2 final|bin"),
        ("2026.06.03", "2026.06.03|bin"),
        ("v1.2 final.mp4", "v1.2 final|mp4"),
        ("notes.confidential", "notes.confidential|bin"),
        ("call.7z", "call|7z"),
        ("tracks.tar", "tracks|tar"),
        (".mp4", "mp4|bin"),
        ("..", "recording|bin"),
        ("a/b.Mp3", "a_b|mp3"),
    ],
)
def test_a_name_is_told_from_its_extension(name: str, made: str) -> None:
    assert key("{name}/{extension}", artifact(name)).replace("/", "|") == made


@pytest.mark.parametrize("value", ["a/b", "a\\b", "a//b", "../a", "/a/b/", "a/./b", "a\u2028b"])
@pytest.mark.parametrize("field", ["title", "meeting_id", "session_id", "organization_id"])
def test_no_value_makes_a_folder(field: str, value: str) -> None:
    made = key(f"x/{{{field}}}/y", **{field: value})
    assert made.count("/") == 2
    assert_safe(made)


def test_the_default_is_the_provider_s_own_name_of_each_file() -> None:
    for name in ("weekly.mp4", "weekly.mp3", "a/b.mp4", "..", "x" * 300 + ".mp4", ""):
        assert key("{output_file_name}", artifact(name)) == safe(name)


def test_both_ways_to_write_a_letter_are_one_key() -> None:
    assert key("{title}", title="Cafe\u0301") == key("{title}", title="Café") == "Café"
    assert key("e{title}", title="\u0301x") == "\u00e9x"


@given(template=templates, made=artifacts, told=recordings)
@example(template="{title}", made=artifact(), told=recording(title="\ud800" * 300))
@example(template="/".join(["{title}"] * 16), made=artifact(), told=recording(title="日" * 500))
def test_every_key_is_safe_and_short_and_the_same_again(
    template: str, made: Artifact, told: Recording
) -> None:
    try:
        parsed = KeyTemplate.parse(template)
    except ValueError:
        assume(False)
    first = parsed.key(made, told)

    assert_safe(first)
    assert KeyTemplate.parse(template).key(made, told) == first
    assert first.count("/") <= 15
    for candidate in candidates(first, made, 3):
        assert_safe(candidate)


@given(title=st.text(alphabet="abé日", min_size=250, max_size=300), end=st.text(alphabet="xyz", max_size=3))
def test_long_values_stay_distinct_wherever_they_stand(title: str, end: str) -> None:
    for template in ("{title}", "{title}/{kind}", "{title}.mp4", "/".join(["{title}"] * 16)):
        assert key(template, title=f"{title}{end}") != key(template, title=f"{title}{end}w")


def test_only_what_is_too_long_is_cut() -> None:
    first, *others, last = key(
        "{organization_id}/" + "{title}/" * 4 + "{recording_id}.mp4", title="x" * 179, organization_id="org"
    ).split("/")
    assert (first, last) == ("org", f"{ID}.mp4")
    assert all(re.fullmatch("x{50,}-[0-9a-f]{12}", other) for other in others)


# ---- what is no template


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        ("", "is empty"),
        ("/{title}", "begins or ends with a slash"),
        ("{title}/", "begins or ends with a slash"),
        ("a//{title}", "two in a row"),
        ("/", "begins or ends with a slash"),
        ("../{title}", "begins or ends with a dot or a space"),
        ("a/../{title}", "begins or ends with a dot or a space"),
        ("./{title}", "begins or ends with a dot or a space"),
        (".dyte-archiver-parts/{title}", "begins or ends with a dot or a space"),
        (".{title}.part", "begins or ends with a dot or a space"),
        ("{title}.", "begins or ends with a dot or a space"),
        ("{title} /x", "begins or ends with a dot or a space"),
        (" ", "begins or ends with a dot or a space"),
        ("a\\{title}", "not every storage takes"),
        ("C:{title}", "not every storage takes"),
        ("a\u202e{title}", "not every storage takes"),
        ("a\ud800{title}", "not every storage takes"),
        ("x/" * 16 + "{title}", "more than 16 segments"),
        ("{title", "has a brace without its other"),
        ("title}", "has a brace without its other"),
        ("{title}}", "has a brace without its other"),
        ("{title!}", "has a brace without its other"),
        ("{titel}", "titel: is not a field; there are output_file_name, name"),
        ("{Title}", "Title: is not a field"),
        ("{__class__}", "__class__: is not a field"),
        ("{}", "has a field that is not known; there are output_file_name"),
        ("{0}", "has a field that is not known"),
        ("{ title }", "has a field that is not known"),
        ("{title.__class__}", "title: takes neither attribute nor index"),
        ("{title[0]}", "title: takes neither attribute nor index"),
        ("{started.year}", "started: takes neither attribute nor index"),
        ("{title!r}", "title: takes no conversion"),
        ("{started!s:%Y}", "started: takes no conversion"),
        ("{title:>10}", "title: takes no format"),
        ("{kind:%Y}", "kind: takes no format"),
        ("{started:%B}", "started: its format may have %Y, "),
        ("{started:%-d}", "started: its format may have %Y, "),
        ("{started:%s}", "started: its format may have %Y, "),
        ("{started:%Y%}", "started: its format may have %Y, "),
        ("{started:day}", "started: its format has no directive such as %Y"),
        ("{started:%%}", "started: its format has no directive such as %Y"),
        ("{started:%H:%M}", "started: its format has one of "),
        ("{started:%Y/../%m}", "started: its format has a segment that begins or ends with a dot"),
        ("{stopped:/%Y}", "stopped: its format begins or ends with a slash"),
        ("a{stopped:%Y/}", "stopped: its format begins or ends with a slash"),
        ("{started:%Y//%m}", "begins or ends with a slash, or has two in a row"),
        ("{started:" + "%Y/" * 16 + "%m}", "more than 16 segments"),
        ("{started:{title}}", "started: its format has a brace"),
    ],
)
def test_a_template_that_cannot_work_is_told_what_is_wrong(template: str, fault: str) -> None:
    assert any(line.startswith(fault) or fault in line for line in faults_of(template))


def test_every_fault_of_a_template_is_told_at_once_and_once() -> None:
    faults = faults_of("/{titel}/{titel}/{title!r}/{started:%H:%M}")
    assert [fault.partition(" ")[0] for fault in faults] == ["titel:", "title:", "started:", "begins"]


def test_a_fault_does_not_repeat_what_was_pasted_by_mistake() -> None:
    assert "s3cr3t" not in "".join(faults_of('{"secret": "s3cr3t", "region": {"a": "s3cr3t"}}'))
    assert "s3cr3t" not in "".join(faults_of("{s3cr3t/with/slashes+}{title:s3cr3t}{title.s3cr3t}"))


@given(text=st.text() | st.text(alphabet="{}[]!:%./ titlesarYmd\0", max_size=30))
@example(text="{title[}")
@example(text="{started:%\n}")
@example(text="{" * 5000)
def test_any_text_is_a_template_or_a_value_error(text: str) -> None:
    try:
        parsed = KeyTemplate.parse(text)
    except UnicodeError:
        raise
    except ValueError:
        return
    assert_safe(parsed.key(artifact(), recording(title="x", started_at=TEN)))
    assert_safe(parsed.key(artifact(""), recording()))


# ---- when a key is taken


@pytest.mark.parametrize(
    ("taken", "kind", "tried"),
    [
        ("call.mp4", "video", ("call.mp4", "call-{id}.mp4", "call-{id}-video.mp4", "call-{id}-video-7.mp4")),
        ("2026/06/call", "audio", ("2026/06/call", "2026/06/call-{id}", "2026/06/call-{id}-audio",
                                   "2026/06/call-{id}-audio-7")),
        ("{id}", "audio", ("{id}", "{id}-audio", "{id}-audio-7")),
        ("{id}/call.mp4", "video", ("{id}/call.mp4", "{id}/call-video.mp4", "{id}/call-video-7.mp4")),
        ("{id}/video.mp4", "video", ("{id}/video.mp4", "{id}/video-7.mp4")),
        ("x{id}.mp4", "video", ("x{id}.mp4", "x{id}-{id}.mp4", "x{id}-{id}-video.mp4",
                                "x{id}-{id}-video-7.mp4")),
        ("my video", "video", ("my video", "my video-{id}", "my video-{id}-7")),
        ("video audio", "video", ("video audio", "video audio-{id}", "video audio-{id}-video",
                                  "video audio-{id}-video-7")),
        ("v1.2 final", "audio", ("v1.2 final", "v1.2 final-{id}", "v1.2 final-{id}-audio",
                                 "v1.2 final-{id}-audio-7")),
    ],
)  # fmt: skip
def test_a_taken_key_says_more_each_time(taken: str, kind: str, tried: tuple[str, ...]) -> None:
    made = candidates(taken.replace("{id}", ID), artifact(kind=Kind(kind)), 7)
    assert made == tuple(name.replace("{id}", ID) for name in tried)


@pytest.mark.parametrize("template", ["{recording_id}", "{title}", "{meeting_id}/{started}", "all", "{kind}"])
def test_the_files_of_one_recording_and_of_two_find_keys_of_their_own(template: str) -> None:
    taken: dict[str, Artifact] = {}
    for recording_id in (ID, "7d0b4f3a-0000-4000-8000-708192a3b4c5"):
        for kind, name in ((Kind.VIDEO, "call.mp4"), (Kind.AUDIO, "call.mp3")):
            made = artifact(name, kind, recording_id)
            tried = candidates(key(template, made, title="Stand-up"), made, 1)
            free = next(name for name in tried[:-1] if name.lower() not in map(str.lower, taken))
            taken[free] = made
    assert len(taken) == 4


@given(name=names, recording_id=ids, kind=st.sampled_from(Kind), epoch=st.integers(1, 10**12), folder=names)
@example(name="x" * 300 + ".mp4", recording_id="y" * 200, kind=Kind.VIDEO, epoch=1, folder="x" * 300)
@example(name="x" * 174 + ".mp4", recording_id=ID, kind=Kind.AUDIO, epoch=1, folder="f")
def test_the_keys_to_try_are_distinct_and_fit_a_file_system(
    name: str, recording_id: str, kind: Kind, epoch: int, folder: str
) -> None:
    made = artifact(name, kind, recording_id)
    tried = candidates(f"{safe(folder)}/{safe(name)}", made, epoch)

    assert tried[0] == f"{safe(folder)}/{safe(name)}"
    assert len(set(tried)) == len(tried) >= 2
    assert candidates(tried[0], made, epoch) == tried
    suffix = re.search(r"\.[A-Za-z][A-Za-z0-9]{0,7}\Z", tried[0].rpartition("/")[2])
    for candidate in tried:
        assert_safe(candidate)
        # The longest that a folder sees of it: its manifest's temporary file.
        assert len(f".{Path(candidate).name}.json.0123456789abcdef.part".encode()) <= 255
        assert candidate.rpartition("/")[0] == safe(folder)
        assert candidate.endswith(suffix[0] if suffix else "")


def test_an_over_long_name_gives_way_to_what_tells_it_apart() -> None:
    *_, last = candidates(key("{output_file_name}", artifact("x" * 300 + ".mp4")), artifact(), 7)
    assert re.fullmatch(rf"x+-[0-9a-f]{{12}}-{ID}-video-7\.mp4", last)


@given(name=names, recording_id=ids, epoch=st.integers(1, 10**6))
def test_no_two_claims_share_the_last_key(name: str, recording_id: str, epoch: int) -> None:
    files = [artifact(name, kind, recording_id) for kind in Kind]
    lasts = {candidates(safe(name), made, claim)[-1] for made in files for claim in (epoch, epoch + 1)}
    assert len(lasts) == 2 * len(Kind)


@given(name=names, first=names, second=names, epoch=st.integers(1, 10**6))
@example(name="peer.webm", first="camera/peer.webm", second="screen/peer.webm", epoch=1)
@example(name="x" * 300, first="a" * 300 + "1", second="a" * 300 + "2", epoch=1)
def test_two_tracks_of_one_name_never_share_the_last_keys(
    name: str, first: str, second: str, epoch: int
) -> None:
    assume(first != second)
    files = [Artifact(ID, Kind.TRACK, "https://h", name, track=each) for each in (None, first, second)]

    tried = [candidates(safe(name), made, epoch) for made in files]

    assert tried[0][0] == tried[1][0] == tried[2][0]
    # Also without the claim's number they are told apart: two workers may try at once.
    assert len({each[-2] for each in tried[1:]}) == 2
    assert len({each[-1] for each in tried}) == 3


@given(first=st.text(max_size=100), second=st.text(max_size=100))
@example(first="a/b", second="a_b")
@example(first="", second="_")
@example(first="x" * 70 + "1", second="x" * 70 + "2")
def test_ids_that_look_alike_make_names_that_do_not(first: str, second: str) -> None:
    assume(first != second)
    made = [candidates("§", artifact(recording_id=each), 1)[-1] for each in (first, second)]
    assert made[0] != made[1]
