"""What first differs between two computations of a step."""

from __future__ import annotations

import pytest

from orchestrator.fingerprints import BLOCKS, Fingerprint, first_difference

SEEN = {
    "rollouts 1": Fingerprint(40, tuple("abcdefghijklmn")),
    "negatives 1": Fingerprint(2, ("x", "y")),
    "generator": Fingerprint(0, ("g",)),
    "discriminator": Fingerprint(0, ("d",)),
}


def changed(name: str, place: int) -> dict[str, Fingerprint]:
    before = SEEN[name]
    hashes = [*before.hashes]
    hashes[place] = "other"
    return {**SEEN, name: Fingerprint(before.rows, tuple(hashes))}


@pytest.mark.parametrize(
    ("again", "told"),
    [
        (dict(SEEN), None),
        # 40 rows in blocks of 3, the last of which has 1
        (changed("rollouts 1", 4), "rollouts 1: sequences 13 to 15 of 40 differ"),
        (changed("rollouts 1", 13), "rollouts 1: sequences 40 to 40 of 40 differ"),
        (changed("negatives 1", 1), "negatives 1: sequences 2 to 2 of 2 differ"),
        (changed("discriminator", 0), "the discriminator after the step differs"),
        ({"generator": SEEN["generator"]}, "rollouts 1: there were 40 sequences, now there are none"),
    ],
)
def test_the_first_difference(again: dict[str, Fingerprint], told: str | None):
    found = first_difference(SEEN, again)
    assert (found is None) == (told is None)
    assert told is None or (found is not None and told in found)


@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 40, 64, 9984])
def test_blocks_cover_all_rows_and_are_not_many(rows: int):
    block = Fingerprint(rows, ()).block
    assert -(-rows // block) <= BLOCKS
    assert (block - 1) * BLOCKS < rows
