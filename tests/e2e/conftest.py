"""What tests of the real process may ask for beside what all tests may."""

from collections.abc import Iterator

import pytest

from tests.doubles.provider import ProviderDouble, threaded
from tests.doubles.sender import Sender


@pytest.fixture
def provider(sender: Sender) -> Iterator[ProviderDouble]:
    """Both providers; at the end, all that they were asked has to be as they document it."""
    with threaded(ProviderDouble(sender=sender)) as double:
        yield double
        double.check_against_spec()
