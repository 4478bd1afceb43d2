import asyncio

from core.network.turns import Turns


class Order:
    """Holds turns until it is told to let go."""

    def __init__(self, group):
        self.turns = Turns()
        self.running = []
        self._group = group
        self._gates = {}

    async def take(self, name, turn):
        self._gates[name] = asyncio.Event()
        self._group.create_task(self._hold(name, turn))
        await settle()

    async def end(self, name):
        self._gates[name].set()
        await settle()

    async def _hold(self, name, turn):
        async with turn:
            self.running.append(name)
            await self._gates[name].wait()
            self.running.remove(name)


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_operations_of_one_pod_take_turns_and_other_pods_do_not_wait():
    async with asyncio.TaskGroup() as group:
        order = Order(group)
        await order.take("a1", order.turns.of_pod("a"))
        await order.take("a2", order.turns.of_pod("a"))
        await order.take("b", order.turns.of_pod("b"))
        assert order.running == ["a1", "b"]
        await order.end("a1")
        assert order.running == ["b", "a2"]
        await order.end("a2")
        await order.end("b")


async def test_whoever_is_alone_waits_for_pods_and_pods_wait_for_it():
    async with asyncio.TaskGroup() as group:
        order = Order(group)
        await order.take("pod", order.turns.of_pod("a"))
        await order.take("alone", order.turns.alone())
        await order.take("late", order.turns.of_pod("b"))
        assert order.running == ["pod"]
        await order.end("pod")
        assert order.running == ["alone"]
        await order.end("alone")
        assert order.running == ["late"]
        await order.end("late")


async def test_whoever_gives_up_waiting_holds_up_nobody():
    turns = Turns()
    async with turns.of_pod("a"):
        waiting = asyncio.ensure_future(turns.alone().__aenter__())
        await settle()
        waiting.cancel()
        await settle()
        async with turns.of_pod("b"):
            pass
    async with turns.alone():
        pass
