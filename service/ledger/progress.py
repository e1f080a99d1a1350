"""How far each copy of a claimed artifact is: its name, its upload, its parts."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Executable, case, delete, select, update
from sqlalchemy.exc import IntegrityError

from service.ledger.database import Database
from service.ledger.fence import fence, hold
from service.ledger.tables import artifacts, copies, manifests, now, parts
from service.model import Artifact, Checksum, Claim, Part, State, Stored


class Progress:
    """What is settled of copies, each write fenced by the claim; each holds it for another lease."""

    def __init__(self, database: Database, *, lease_s: float) -> None:
        """``lease_s``: how long a silent claim holds."""
        self._database = database
        self._lease_s = lease_s
        kept = database.insert(parts)
        self._kept = kept.on_conflict_do_update(
            index_elements=list(parts.primary_key), set_={column.name: column for column in kept.excluded}
        )

    async def reserve(self, claim: Claim, storage: str, key: str) -> bool:
        """Settle a copy's name in its storage, once; False if another artifact has it."""
        try:
            await self._settle(claim, _copy(claim, storage).values(key=key))
        except IntegrityError:
            return False
        return True

    async def begun(
        self,
        claim: Claim,
        storage: str,
        *,
        upload_id: str,
        part_size: int,
        size: int | None,
        source_etag: str | None,
    ) -> None:
        """Settle a multipart session; a resumed copy goes on with exactly this."""
        await self._settle(
            claim,
            _copy(claim, storage).values(upload_id=upload_id),
            part_size=part_size,
            size=size,
            source_etag=source_etag,
        )

    async def restart(self, claim: Claim, storage: str, *, keep_key: bool) -> None:
        """Forget a multipart session and its parts: the next try begins anew."""
        cleared: dict[str, Any] = {"upload_id": None} if keep_key else {"upload_id": None, "key": None}
        await self._settle(
            claim,
            delete(parts).where(parts.c.artifact_id == claim.id, parts.c.storage == storage),
            _copy(claim, storage).values(**cleared),
        )

    async def forget_source(self, claim: Claim) -> None:
        """Forget what the file at the source was like: it is another now, and no part of the former serves.

        So every copy that is not stored begins anew, also one that this try left alone.
        """
        open_copies = (copies.c.artifact_id == claim.id, copies.c.state == State.WAITING)
        await self._settle(
            claim,
            # A copy that is stored has no parts any more.
            delete(parts).where(parts.c.artifact_id == claim.id),
            update(copies).where(*open_copies).values(upload_id=None),
            part_size=None,
            size=None,
            source_etag=None,
        )

    async def renewed(self, claim: Claim, fresh: Artifact) -> None:
        """The source's link is this one from now on; the time that the provider leaves never gets less."""
        expires_at = artifacts.c.expires_at
        told = fresh.expires_at
        await self._settle(
            claim,
            url=fresh.url,
            expires_at=expires_at if told is None else case((expires_at < told, told), else_=expires_at),
            renew_at=None,
        )

    async def part_stored(self, claim: Claim, storage: str, part: Part) -> None:
        """Keep the receipt of a part that the storage confirmed."""
        receipt = {
            "artifact_id": claim.id,
            "storage": storage,
            "number": part.number,
            "size": part.size,
            "crc64nvme": f"{part.checksum.crc64nvme:016x}",
            "crc32c": f"{part.checksum.crc32c:08x}",
            "receipt": part.receipt,
        }

        def keep(connection: Connection) -> None:
            hold(connection, claim, lease_s=self._lease_s)
            connection.execute(self._kept, receipt)

        await self._database.write_patiently(keep, for_s=self._lease_s)

    async def parts(self, claim: Claim, storage: str) -> list[Part]:
        """The receipts of a copy so far, by number."""
        receipts = (
            select(parts)
            .where(parts.c.artifact_id == claim.id, parts.c.storage == storage)
            .order_by(parts.c.number)
        )
        return [
            Part(row.number, row.size, Checksum(int(row.crc64nvme, 16), int(row.crc32c, 16)), row.receipt)
            for row in await self._database.read(lambda connection: connection.execute(receipts).all())
        ]

    async def forget_parts(self, claim: Claim, storage: str, numbers: Iterable[int]) -> None:
        """Drop receipts that the storage does not confirm."""
        of_copy = (parts.c.artifact_id == claim.id, parts.c.storage == storage)
        await self._settle(claim, delete(parts).where(*of_copy, parts.c.number.in_(list(numbers))))

    async def stored(
        self,
        claim: Claim,
        storage: str,
        stored: Stored,
        *,
        checksum: Checksum,
        part_size: int,
        content_type: str,
        stored_at: float | None = None,
        manifest_key: str | None = None,
    ) -> None:
        """The copy is whole in its storage; from now on only the manifest there is missing.

        ``stored_at``: since when, if not since now. ``manifest_key``: which manifest there names it already.
        """
        named = [] if manifest_key is None else [self._manifest(claim, storage, manifest_key)]
        await self._settle(
            claim,
            delete(parts).where(parts.c.artifact_id == claim.id, parts.c.storage == storage),
            _copy(claim, storage).values(
                state=State.STORED,
                size=stored.size,
                etag=stored.etag,
                part_size=part_size,
                crc64nvme=f"{checksum.crc64nvme:016x}",
                crc32c=f"{checksum.crc32c:08x}",
                content_type=content_type,
                key=stored.key,
                stored_at=now() if stored_at is None else stored_at,
                upload_id=None,
                attempts=0,
                error=None,
                mend=None,
            ),
            *named,
        )

    def _manifest(self, claim: Claim, storage: str, key: str) -> Executable:
        row = {"recording_id": claim.artifact.recording_id, "storage": storage, "key": key}
        found = self._database.insert(manifests).values(**row, written_at=now())
        return found.on_conflict_do_nothing()  # type: ignore[no-any-return]

    async def _settle(self, claim: Claim, *statements: Executable, **values: Any) -> None:
        """Set ``values`` on the artifact and run ``statements`` after it, in one transaction."""

        def settle(connection: Connection) -> None:
            fence(connection, claim, lease_until=now() + self._lease_s, **values)
            for statement in statements:
                connection.execute(statement)

        # What it is about is done: while the claim may still stand, that is not thrown away.
        await self._database.write_patiently(settle, for_s=self._lease_s)


def _copy(claim: Claim, storage: str) -> Any:
    return update(copies).where(copies.c.artifact_id == claim.id, copies.c.storage == storage)
