"""Every endpoint of the spec, id for id, on each engine with each store."""

from __future__ import annotations

import pytest

from moorage.api.distribution.endpoints import ROUTES
from tests.conformance import cases_lists, cases_manifests, cases_pulls, cases_pushes
from tests.conformance.site import CASES, Case, Site
from tests.worlds import World

ALL = (cases_lists, cases_manifests, cases_pulls, cases_pushes)


@pytest.mark.parametrize("case", [pytest.param(one, id=f"{id_}-{one.__name__}") for id_, one in CASES])
async def test_the_registry_answers_as_the_spec_says(world: World, case: Case):
    await case(Site(world.client))


def test_every_endpoint_has_a_case():
    tried = {id_ for id_, _ in CASES}

    for route in ROUTES:
        assert any(id_.startswith(route.id) for id_ in tried), route.id
