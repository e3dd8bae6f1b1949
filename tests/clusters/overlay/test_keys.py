from __future__ import annotations

import shutil

import pytest

from tradewind.clusters.overlay.keys import check_key, new_private_key, public_key
from tradewind.errors import SpecError

ALICE = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo="
ALICE_PUBLIC = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
"""RFC 7748, section 6.1."""

needs_wg = pytest.mark.skipif(shutil.which("wg") is None, reason="needs wireguard-tools")


@needs_wg
def test_public_key_is_that_of_the_standard() -> None:
    assert public_key(ALICE) == ALICE_PUBLIC


@needs_wg
def test_each_key_is_new() -> None:
    assert new_private_key() != new_private_key()
    assert check_key(new_private_key())


@pytest.mark.parametrize("text", ["", "c2hvcnQ=", "not base64!", ALICE[:-1], ALICE + "\n"])
def test_text_that_is_no_key_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(SpecError, match="that is not a key of WireGuard") as caught:
        check_key(text)
    assert not text or text not in str(caught.value)
