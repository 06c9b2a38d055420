"""Targets for tests: those with a name, and this machine as one without vectors."""

from dataclasses import replace

from cnnc import driver
from cnnc.base.target import Target

SCALAR = "scalar"
SMALL = "small"


def machine(name: str) -> Target:
    """A target; `scalar` is this machine one number at a time, `small` with little memory too."""
    if name not in (SCALAR, SMALL):
        return driver.find_target(name)
    return replace(driver.find_target("native"), vector_bits=32, is_small=name == SMALL)
