from __future__ import annotations

import pytest

from edge.local import is_this_machine


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "0.0.0.0"])
def test_own_addresses(host: str) -> None:
    assert is_this_machine(host)


@pytest.mark.parametrize("host", ["192.0.2.1", "not a host name"])
def test_foreign_addresses(host: str) -> None:
    assert not is_this_machine(host)
