"""Files as a bad disk, a bad editor or a bad day leaves them."""

from __future__ import annotations

import random

INSERTED = (b"\0", b"\xff\xfe", b"nan", b"-1", b"1e999", b'"', b"]", b"{", b"\n", b"=")


def mutate(content: bytes, rng: random.Random) -> bytes:
    """The content with one to three things wrong with it."""
    for _ in range(rng.randint(1, 3)):
        at, to = sorted((rng.randrange(len(content) + 1), rng.randrange(len(content) + 1)))
        head, middle, tail = content[:at], content[at:to], content[to:]
        flipped = bytes([middle[0] ^ 1 << rng.randrange(8)]) + middle[1:] if middle else b""
        content = rng.choice(
            (
                head + flipped + tail,
                head,
                head + middle + middle + tail,
                head + rng.choice(INSERTED) + middle + tail,
                head + middle[::-1] + tail,
                head + middle[40:] + tail,
                head + rng.randbytes(8) + middle[8:] + tail,
                b"" if rng.random() < 0.3 else content,
            )
        )
    return content
