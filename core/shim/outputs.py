"""What a container writes: each stream of it into its log, then to whoever is attached."""

from __future__ import annotations

import asyncio

from core.shim.audience import Audience
from core.shim.logs import LogFile
from core.shim.luggage import Luggage, Packed
from core.shim.stdio import FifoPump, LogSink, Pump, Sink


class Outputs:
    def __init__(self, log: LogFile) -> None:
        self.audiences = {"stdout": Audience(), "stderr": Audience()}
        self._sinks = {stream: LogSink(log, stream) for stream in self.audiences}
        self._pumps: dict[str, Pump | FifoPump] = {}

    def sink(self, stream: str) -> Sink:
        logged, audience = self._sinks[stream], self.audiences[stream]

        def sink(data: bytes) -> None:
            logged(data)
            audience.feed(data)

        return sink

    def add(self, stream: str, pump: Pump | FifoPump) -> None:
        self._pumps[stream] = pump

    def pump(self, stream: str, fd: int) -> None:
        """Read the stream from `fd`, which it owns."""
        self.add(stream, Pump(fd, self.sink(stream)))

    async def drain(self) -> None:
        await asyncio.gather(*(pump.drain() for pump in self._pumps.values()))

    def close(self) -> None:
        for pump in self._pumps.values():
            pump.close()

    def put_down(self, luggage: Luggage) -> Packed:
        """Of streams without FIFOs."""
        return {
            stream: (luggage.pack(pump.fd, wakes=True), self._sinks[stream].held.decode("latin-1"))
            for stream, pump in self._pumps.items()
            if isinstance(pump, Pump)
        }

    @classmethod
    def take_up(cls, state: Packed, luggage: Luggage, log: LogFile) -> Outputs:
        outputs = cls(log)
        for stream, (place, held) in state.items():
            outputs._sinks[stream].held = held.encode("latin-1")
            fd = luggage.unpack(place)
            if fd >= 0:
                outputs.pump(stream, fd)
            else:
                outputs.audiences[stream].feed(b"")
        return outputs
