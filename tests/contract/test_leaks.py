"""The list of ways of `sluice selftest leaks` is whole."""

from sluice.cli.selftest.ways import WAYS, uncovered
from sluice.topology import GROUPS
from tests.contract.leaks import problems, routes


def test_every_route_and_stream_stands_in_the_list_of_a_way() -> None:
    assert problems() == []


def test_a_route_or_stream_that_no_way_tries_is_told() -> None:
    without_redis = [way for way in WAYS if not way.streams]
    assert uncovered(["GET /api/v1/secrets"], ["secrets.told.v1"]) == ["GET /api/v1/secrets", "secrets.told.v1"]
    assert uncovered(routes(), GROUPS, without_redis) == sorted(GROUPS)
