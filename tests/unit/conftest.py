"""Settings of the property tests."""

from hypothesis import settings

# A busy machine is no failure: time is measured in bench/, never here.
settings.register_profile("moorage", deadline=None)
settings.load_profile("moorage")
