"""Every fault is told at once, by name and without its value; what is given is what is used."""

import json
from pathlib import Path

import pytest

from service.choices import Role
from service.errors import SettingsError
from service.settings import PREFIX, Settings, load_settings
from service.storage import LocalConfig
from service.storage.config import S3Config
from tests.doubles.sender import Sender
from tests.unit.environment import Load, faults_of

AWS = {"type": "aws", "access_key": "AKIAEX", "secret": "wJalrXU", "bucket": "calls", "region": "eu-west-1"}
MARK = "s3cr3tmark"


# ---- what is used


def test_without_any_variable_the_service_archives_into_a_folder(load: Load) -> None:
    settings = load()
    assert settings.storages == {"default": LocalConfig(type="local", path=Path("archive"))}
    assert settings.database_url.get_secret_value() == "sqlite:///archiver.db"
    assert (settings.port, settings.admin_port, settings.role) == (8080, 9090, Role.ALL)
    assert (settings.webhook_ids, settings.source_hosts, settings.secrets) == ((), (), ())


def test_an_option_of_the_command_line_goes_before_its_variable(load: Load) -> None:
    assert load({"port": 1234, "role": None}, port="80", role="worker").port == 1234
    assert load({"port": 1234, "role": None}, port="80", role="worker").role is Role.WORKER


def test_an_empty_variable_is_none(load: Load) -> None:
    settings = load(port="", storage_config="", webhook_ids="", webhook_public_key="", lease_seconds="")
    assert (settings.port, settings.webhook_ids, settings.webhook_public_key) == (8080, (), None)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("a", ("a",)),
        ("a,b", ("a", "b")),
        (" a , b,", ("a", "b")),
        (",,", ()),
        ("*.example.com,[::1]", ("*.example.com", "[::1]")),
        ('["a","b"]', ('["a"', '"b"]')),
    ],
)
def test_lists_are_comma_separated(load: Load, given: str, names: tuple[str, ...]) -> None:
    settings = load(webhook_ids=given, source_hosts=given)
    assert (settings.webhook_ids, settings.source_hosts) == (names, names)


def test_a_public_key_may_come_with_escaped_newlines(load: Load, sender: Sender) -> None:
    pem = sender.public_pem.replace("\n", "\\n")
    assert load(webhook_public_key=pem).webhook_public_key == pem


