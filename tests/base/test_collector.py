"""The collector of cycles runs again when it should, and only then."""

import gc
import os
import warnings
from collections.abc import Iterator
from threading import Event, Thread

import pytest

from cnnc.base.collector import importing, paused


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The collector as it was."""
    enabled = gc.isenabled()
    yield
    (gc.enable if enabled else gc.disable)()


@pytest.mark.parametrize("enabled", [True, False])
def test_it_is_left_as_it_was(enabled: bool) -> None:
    """After the outermost of several pauses, and after an error."""
    (gc.enable if enabled else gc.disable)()
    with paused():
        assert not gc.isenabled()
        with pytest.raises(ValueError, match="inside"), paused():
            raise ValueError("inside")
        assert not gc.isenabled()
    assert gc.isenabled() is enabled


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_collects_though_a_thread_of_its_parent_does_not() -> None:
    """The thread that would enable it again is not there."""
    inside, go_on = Event(), Event()

    def pause() -> None:
        with paused():
            inside.set()
            go_on.wait(60)

    gc.enable()
    thread = Thread(target=pause)
    thread.start()
    inside.wait(60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        with paused():
            quiet = not gc.isenabled()
        os._exit(0 if quiet and gc.isenabled() else 1)
    _, status = os.waitpid(child, 0)
    go_on.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0
    assert gc.isenabled()


def test_what_is_imported_counts_as_old_at_once() -> None:
    """It is in no generation that the collector walks soon, but in the last one, not frozen."""
    gc.enable()
    with importing():
        made = [[]]
    assert not any(each is made for young in (0, 1) for each in gc.get_objects(young))
    assert any(each is made for each in gc.get_objects(2))
    assert gc.isenabled()
    assert not gc.get_freeze_count()


def test_what_somebody_has_frozen_stays_so() -> None:
    """A program may freeze its objects before it forks."""
    gc.freeze()
    try:
        with importing():
            frozen = gc.get_freeze_count()
        assert gc.get_freeze_count() == frozen > 0
    finally:
        gc.unfreeze()
