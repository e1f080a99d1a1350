"""Whatever befalls processes, database, store and source, all that was acknowledged is there once, whole."""

from pathlib import Path

from tests.chaos.fleet import LEASE_S, fleet
from tests.chaos.plan import What, make_plan
from tests.chaos.verdict import judge
from tests.doubles.servers import Postgres, SeaweedFS

SEED = 14


def test_after_a_minute_of_chaos_nothing_is_lost_nothing_is_left_and_little_was_moved_twice(
    tmp_path: Path, seaweedfs: SeaweedFS
) -> None:
    # A database of its own, since it is killed and frozen.
    with (
        Postgres() as postgres,
        fleet(
            tmp_path, seed=SEED, recordings=30, workers=4, receivers=2, postgres=postgres, seaweedfs=seaweedfs
        ) as all_of_it,
    ):
        plan = make_plan(SEED, seconds=60, processes=list(all_of_it.members), lease_s=LEASE_S)
        all_of_it.run(plan)
        all_of_it.deliver_the_rest()
        checks = judge(all_of_it)
        assert {check.name: check.faults for check in checks if check.faults} == {}
        assert all(all_of_it.done[what] for what in What), all_of_it.done


def test_a_plan_is_made_of_its_seed_alone() -> None:
    first, again, other = (
        make_plan(seed, seconds=600, processes=["a", "b"], lease_s=LEASE_S) for seed in (1, 1, 2)
    )
    assert first == again != other
    assert {blow.what for blow in first} == set(What)
