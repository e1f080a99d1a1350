"""Proves that the probe of `dyte-archiver check` passes on every storage and leaves nothing there."""

from service.check.probe import StorageProbe
from service.check.steps import Outcome, Steps
from service.storage import parse_storage_config
from tests.contract.places import Place


async def test_a_probe_passes_and_leaves_nothing(place: Place) -> None:
    steps = Steps("it", mend="mend it", limit_s=30)

    await StorageProbe(parse_storage_config(place.config), steps).run()

    assert not [row for row in steps.rows if row.outcome is Outcome.FAULT]
    assert len(steps.rows) == 8
    assert place.objects() == {}
    assert place.sessions() == 0
