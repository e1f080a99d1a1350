"""What the fields of an ``sftp`` storage may hold.

Each function returns the value as it is used, or raises ValueError with what is wrong, never with the value.
"""

import base64
import binascii
import posixpath
import re

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

HOW_TO_SEE_KEYS = "ssh-keyscan HOST | ssh-keygen -lf - shows it"

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}=?")
_HASHED_HOST = re.compile(r"\|1\|[A-Za-z0-9+/]+=*\|[A-Za-z0-9+/]+=*")


def host_name(host: str) -> str:
    """A name or an address, without the brackets that some write around the latter."""
    host = host.strip().removeprefix("[").removesuffix("]")
    if re.search(r"[\s/@\[\]]", host) or host.count(":") == 1:
        raise ValueError("is not a name or an address alone")
    return host


def login_method(given: object) -> object:
    """The provider's word, in any case."""
    return given.strip().upper() if isinstance(given, str) else given


def remote_folder(path: str) -> str:
    """A path without its needless parts; the folder in which the account lands is the empty text."""
    path = path.strip()
    if "\0" in path:
        raise ValueError("holds a character that no path has")
    if not path.strip("/"):
        return ""
    if path == "~" or path.startswith("~/"):
        path = f".{path[1:]}"
    path = posixpath.normpath(path).replace("//", "/")
    return "" if path == "." else path


def fingerprints(given: object) -> tuple[str, ...]:
    """One or several, as a list or with commas between them."""
    every = re.split(r"[\s,]+", given.strip(" \t\n,")) if isinstance(given, str) else given
    if not isinstance(every, list | tuple) or not all(
        isinstance(one, str) and _FINGERPRINT.fullmatch(one.strip()) for one in every
    ):
        raise ValueError(f"is not a fingerprint such as SHA256:... ({HOW_TO_SEE_KEYS})")
    return tuple(one.strip().rstrip("=") for one in every)


def known_hosts_lines(text: str) -> str:
    """Lines in the format of OpenSSH's file (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT")."""
    text = lines(text)
    keys = 0
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        marker = fields.pop(0) if fields[0].startswith("@") else ""
        if marker not in {"", "@cert-authority", "@revoked"} or len(fields) < 3 or not _is_key(*fields[1:3]):
            raise ValueError(f"line {number} is not a host, the type of its key, and the key")
        if fields[0].startswith("|") and not _HASHED_HOST.fullmatch(fields[0]):
            raise ValueError(f"line {number} begins with a hash that is not OpenSSH's")
        keys += marker != "@revoked"
    if not keys:
        raise ValueError("holds no key")
    return text


def plain_key(text: str, passphrase: str | None) -> bytes:
    """A private key in OpenSSH's own format, decrypted. What is wrong is told with the field in front.

    Raises UnsupportedAlgorithm if decrypting it needs a library that is not there (bcrypt).
    """
    text = lines(text)
    if text.startswith("PuTTY-User-Key-File"):
        raise ValueError("private_key: is in PuTTY's format; export it as an OpenSSH key")
    if text.startswith(("ssh-", "ecdsa-")):
        raise ValueError("private_key: is a public key")
    load = load_ssh_private_key if "BEGIN OPENSSH PRIVATE KEY" in text else load_pem_private_key
    try:
        key = load(text.encode(), None)
    except ValueError:
        raise ValueError("private_key: is not a private key in PEM or OpenSSH format") from None
    except TypeError:  # it is encrypted
        if passphrase is None:
            raise ValueError("password: is missing, the passphrase of private_key") from None
        try:
            key = load(text.encode(), passphrase.encode())
        except ValueError:
            raise ValueError("password: is not the passphrase of private_key") from None
    try:
        return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    except (ValueError, TypeError):
        raise ValueError("private_key: is of a kind that SSH does not log in with") from None


def lines(text: str) -> str:
    r"""Text of several lines, also if it went into JSON twice and has ``\n`` where a line ends."""
    return text.replace("\\r", "").replace("\\n", "\n").replace("\r", "").strip() + "\n"


def _is_key(kind: str, encoded: str) -> bool:
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    return key[4 : 4 + int.from_bytes(key[:4])] == kind.encode()
