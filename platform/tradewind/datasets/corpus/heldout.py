"""Which documents are held out: those whose digest is below a bound.

So membership depends on the text of a document alone, not on files, order or workers: it stays the same when text is
added, and copies of a document are on the same side.
"""

from __future__ import annotations

from fractions import Fraction

from tradewind.datasets.corpus.documents import DIGEST_BYTES
from tradewind.errors import SpecError


def heldout_bound(fraction: float, *, lowest: bytes, highest: bytes) -> bytes:
    """Digests below this are held out. At least one document is on each side, whatever the fraction.

    `lowest` and `highest` are the digests of documents that there are. Raises SpecError when there are not two.
    """
    if lowest == highest:
        raise SpecError(
            "one document cannot be split into training and held-out text", hint="add more text, or raise max_bytes"
        )
    wanted = int(Fraction(fraction) * 2 ** (8 * DIGEST_BYTES))
    bound = min(max(wanted, int.from_bytes(lowest) + 1), int.from_bytes(highest))
    return bound.to_bytes(DIGEST_BYTES)
