"""Fresh links for files whose link expired, was refused, or leads nowhere."""

from collections.abc import Mapping
from typing import Protocol

from service.errors import ProviderMissing, ProviderRefused, ProviderRejected, SourceError
from service.model import Artifact, Claim, Event, Kind, Recording, Scope

NO_CREDENTIALS = "give the credentials of the provider's API, so that a fresh link can be had"
"""What to mend where only another delivery can bring a fresh link."""


class LinkApi(Protocol):
    """What is asked of a provider's API for that."""

    async def recording(self, recording_id: str) -> Event:
        """What the provider says of a recording now, with fresh links."""
        ...

    async def session_file(self, session_id: str, kind: Kind) -> Artifact | None:
        """A session's chat, transcript or summary, by a fresh link; None if there is none."""
        ...


class Links:
    """Asks the API of the app that an artifact belongs to."""

    def __init__(self, apis: Mapping[str, LinkApi]) -> None:
        """``apis`` by their apps' names: those with credentials."""
        self._apis = apis

    async def fresh(self, claim: Claim, refusal: SourceError) -> Artifact:
        """The artifact as the provider offers it now, by another link.

        Raises ``refusal``, if need be with what to mend, where there is none or no credentials to ask for it;
        :class:`~service.errors.ProviderUnavailable` if the API cannot be asked now.
        """
        api = self._apis.get(claim.recording.app)
        if api is None:
            refusal.mend = refusal.mend or NO_CREDENTIALS
            raise refusal
        try:
            offered = await self._offered(api, claim)
        except (ProviderMissing, ProviderRejected):
            raise refusal from None
        except ProviderRefused as error:
            refusal.mend = error.mend
            raise refusal from error
        if offered is None or offered.url == claim.artifact.url:
            raise refusal
        return offered

    async def storage_config(self, recording: Recording) -> str | None:
        """Where the customer told the provider to put a recording; None if nowhere, or it cannot be asked.

        Raises :class:`~service.errors.ProviderUnavailable`.
        """
        api = self._apis.get(recording.app)
        if api is None or recording.scope is Scope.SESSION:
            return None
        try:
            event = await api.recording(recording.id)
        except (ProviderMissing, ProviderRejected, ProviderRefused):
            return None
        return event.recording.storage_config if event.recording else None

    async def _offered(self, api: LinkApi, claim: Claim) -> Artifact | None:
        if claim.recording.scope is Scope.SESSION:
            return await api.session_file(claim.recording.id, claim.artifact.kind)
        event = await api.recording(claim.recording.id)
        return next((offered for offered in event.artifacts if offered.id == claim.id), None)
