"""Objects that come after the holes are full."""

from core.zygote.holes import fill

SIZE = 256 - b"".__sizeof__()


def test_new_objects_lie_side_by_side_when_the_holes_are_full() -> None:
    old = [bytes(SIZE) for _ in range(4000)]
    del old[::50]
    filler = fill()
    new = [id(one) for one in [bytes(SIZE) for _ in range(50)]]
    assert max(new) - min(new) < 16 << 10
    assert filler
