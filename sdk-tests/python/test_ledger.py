"""Every public method of the compute chapter was called by a test, and returned, on each kind of machine."""

import pytest

import ledger
from conftest import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_was_called_and_returned(kind):
    assert ledger.missing(kind) == []


def test_what_is_excused_is_a_method_of_the_sdk():
    excused = [*ledger.NOT_BUILT, *ledger.REFUSED_BY_THE_SDK, *sum(ledger.NOTHING_THERE.values(), [])]
    assert set(excused) <= ledger.every()
