"""Tools that some tests need beside Python."""

import os
import shutil

import pytest

REQUIRE = "CNNC_REQUIRE_TOOLS"


def require_tool(name: str, package: str) -> str:
    """The tool's path; without it the test is skipped, or fails where CNNC_REQUIRE_TOOLS is 1."""
    if path := shutil.which(name):
        return path
    reason = f"needs `{name}`: install Debian's package `{package}`"
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(reason)
    pytest.skip(reason)
