"""A ledger that has been at work for long: many files archived, some waiting, made by the database itself."""

import sqlalchemy as sa

DAY_S = 24 * 3600.0
STORAGE = "default"


def fill(
    connection: sa.Connection, *, archived: int, waiting: int, customers: int, per_day: int = 10_000
) -> None:
    """Write recordings of two files each, `archived` and `waiting` of these, shared out among `customers`.

    The archived ones go back into the past, `per_day`: a ledger with more of them is an older one. What
    waits expires one after the other within a week, nothing within a day but what failed. Of a hundred
    recordings that wait one is to be asked for, and a file of one has failed. One in four of the archived
    failed before, of one in ten people had something done, and of each somebody was told.
    """
    is_sqlite = connection.dialect.name == "sqlite"
    names = {
        "now": "(julianday('now') - 2440587.5) * 86400.0" if is_sqlite else "extract(epoch FROM now())",
        "id": "lower(hex(randomblob(16)))" if is_sqlite else "md5(random()::text || i)",
        "span": DAY_S / per_day,
        "link": f"https://files.example/{'signed' * 60}",
        "customers": customers,
        "storage": STORAGE,
        "archived": archived // 2,
        "count": (archived + waiting) // 2,
        "waiting": max(waiting, 1),
    }
    if not is_sqlite:
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
    for statement in _STATEMENTS:
        connection.execute(sa.text(statement.format_map(names)))


def analyze(connection: sa.Connection) -> None:
    """Let the planner count the rows; PostgreSQL does it by itself after a while."""
    connection.execute(sa.text("ANALYZE"))


_STATEMENTS = (
    # Two files of each: the i-th recording from now ended i times two spans ago.
    """
    INSERT INTO recordings (id, scope, app, provider, status, status_rank, organization_id, meeting_id,
                            session_id, title, output_file_name, seen_at, stopped_at, offered_at)
    WITH RECURSIVE numbers (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i < {count} - 1)
    SELECT {id}, 'recording', 'default', 'dyte', 'UPLOADED', 5, 'organization-' || (i % {customers}), {id},
           {id}, 'Weekly of ' || i, 'weekly-' || i || '.mp4', {now} - 2 * {span} * i, {now} - 2 * {span} * i,
           {now} - 2 * {span} * i
    FROM numbers
    """,
    """
    INSERT INTO statuses (recording_id, status, seen_at)
    SELECT id, status, seen_at FROM recordings
    UNION ALL SELECT id, 'RECORDING', seen_at - 3600 FROM recordings
    """,
    """
    INSERT INTO deliveries (received_at, app, provider, delivery_id, webhook_id, event_name, recording_id,
                            status, outcome)
    SELECT seen_at, app, provider, meeting_id, session_id, 'recording.statusUpdate', id, status, 'announced'
    FROM recordings WHERE seen_at > {now} - 30 * 86400
    """,
    # The newest ones wait.
    """
    INSERT INTO artifacts (id, recording_id, kind, state, url, name, seen_at, announced_at, expires_at,
                           due_at, epoch, attempts, customer)
    SELECT id || '/' || kind, id, kind, 'waiting', '{link}' || id, kind || output_file_name, seen_at,
           seen_at, {now} + 172800 + 860000.0 * place / {waiting}, {now} - 60, 0, 0,
           app || '/' || organization_id
    FROM (SELECT newest.*, row_number() OVER (ORDER BY id) AS place
          FROM (SELECT * FROM recordings ORDER BY seen_at DESC
                LIMIT {count} - {archived}) AS newest) AS placed
    CROSS JOIN (SELECT 'video' AS kind UNION ALL SELECT 'audio') AS kinds
    """,
    """
    INSERT INTO artifacts (id, recording_id, kind, state, url, name, seen_at, announced_at, expires_at,
                           epoch, attempts, part_size, size, source_etag, stored_at, customer)
    SELECT id || '/' || kind, id, kind, 'archived', '{link}' || id, kind || output_file_name, seen_at,
           seen_at, seen_at + 604800, 1, 0, 8388608, 300000000, id, seen_at + 60,
           app || '/' || organization_id
    FROM (SELECT * FROM recordings ORDER BY seen_at LIMIT {archived}) AS oldest
    CROSS JOIN (SELECT 'video' AS kind UNION ALL SELECT 'audio') AS kinds
    """,
    """
    INSERT INTO copies (artifact_id, storage, state, due_at, attempts, key, part_size, size, etag,
                        content_type, crc64nvme, crc32c, stored_at)
    SELECT id, '{storage}', 'archived', seen_at, 0, name, 8388608, 300000000, recording_id, 'video/mp4',
           'fedcba9876543210', '89abcdef', stored_at
    FROM artifacts WHERE state = 'archived'
    """,
    """
    INSERT INTO manifests (recording_id, storage, key, written_at)
    SELECT recording_id, '{storage}', name || '.json', stored_at
    FROM artifacts WHERE state = 'archived' AND kind = 'video'
    """,
    """
    INSERT INTO failures (artifact_id, storage, error, mend, owner, count, first_at, last_at)
    SELECT id, failed.storage, failed.reason, 'wait', 'pod-' || place % 3, 2, stored_at - 30, stored_at - 10
    FROM (SELECT artifacts.*, row_number() OVER (ORDER BY id) AS place FROM artifacts
          WHERE state = 'archived') AS archived
    CROSS JOIN (SELECT '' AS storage, 'the source refuses the link' AS reason
                UNION ALL SELECT '{storage}', 'the storage cannot be written now') AS failed
    WHERE place % 4 = 0
    """,
    """
    INSERT INTO audit (at, actor, action, recording_id, artifact_id)
    SELECT seen_at + 30, 'api 127.0.0.1', 'retry', recording_id, id
    FROM (SELECT artifacts.*, row_number() OVER (ORDER BY id) AS place FROM artifacts) AS numbered
    WHERE place % 10 = 0 ORDER BY seen_at
    """,
    """
    INSERT INTO notices (id, type, recording_id, body, made_at, attempts, taken_at)
    SELECT recording_id, 'recording.archived', recording_id, '{link}', written_at, 1, written_at + 1
    FROM manifests
    """,
    """
    UPDATE recordings SET ask_at = {now} - 60 WHERE id IN (
        SELECT recording_id FROM artifacts WHERE state = 'waiting' AND kind = 'video' ORDER BY id
        LIMIT {waiting} / 100)
    """,
    """
    UPDATE copies SET verified_at = stored_at, fault = 'its checksums are others' WHERE artifact_id IN (
        SELECT id FROM artifacts WHERE state = 'archived' ORDER BY id LIMIT {archived} / 100)
    """,
    """
    UPDATE artifacts SET attempts = 3, error = 'it is slow', due_at = {now} + 3600,
           expires_at = {now} + 7200 WHERE id IN (
        SELECT id FROM artifacts WHERE state = 'waiting' AND kind = 'audio' ORDER BY id LIMIT {waiting} / 100)
    """,
)
