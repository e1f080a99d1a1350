"""The way into an SFTP server: its key is checked, the account let in, or told what is to be mended."""

import asyncio
import contextlib
import getpass
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import asyncssh
import structlog
from cryptography.exceptions import UnsupportedAlgorithm

from service.errors import SettingsError, StorageRefused, StorageThrottled, StorageUnavailable, add
from service.storage.config import SftpConfig

_KINDS = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"),
)
"""The kinds of host keys, and the algorithms of each."""

_ANY_KIND = tuple(algorithm for kind in _KINDS for algorithm in kind)

_CIPHERS = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"
"""Before the library's first choice, ChaCha20, which took 1.6 times the CPU where AES is in hardware."""

_WHERE = "check host and port, and that the server runs and lets this machine in"

log = structlog.get_logger()


class Login:
    """An account's way into its server. ``limit_s`` is for the whole of it, up to the SFTP session.

    Raises ``SettingsError`` for what only the libraries can tell of a ``storage_config``.
    """

    def __init__(self, config: SftpConfig, *, limit_s: float) -> None:
        self._config = config
        self._limit_s = limit_s
        self._first_shown = ""
        by_password = config.password if not config.uses_key else None
        self._password = by_password.get_secret_value() if by_password else None
        # With known_hosts the library itself asks for the kinds of keys that are there.
        self._kinds: Sequence[Sequence[str]] = (_ANY_KIND, *_KINDS) if not config.known_hosts else ((),)
        try:
            self._options = _options(config)
            asyncssh.SSHClientConnectionOptions(host=config.host, **self._options)
        except UnsupportedAlgorithm as error:
            raise SettingsError(
                "private_key: a library that decrypts it is missing", mend=add("sftp")
            ) from error
        except (asyncssh.Error, ValueError) as error:
            raise SettingsError(f"the SSH library does not take this storage_config: {error}") from error

    async def session(self) -> tuple[asyncssh.SSHClientConnection, asyncssh.SFTPClient]:
        """A new connection with an SFTP session. Raises :class:`~service.errors.StorageError`.

        A server has a key of each kind, and the one that the operator knows need not be the one that it
        shows first: then it is asked for the others.
        """
        shown: list[_Client] = []
        for algorithms in self._kinds:
            if any(client.kind in algorithms for client in shown):
                continue
            client = _Client(self, self._password)
            try:
                with _translated(client, self._config):
                    session = await self._enter(client, algorithms)
            except asyncssh.HostKeyNotVerifiable:
                shown.append(client)
            except asyncssh.KeyExchangeFailed as error:
                if not shown:
                    raise self._nothing_in_common(error) from error
            else:
                self._kinds = (algorithms, *(kind for kind in self._kinds if kind != algorithms))
                self._note(client)
                return session
        raise self._not_known(shown)

    def trusts(self, fingerprint: str) -> bool:
        """Whether a host key is the operator's, by its fingerprint alone."""
        if self._config.trust_host_key:
            return self._first_shown in (fingerprint, "")
        return fingerprint in self._config.host_key_fingerprint

    async def _enter(
        self, client: "_Client", algorithms: Sequence[str]
    ) -> tuple[asyncssh.SSHClientConnection, asyncssh.SFTPClient]:
        kinds = {"server_host_key_algs": algorithms} if algorithms else {}
        async with asyncio.timeout(self._limit_s):
            connection = await asyncssh.connect(
                self._config.host, client_factory=lambda: client, **self._options, **kinds
            )
            try:
                return connection, await connection.start_sftp_client()
            except BaseException:
                connection.abort()
                raise

    def _note(self, client: "_Client") -> None:
        if self._config.trust_host_key:
            self._first_shown = client.fingerprint
            log.warning(
                "host_key_taken_unchecked",
                host=self._config.host,
                fingerprint=client.fingerprint,
                mend=f"if it is the server's, set host_key_fingerprint to {client.fingerprint}",
            )

    def _nothing_in_common(self, error: asyncssh.KeyExchangeFailed) -> StorageRefused:
        if self._config.known_hosts:
            mend = (
                "see whether the server still has a key of the kind that known_hosts has (ssh-keyscan HOST)"
            )
        else:
            mend = "let the server offer what OpenSSH has offered since 6.5 (2014)"
        return StorageRefused(f"no key or cipher in common: {error.reason}", mend=mend)

    def _not_known(self, shown: Sequence["_Client"]) -> StorageRefused:
        keys = ", ".join(f"{client.kind} {client.fingerprint}" for client in shown)
        if self._config.trust_host_key:
            return StorageRefused(
                f"the host key is another than at first: {keys} instead of {self._first_shown}",
                mend="find out who changed it; if it is the server's, name it in host_key_fingerprint",
            )
        field = "known_hosts" if self._config.known_hosts else "host_key_fingerprint"
        return StorageRefused(
            f"the host key is not one of those in {field}: {keys}",
            mend=f"find out who changed it; if it is the server's, correct {field}",
        )


