"""Settings for all tests: no deadlines, as machines under test may be busy."""

from hypothesis import settings

settings.register_profile("cnnc", deadline=None)
settings.load_profile("cnnc")
