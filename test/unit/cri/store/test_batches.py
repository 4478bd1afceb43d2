from cri.store.batches import each, in_batches


async def messages(items, limit):
    return [message async for message in in_batches(each(items), limit)]


async def test_items_are_joined_up_to_the_limit_and_keep_their_order():
    assert await messages([b"aa", b"bb", b"c", b"dddd"], 4) == [b"aabb", b"c", b"dddd"]


async def test_an_item_above_the_limit_is_a_message_of_its_own():
    assert await messages([b"a", b"long", b"b"], 2) == [b"a", b"long", b"b"]


async def test_nothing_is_no_message():
    assert await messages([], 4) == []


async def test_whoever_stops_reading_ends_the_source():
    ended = []

    async def source():
        try:
            while True:
                yield b"item"
        finally:
            ended.append(True)

    stream = in_batches(source(), 4)
    assert await anext(stream) == b"item"
    await stream.aclose()
    assert ended
