"""The families of errors. The first line of a class's docstring is its message; the detail follows it.

Adapters translate a library's errors into these once, with ``raise ... from``. What a family means for
trying again is decided in one place, :mod:`service.retry`.
"""


class ArchiverError(Exception):
    """Something went wrong."""

    def __init__(self, detail: str = "", *, mend: str = "", retry_after_s: float | None = None) -> None:
        """``detail`` says what happened, without secrets; ``mend`` what a person can do about it."""
        message = (type(self).__doc__ or "").split("\n", 1)[0].rstrip(".")
        super().__init__(f"{message}: {detail}" if detail else message)
        self.detail = detail
        self.mend = mend
        self.retry_after_s = retry_after_s


def add(extra: str) -> str:
    """What a person does about packages that are only there if asked for."""
    return f"pip install 'dyte-archiver[{extra}]'; an image: build it with EXTRAS={extra}"


class SettingsError(ArchiverError):
    """The settings do not fit."""


# ---- deliveries: what a sender is answered


class SignatureInvalid(ArchiverError):
    """The delivery is not signed by the provider."""


class KeyUnavailable(ArchiverError):
    """The provider's public key cannot be had now."""


class DeliveryMalformed(ArchiverError):
    """The delivery is not what it should be."""

    def __init__(self, field: str, fault: str) -> None:
        """``field`` is a path such as ``recording.id``; ``fault`` what is wrong with it."""
        super().__init__(f"{field} {fault}")
        self.field = field
        self.fault = fault


# ---- ledger


class LedgerUnavailable(ArchiverError):
    """The ledger cannot be reached or written now."""


class LedgerRefused(LedgerUnavailable):
    """The ledger's database does not let this service in."""


class LedgerUnfit(ArchiverError):
    """The ledger's database is not one that this version can work with."""


class NotInLedger(ArchiverError):
    """The ledger has nothing by that id."""


class OrderRefused(ArchiverError):
    """That cannot be done with it now."""


class NotConfirmed(ArchiverError):
    """Nothing was done."""


class OutputUnwritable(ArchiverError):
    """What was asked for cannot be written there."""


class LeaseLost(ArchiverError):
    """Another worker holds this artifact now, or nobody does any more."""


# ---- the service itself


class Draining(ArchiverError):
    """The service is stopping; what was moved is kept, and the rest goes on after the next start."""


# ---- a running service, as a command asks it


class ServiceError(ArchiverError):
    """The service does not do it."""


class ServiceUnavailable(ServiceError):
    """The service cannot be asked now."""


class ServiceRefused(ServiceError):
    """The service does not let this command in."""


class ServiceRejected(ServiceError):
    """The service does not take the request."""


class ServiceUnknown(ServiceError):
    """The service is not one that this command can read."""


# ---- the provider's API


class ProviderError(ArchiverError):
    """The provider's API does not do it."""


class ProviderUnavailable(ProviderError):
    """The provider's API cannot be asked now."""


class ProviderRefused(ProviderError):
    """The provider's API refuses the credentials."""


class ProviderMissing(ProviderError):
    """The provider has nothing by that id."""


class ProviderRejected(ProviderError):
    """The provider's API does not take the request."""


# ---- notices


class NoticeNotTaken(ArchiverError):
    """The receiver does not take the notice."""


class NoticeUnwanted(NoticeNotTaken):
    """The receiver wants no such notice any more."""


# ---- source


class SourceError(ArchiverError):
    """The source does not give the file."""


class SourceUnavailable(SourceError):
    """The source cannot be read now."""


class SourceThrottled(SourceUnavailable):
    """The source asks for fewer requests."""


class SourceRefused(SourceError):
    """The source refuses the link."""


class SourceGone(SourceError):
    """The source no longer has the file."""


class SourceChanged(SourceError):
    """The file at the source is not the one that was begun."""


class SourceUntrusted(SourceError):
    """The link leads where this service may not go."""


# ---- storage


class StorageError(ArchiverError):
    """The storage does not take the file."""


class StorageUnavailable(StorageError):
    """The storage cannot be written now."""


class StorageThrottled(StorageUnavailable):
    """The storage asks for fewer requests."""


class StorageRefused(StorageError):
    """The storage refuses, and will until somebody mends it."""


class StorageMismatch(StorageError):
    """What is stored is not what was read from the source."""


class UploadLost(StorageError):
    """The storage no longer knows the upload."""


class NameTaken(StorageError):
    """The name belongs to another file."""


class ObjectMissing(StorageError):
    """The object is not in the storage."""
