"""The reference of settings is written from the settings themselves."""

from pathlib import Path

from moorage import settings
from moorage.cli import reference

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"


def test_the_reference_page_says_what_the_settings_say():
    """A setting that the page lacks cannot be found, and a default that it has wrong misleads."""
    written = reference.markdown(settings.groups())

    assert PAGE.read_text() == written, "run: moorage settings --markdown > docs/reference/settings.md"