class _Client(asyncssh.SSHClient):
    """What one connection learns on its way in. It gives the password once, however it is asked for it."""

    def __init__(self, login: Login, password: str | None) -> None:
        self._login = login
        self._password = password
        self._connection: asyncssh.SSHClientConnection | None = None
        self.kind = self.fingerprint = ""
        self.is_in = False

    @property
    def was_turned_away(self) -> bool:
        """Whether the server took the connection, and closed it before it said what it is."""
        return self._connection is not None and not self._connection.get_extra_info("server_version")

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """See asyncssh."""
        self._connection = conn

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """See asyncssh. Asked for a key that is not in known_hosts."""
        self._show(key)
        return self._login.trusts(self.fingerprint)

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """See asyncssh. Asked for an authority that is not in known_hosts."""
        self._show(key)
        return False

    def auth_completed(self) -> None:
        """See asyncssh."""
        self.is_in = True

    def password_auth_requested(self) -> str | None:
        """See asyncssh."""
        password, self._password = self._password, None
        return password

    def kbdint_auth_requested(self) -> str | None:
        """See asyncssh."""
        return None if self._password is None else ""

    def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> Sequence[str] | None:
        """See asyncssh. One question whose answer is not shown is the password's, in whatever language."""
        if not prompts:
            return []
        if len(prompts) > 1 or prompts[0][1]:
            return None
        password = self.password_auth_requested()
        return None if password is None else [password]

    def _show(self, key: asyncssh.SSHKey) -> None:
        self.kind, self.fingerprint = key.get_algorithm(), key.get_fingerprint()


def _options(config: SftpConfig) -> dict[str, Any]:
    _name_this_user()
    key = config.plain_key()
    return {
        "port": config.port,
        "username": config.username,
        "client_keys": [asyncssh.import_private_key(key)] if key else None,
        "preferred_auth": "publickey" if key else "password,keyboard-interactive",
        # An empty text would stand for ~/.ssh/known_hosts.
        "known_hosts": asyncssh.import_known_hosts(config.known_hosts)
        if config.known_hosts
        else ([], [], []),
        "encryption_algs": _CIPHERS,
        "compression_algs": None,
        "keepalive_interval": 15,
        "keepalive_count_max": 3,
        # Nothing of this machine's user has a say.
        "config": None,
        "agent_path": None,
        "gss_host": None,
        "x509_trusted_certs": None,
    }


def _name_this_user() -> None:
    """Let the library find a name for this process's user, which it wants though it is told another.

    A pod may run under a number that nobody gave a name.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = "dyte-archiver"


@contextlib.contextmanager
def _translated(client: _Client, config: SftpConfig) -> Iterator[None]:
    try:
        yield
    except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed):
        raise  # they are judged together with what the server shows else
    except asyncssh.PermissionDenied as error:
        raise _shut_out(config) from error
    except asyncssh.ChannelOpenError as error:
        if error.code == asyncssh.OPEN_REQUEST_SESSION_FAILED:
            raise StorageRefused(
                "the account has no SFTP", mend="let the account use SFTP (sshd_config: Subsystem sftp)"
            ) from error
        raise StorageThrottled(error.reason, mend="let the account have more sessions") from error
    except asyncssh.SFTPBadMessage as error:
        raise StorageRefused(
            "what the account starts is not an SFTP server",
            mend="let it start one, and its shell write nothing (sshd_config: ForceCommand internal-sftp)",
        ) from error
    except TimeoutError as error:
        raise StorageUnavailable("the server does not answer", mend=_WHERE) from error
    except socket.gaierror as error:
        raise StorageUnavailable("the server's name is not known", mend="check host") from error
    except (asyncssh.Error, OSError) as error:
        if "Too many authentication failures" in str(error):  # OpenSSH's words for MaxAuthTries
            raise _shut_out(config) from error
        raise _dropped(client, error) from error


def _shut_out(config: SftpConfig) -> StorageRefused:
    fields = "private_key (is its public half among the account's?)" if config.uses_key else "password"
    return StorageRefused(
        "the server does not let the account in", mend=f"check username, auth_method and {fields}"
    )


def _dropped(client: _Client, error: Exception) -> StorageUnavailable:
    if client.is_in:
        return StorageUnavailable(
            "the server let the account in, then hung up",
            mend="look into the server's log (is the ChrootDirectory root's alone?)",
        )
    too_many = getattr(error, "code", None) == asyncssh.DISC_TOO_MANY_CONNECTIONS
    if too_many or (client.was_turned_away and isinstance(error, asyncssh.ConnectionLost | ConnectionError)):
        return StorageThrottled(
            "the server hung up before it said what it is: too many connections at once, most likely",
            mend="let the server take more of them (sshd_config: MaxStartups)",
        )
    reason = getattr(error, "reason", "") or getattr(error, "strerror", "") or type(error).__name__
    return StorageUnavailable(reason, mend=_WHERE)
