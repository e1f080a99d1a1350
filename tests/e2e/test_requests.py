"""What a recording costs at the store: requests are paid for one by one."""

from pathlib import Path
from typing import Any

import pytest

from tests.doubles.sender import Sender
from tests.doubles.servers import SeaweedFS
from tests.doubles.source import FaultySource, threaded
from tests.doubles.store_proxy import FaultyStore
from tests.e2e.deployment import Deployment

KIB = 1024


@pytest.mark.parametrize("takes_names", [True, False])
def test_a_small_file_costs_four_requests_and_its_manifest_three(
    *, takes_names: bool, tmp_path: Path, sender: Sender, seaweedfs: SeaweedFS
) -> None:
    bucket = seaweedfs.bucket()
    with threaded(FaultyStore(seaweedfs.endpoint_url)) as store, threaded(FaultySource()) as source:
        config: dict[str, Any] = dict(
            seaweedfs.storage_config(bucket, endpoint_url=store.endpoint_url), conditional_writes=takes_names
        )
        deployment = Deployment(tmp_path, sender, storage_config=config)
        with deployment.running():
            link = source.add("one.mp4", 2 * KIB)
            deployment.hand_over(sender.uploaded("one", link, size=2 * KIB))
            deployment.wait_until(lambda: len(deployment.archived) == 1)
        targets = [
            target.partition("?")[0] for traffic in store.traffic.values() for target in traffic.targets
        ]
    # Whether it lies there; where the store does not see to that, whether somebody took the name since;
    # the file; whether it lies there now.
    assert targets.count(f"/{bucket}/one.mp4") == (3 if takes_names else 4)
    # What is named already; the manifest; whether it lies there now.
    assert targets.count(f"/{bucket}/one.mp4.json") == 3
    assert len(targets) == (6 if takes_names else 7)
