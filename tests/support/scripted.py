"""A service whose answers a test writes down, and a client of it."""

from typing import Any

import anyio
import httpx

from pulumi_snapshots.clock import Clock, ServiceClock
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.service.client import Answer, Client
from pulumi_snapshots.service.errors import SquareCloudError
from pulumi_snapshots.service.rate_limiter import RateLimiter
from tests.support.memory import Memory
from tests.support.world import START

KEY = "sq-" + "k3y" * 30
API = "https://api.example/v2"


class Service:
    """Gives these answers, one after the other, and the last one again; without any it is one on the network at `api`."""

    def __init__(self, *answers: httpx.Response | Exception, api: str = API) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.times: list[float] = []
        clock = Clock(START)
        ledger = Ledger(Memory(clock), ServiceClock(clock))
        self.limiter = RateLimiter(clock, ledger, "account", budget=30, block_wait=1800)
        self.http = httpx.MockTransport(self._answer) if answers else None
        self.client = Client(self.limiter, api, KEY, self.http)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/service/status"):
            return httpx.Response(200, json={"status": "online"})
        self.requests.append(request)
        self.times.append(anyio.current_time())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def gaps(self) -> list[float]:
        return [round(later - self.times[0], 3) for later in self.times[1:]]

    async def send(
        self, path: str = "x", *, method: str = "POST", **more: Any
    ) -> Answer | SquareCloudError:
        """Send one request at once; the answer, or the error that it is."""
        try:
            return await self.client.send(
                method, path, **{"read_timeout": 30.0, **more}
            )
        except SquareCloudError as error:
            return error
        finally:
            await self.client.close()