def test_the_storage_may_be_given_in_a_file(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "storage.json"
    path.write_text(json.dumps(AWS))
    (storage,) = load(storage_config_file=str(path)).storages.values()
    assert {"default": storage} == load(storage_config=json.dumps(AWS)).storages
    assert isinstance(storage, S3Config)
    assert storage.bucket == "calls"


@pytest.mark.parametrize(
    "url", ["sqlite:///a.db", "sqlite:////data/a.db", "postgresql://h/n", "postgres://u:p@h/n"]
)
def test_both_kinds_of_ledger_are_known(load: Load, url: str) -> None:
    assert load(database_url=url).database_url.get_secret_value() == url


# ---- what is wrong


def test_every_fault_is_told_at_once_and_by_name(load: Load) -> None:
    faults = faults_of(
        load,
        port="eighty",
        admin_port="70000",
        role="boss",
        part_size_mib="4",
        lease_seconds="1",
        database_url="mysql://h/n",
        storage_config="{",
        webhook_public_key="no key",
        webhook_key_url="ftp://h/key",
        log_level="loud",
        log_format="xml",
        parts_inflight="3",
        colour="red",
    )
    assert set(faults) == {
        PREFIX + name.upper()
        for name in (
            "port", "admin_port", "role", "part_size_mib", "lease_seconds", "database_url", "storage_config",
            "webhook_public_key", "webhook_key_url", "log_level", "log_format", "parts_inflight", "colour",
        )
    }  # fmt: skip
    assert faults["ARCHIVER_COLOUR"] == "is not a setting of this version"
    assert faults["ARCHIVER_STORAGE_CONFIG"] == "is not JSON"
    assert faults["ARCHIVER_WEBHOOK_PUBLIC_KEY"] == "holds no PEM public key"


def test_every_fault_between_two_settings_is_told_at_once(load: Load, sender: Sender, tmp_path: Path) -> None:
    path = tmp_path / "storage.json"
    path.write_text(json.dumps(AWS))
    faults = faults_of(
        load,
        webhook_public_key=sender.public_pem,
        webhook_key_url="https://h/key",
        part_size_mib="65",
        memory_budget_mib="64",
        storage_config=json.dumps(AWS),
        storage_config_file=str(path),
    )
    assert set(faults) == {
        "ARCHIVER_WEBHOOK_KEY_URL", "ARCHIVER_MEMORY_BUDGET_MIB", "ARCHIVER_STORAGE_CONFIG_FILE"
    }  # fmt: skip


def test_the_budget_holds_at_least_one_part(load: Load) -> None:
    assert load(part_size_mib="64", memory_budget_mib="64").part_size_mib == 64
    assert "smaller than one part" in faults_of(load, part_size_mib="65")["ARCHIVER_MEMORY_BUDGET_MIB"]


def test_a_variable_that_is_not_known_is_a_fault_in_any_case_of_its_letters(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    load()
    monkeypatch.setenv("archiver_prot", "8080")
    with pytest.raises(SettingsError, match="archiver_prot: is not a setting"):
        load_settings()


def test_the_variables_of_other_programs_are_no_business_of_ours(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_ARCHIVER_PORT", "x")
    monkeypatch.setenv("ARCHIVERS", "x")
    monkeypatch.setenv("PORT", "x")
    assert load().port == 8080


def test_a_port_that_kubernetes_made_of_a_service_is_explained(load: Load) -> None:
    fault = faults_of(load, port="tcp://10.96.0.12:8080")["ARCHIVER_PORT"]
    assert "Kubernetes Service" in fault
    assert "enableServiceLinks: false" in fault
    assert "10.96" not in fault


@pytest.mark.parametrize(
    ("write", "fault"),
    [
        (None, "cannot be read (FileNotFoundError)"),
        (b"\xff\xfe", "cannot be read (UnicodeDecodeError)"),
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"{}", "type: is missing"),
    ],
)
def test_a_storage_file_that_cannot_serve_is_told(
    load: Load, tmp_path: Path, write: bytes | None, fault: str
) -> None:
    path = tmp_path / "storage.json"
    if write is not None:
        path.write_bytes(write)
    assert faults_of(load, storage_config_file=str(path)) == {"ARCHIVER_STORAGE_CONFIG_FILE": fault}
    assert (
        "cannot be read" in faults_of(load, storage_config_file=str(tmp_path))["ARCHIVER_STORAGE_CONFIG_FILE"]
    )


def test_every_fault_of_the_storage_is_told_by_its_field(load: Load) -> None:
    with pytest.raises(SettingsError) as caught:
        load(storage_config='{"type":"aws","colour":"red","access_key":"a"}')
    lines = [line.strip() for line in caught.value.detail.splitlines() if line]
    assert {line.removeprefix("ARCHIVER_STORAGE_CONFIG: ") for line in lines} == {
        "access_key: needs secret beside it",
        "bucket: is missing",
        "region: is missing (or give endpoint_url)",
        "colour: is not a field of this type",
    }


def test_every_fault_of_the_key_template_is_told_by_its_field(load: Load) -> None:
    with pytest.raises(SettingsError) as caught:
        load(key_template="/{titel}/{started:%H:%M}")
    lines = [line.strip() for line in caught.value.detail.splitlines() if line]
    assert all(line.startswith("ARCHIVER_KEY_TEMPLATE: ") for line in lines)
    said = [line.removeprefix("ARCHIVER_KEY_TEMPLATE: ").partition(" ")[0] for line in lines]
    assert said == ["titel:", "started:", "begins"]


def test_a_routing_file_names_every_storage(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "routing.json"
    local = {"type": "local", "path": "/data"}
    path.write_text(
        json.dumps({"storages": {"main": AWS, "copy": local}, "rules": [{"to": ["main", "copy"]}]})
    )

    settings = load(routing_file=str(path))

    assert list(settings.storages) == ["main", "copy"]
    assert set(settings.secrets) == {AWS["access_key"], AWS["secret"]}
    told = faults_of(load, routing_file=str(path), storage_config=json.dumps(AWS))
    assert told.keys() == {"ARCHIVER_ROUTING_FILE"}


def test_every_fault_of_a_routing_file_is_told_with_the_variables_name(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "routing.json"
    path.write_text(json.dumps({"storages": {"main": {"type": "local"}}, "rules": [{"to": "other"}]}))

    with pytest.raises(SettingsError) as caught:
        load(routing_file=str(path))

    lines = {line.strip() for line in caught.value.detail.splitlines() if line}
    assert lines == {
        "ARCHIVER_ROUTING_FILE: storages.main.path: is missing",
        "ARCHIVER_ROUTING_FILE: rules[0].to: names a storage that is not among storages",
    }


@pytest.mark.parametrize("url", ["postgresql://u:s3cr3t@h:s3cr3t/x", "postgresql://u:s3cr3t@[h/x"])
def test_a_database_url_that_cannot_be_read_is_not_repeated(load: Load, url: str) -> None:
    told = faults_of(load, database_url=url)

    assert "percent-encode" in told["ARCHIVER_DATABASE_URL"]
    assert "s3cr3t" not in str(told)


# ---- secrets


@pytest.mark.parametrize("name", [*Settings.model_fields, "no_such_setting"])
@pytest.mark.parametrize(
    "value",
    [MARK, f"://{MARK}", f'{{"type":"{MARK}"}}', json.dumps(AWS | {"secret": [MARK], "region": {"a": MARK}}),
     json.dumps(AWS | {"colour": MARK, "endpoint_url": MARK}), f"-----BEGIN PUBLIC KEY-----\n{MARK}\n"],
)  # fmt: skip
def test_no_fault_repeats_the_value(load: Load, name: str, value: str) -> None:
    try:
        load(**{name: value})
    except SettingsError as error:
        told = repr([str(error), error, error.__cause__, error.__context__])
    else:  # it is a good value for this one
        told = ""
    assert MARK not in told


def test_secrets_are_masked_wherever_settings_are_shown(load: Load) -> None:
    settings = load(
        database_url=f"postgresql://u:{MARK}@h/n",
        storage_config=json.dumps(AWS | {"access_key": f"A{MARK}", "secret": MARK}),
    )
    for shown in (
        str(settings),
        repr(settings),
        settings.model_dump_json(),
        repr(settings.storages),
        repr(settings.routing),
        f"{settings}",
    ):
        assert MARK not in shown
    assert set(settings.secrets) == {f"A{MARK}", MARK}  # the database's password is the latter, too
    assert MARK not in settings.storages["default"].label


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("http://127.0.0.1:9090", "http://127.0.0.1:9090"),
        ("https://ops.example.com/archiver/", "https://ops.example.com/archiver"),
    ],
)
def test_commands_may_be_told_of_a_service(load: Load, url: str, read: str) -> None:
    assert load(admin_url=url).admin_url == read
    assert load().admin_url is None


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:9090",
        "ftp://host",
        "http://",
        "http://h:99999",
        "http://u:p@h",
        "http://h/?a",
        "http://h/ x",
    ],
)
def test_an_address_that_leads_to_no_service_is_a_fault(load: Load, url: str) -> None:
    faults = faults_of(load, admin_url=url)
    assert set(faults) == {"ARCHIVER_ADMIN_URL"}
    assert "u:p" not in faults["ARCHIVER_ADMIN_URL"]
