"""Settings for all tests.

No deadlines, as machines under test may be busy, and the same examples in every run: a test that
fails has a cause in the code. `--hypothesis-profile=explore` draws new examples.
"""

from hypothesis import settings

settings.register_profile("cnnc", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("cnnc")
