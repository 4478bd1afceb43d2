"""crisp.upkeep.v1.Upkeep, for `crispctl content verify` and `repair`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from core.api import crisp_upkeep_pb2 as api
from core.images.upkeep import Upkeep
from core.services.caller import Namespaced


class UpkeepService(Namespaced):
    def __init__(self, upkeep: Upkeep) -> None:
        self._upkeep = upkeep

    async def verify(self, request: api.VerifyRequest) -> AsyncGenerator[api.Finding, None]:
        async with aclosing(self._upkeep.verify(repair=request.repair)) as findings:
            async for one in findings:
                yield api.Finding(
                    image=one.image,
                    subject=one.subject,
                    problem=one.problem,
                    repaired=one.repaired,
                    reason=one.reason,
                )
