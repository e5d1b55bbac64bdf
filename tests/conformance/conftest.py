"""What the cases assert is told in full when it fails."""

import pytest

pytest.register_assert_rewrite(
    "tests.conformance.site",
    "tests.conformance.cases_lists",
    "tests.conformance.cases_manifests",
    "tests.conformance.cases_pulls",
    "tests.conformance.cases_pushes",
)
