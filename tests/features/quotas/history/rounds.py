"""One round: 64 clients spend the budget of a run at three replicas while parts fail, drawn by a seed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sqlite3
import time
from dataclasses import dataclass, field, replace
from datetime import datetime

import httpx

from tests.features.quotas.history.checking import TOTALS, Bound, Event, Kind, counts, violations
from tests.features.quotas.history.fleet import FAKETIME, INPUT_PRICE, OUTPUT_PRICE, REPLICAS, Fleet
from tests.support.running import PATIENCE
from wirekey.core.identity.runs import LimitChange
from wirekey.core.identity.stored_runs import NewRun, StoredRuns
from wirekey.features.quotas.estimate import BYTES_PER_TOKEN
from wirekey.features.quotas.ledger import totals_in
from wirekey.features.quotas.runs.quota import key_of
from wirekey.features.redis.client import PREFIX

CLIENTS = 64
LIFETIME = 30 * 86400.0
"""Seconds that the token of a run lasts. Longer than any clock is wrong."""
HOUR = 3600
MOST_TOKENS = 1000
INPUT_TOKENS = 100
ROUND_AT_MOST = 20.0
"""Seconds after which a round ends, spent or not."""
SOON = 0.5
AFTER_THE_END = 2.6
"""Seconds for which clients still call after the end of a run."""
SETTLING_AT_MOST = 15.0
ENDING = {"agent_revoked", "upstream_timeout"}
"""Codes of calls that end after they were sent."""
FAULTS = ("pause", "client pause", "flush", "restart", "partition", "cut", "kill")
CLOCKS = ("clock",) if FAKETIME else ()
FORGETTING = {"flush", "restart", "kill"}
"""Faults after which the reservations of open calls may be missing."""
LATENESS = 4.0
"""How much longer the end of a run may take to apply than this process is late: the replicas are as busy."""


def cost_of(read: int, written: int) -> int:
    """Return the price of these tokens, in billionths of a dollar, rounded up."""
    return -int(-(read * INPUT_PRICE + written * OUTPUT_PRICE) * 1000 // 1)


LARGEST = cost_of(200, MOST_TOKENS)
"""The largest reservation of one call: its body is shorter than 600 bytes."""


@dataclass(frozen=True, slots=True)
class Fault:
    name: str
    at: int
    """After this many calls have been sent, so that it also meets calls on a busy machine."""
    lasts: float
    target: int
    """The replica, and what else depends on chance."""

    def __str__(self) -> str:
        return f"{self.name} after {self.at} calls for {self.lasts:.2f} s"


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens in a round."""

    seed: int
    ends_by: str
    limit: int
    ends_after: int
    """The number of sent calls after which the run is stopped, or its time ends soon."""
    faults: tuple[Fault, ...]

    @property
    def bound(self) -> Bound:
        """What the guide states: the reservation of one call, and that of each client if reservations may be lost."""
        names = {fault.name for fault in self.faults}
        excess = LARGEST * CLIENTS if names & FORGETTING else LARGEST
        return Bound(self.limit, excess, LARGEST * CLIENTS if "kill" in names else 0)

    def __str__(self) -> str:
        return f"seed {self.seed}: ends by {self.ends_by}; {', '.join(map(str, self.faults))}"


def plan_of(seed: int) -> Plan:
    chance = random.Random(seed)
    ends_by = chance.choice(("budget", "budget", "stop", "time"))
    calls = chance.randint(60, 120) if ends_by == "budget" else 2000
    names = chance.sample((*FAULTS, *CLOCKS), chance.randint(1, 3))
    return Plan(
        seed,
        ends_by,
        calls * LARGEST // 2,
        chance.randint(30, 80),
        tuple(
            Fault(name, chance.randint(1, 60), chance.uniform(0.2, 1.3), chance.randrange(REPLICAS))
            for name in sorted(names)
        ),
    )


@dataclass
class Call:
    """What a client asks for, and what the provider charges for it."""

    name: str
    chance: random.Random
    tokens: int = field(init=False)
    body: bytes = field(init=False)
    behaviour: str = field(init=False)
    fails: bool = field(init=False)
    is_cut: bool = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = self.chance.randint(200, MOST_TOKENS)
        self.fails = self.chance.random() < 0.05
        self.is_cut = not self.fails and self.chance.random() < 0.05
        stream = self.is_cut or self.chance.random() < 0.5
        message = {"role": "user", "content": "Hello."}
        body = {"model": self.name, "messages": [message], "max_tokens": MOST_TOKENS, "stream": stream}
        self.body = json.dumps(body).encode()
        words = [f"tokens={self.tokens}, input-tokens={INPUT_TOKENS}, events=5"]
        words.append(f"headers-delay={self.chance.uniform(0.02, 0.25):.3f}")
        words += ["fail=400"] * self.fails + ["stall-after=2"] * self.is_cut
        self.behaviour = ", ".join(words)

    @property
    def cost(self) -> int:
        return 0 if self.fails else cost_of(INPUT_TOKENS, self.tokens)

    @property
    def reserved(self) -> int:
        return cost_of(len(self.body) // BYTES_PER_TOKEN + 1, MOST_TOKENS)


@dataclass
class Result:
    plan: Plan
    history: list[Event]
    codes: dict[str, int]
    violations: list[str]

    def __str__(self) -> str:
        spent = sum(event.amount for event in self.history if event.kind is Kind.SENT)
        text = f"{self.plan}\n    {counts(self.history)}; spent {spent / self.plan.limit:.1%}; {self.codes}"
        return "\n".join([text, *(f"    VIOLATED: {words}" for words in self.violations)])


class Round:
    """A round in a fleet that serves others before and after it."""

    def __init__(self, fleet: Fleet, plan: Plan) -> None:
        self.fleet, self.plan = fleet, plan
        self.name = f"history-{plan.seed}-{time.monotonic_ns()}"
        self.calls: dict[str, Call] = {}
        self.history: list[Event] = []
        self.codes: dict[str, int] = {}
        self.is_over = False
        self.restarts: list[asyncio.Task] = []
        self.redis_runs = asyncio.Lock()

    async def run(self) -> Result:
        fleet, plan = self.fleet, self.plan
        fleet.requests.clear()
        self.began = time.time()
        runs = StoredRuns(fleet.replicas[0].agents)
        token = runs.start("alice", NewRun(self.name, budget=plan.limit), lifetime=LIFETIME)
        self.record = runs.find(self.name).record
        fleet.share_agents()
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        async with httpx.AsyncClient(headers=headers, limits=limits, timeout=PATIENCE, trust_env=False) as client:
            await asyncio.gather(*(self.until_known(client, number) for number in range(REPLICAS)))
            self.first_call = time.time()
            watching = asyncio.create_task(self.watch())
            faults = [asyncio.create_task(self.fault(fault)) for fault in plan.faults]
            clients = [asyncio.create_task(self.spend(client, number)) for number in range(CLIENTS)]
            deadline = self.first_call + ROUND_AT_MOST
            if plan.ends_by != "budget":
                await self.until_sent(plan.ends_after)
                end = await asyncio.to_thread(self.end_run, runs)
                self.history.append(Event(Kind.ENDED, at=end))
                deadline = end + AFTER_THE_END
            await asyncio.wait(clients, timeout=max(0.1, deadline - time.time()))
            self.is_over = True
            late = await watching
            bound = replace(plan.bound, ends_within=plan.bound.ends_within + LATENESS * late, seen_within=late)
            await asyncio.gather(*clients, *faults)
            await asyncio.gather(*self.restarts)  # a fault may have added one meanwhile
        await self.collect()
        return Result(plan, self.history, self.codes, violations(self.history, bound))

    def end_run(self, runs: StoredRuns) -> float:
        """Stop the run, or let its time end soon. Return when it ends."""
        if self.plan.ends_by == "stop":
            runs.end(self.name)
            self.fleet.share_agents()
            return time.time()
        seconds = time.time() + SOON - self.record.created.timestamp()
        runs.extend(self.name, {}, LimitChange(seconds))
        self.fleet.share_agents()
        return runs.find(self.name).record.ends_at.timestamp()

    async def watch(self) -> float:
        """Return by how many seconds this process was late at most, as a measure of how busy the machine is."""
        latest = 0.0
        while not self.is_over:
            began = time.monotonic()
            await asyncio.sleep(0.1)
            latest = max(latest, time.monotonic() - began - 0.1)
        return latest

    async def until_sent(self, number: int) -> None:
        """Wait until this many calls have reached the provider, or until half of the round's time is over."""
        while len(self.fleet.requests) < number and time.time() < self.first_call + ROUND_AT_MOST / 2:
            await asyncio.sleep(0.01)

    # Clients.

    def url(self, number: int, path: str = "chat/completions") -> str:
        return f"http://{self.fleet.replicas[number].running.gateway}/v1/{path}"

    async def until_known(self, client: httpx.AsyncClient, number: int) -> None:
        """Wait until a replica knows the run."""
        deadline = time.monotonic() + PATIENCE
        while (await client.get(self.url(number, "models"))).status_code == 401:
            assert time.monotonic() < deadline, "a replica does not read the agents"
            await asyncio.sleep(0.05)

    async def spend(self, client: httpx.AsyncClient, number: int) -> None:
        """Call until the budget is spent, or the round is over, as a sub-agent with its own pace."""
        chance = random.Random(f"{self.plan.seed}/{number}")
        made = 0
        while not self.is_over:
            made += 1
            call = Call(f"{self.name}-{number}-{made}", chance)
            code = await self.call(client, call, (number + made) % REPLICAS)
            self.codes[code] = self.codes.get(code, 0) + 1
            if code == "insufficient_quota" and self.plan.ends_by == "budget":
                return
            if code != "accepted":
                await asyncio.sleep(chance.uniform(0.1, 0.6))

    async def call(self, client: httpx.AsyncClient, call: Call, replica: int) -> str:
        """Make a call. Return the code of its refusal, or how it ended."""
        self.calls[call.name] = call
        self.note(Kind.ASKED, call)
        headers = {"x-simulator": call.behaviour}
        try:
            async with client.stream("POST", self.url(replica), content=call.body, headers=headers) as response:
                if response.status_code in (200, 400):
                    self.note(Kind.ACCEPTED, call)
                if call.is_cut and response.status_code == 200:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.1):
                            await response.aread()
                    return "cut"
                content = await response.aread()
        except httpx.HTTPError:
            return "unreachable"
        if response.status_code in (200, 400):
            return "accepted"
        code = json.loads(content)["error"]["code"]
        if code not in ENDING:
            self.note(Kind.REFUSED, call)
        return code

    def note(self, kind: Kind, call: Call) -> None:
        self.history.append(Event(kind, call.name, time.time()))

    # Faults.

    async def fault(self, fault: Fault) -> None:
        fleet = self.fleet
        await self.until_sent(fault.at)
        match fault.name:
            case "pause":
                fleet.redis.process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(fault.lasts)
                fleet.redis.process.send_signal(signal.SIGCONT)
            case "client pause":
                async with self.redis_runs:
                    await asyncio.to_thread(fleet.redis.ask, "CLIENT", "PAUSE", str(round(fault.lasts * 1000)), "ALL")
            case "flush":
                async with self.redis_runs:
                    await asyncio.to_thread(fleet.redis.empty)
            case "restart":
                async with self.redis_runs:
                    fleet.redis.stop()
                    await asyncio.sleep(fault.lasts / 2)
                    await asyncio.to_thread(fleet.redis.start)
            case "partition" | "cut":
                separated = fleet.links[: fault.target + 1]
                for link in separated:
                    link.works.clear() if fault.name == "partition" else link.cut()
                await asyncio.sleep(fault.lasts)
                for link in separated:
                    link.mend()
            case "kill":
                replica = fleet.replicas[max(fault.target, 1)]  # the first one takes a second to start
                replica.process.kill()
                replica.process.wait()
                self.restarts.append(asyncio.create_task(asyncio.to_thread(replica.start)))
            case "clock":
                # Forward, and back in a later round. By a slow clock, the time of a run ends late.
                fleet.clock.set(0 if int(fleet.clock.file.read_text()) else HOUR)

    # The history.

    async def collect(self) -> None:
        """Add what the provider has seen, and what the replicas have recorded, once all calls are settled."""
        for at, seen in self.fleet.requests:
            if self.name.encode() in seen.body:
                call = self.calls[json.loads(seen.body)["model"]]
                self.history.append(Event(Kind.SENT, call.name, at, call.cost))
        deadline = time.monotonic() + SETTLING_AT_MOST
        for number in range(REPLICAS):
            while any(row["outcome"] is None for row in self.rows(number)) and time.monotonic() < deadline:
                await asyncio.sleep(0.05)
            for row in self.rows(number):
                self.add_row(row)
        least = sum(event.amount for event in self.history if event.kind is Kind.SETTLED)
        deadline = time.monotonic() + SETTLING_AT_MOST
        while time.monotonic() < deadline:
            totals = await asyncio.to_thread(self.totals)
            if min(totals) >= least - self.plan.bound.unrecorded and totals[1] >= totals[0]:
                break
            await asyncio.sleep(0.1)
        self.history += [
            Event(kind, at=time.time(), amount=amount) for kind, amount in zip(TOTALS, totals, strict=True)
        ]

    def rows(self, number: int) -> list[sqlite3.Row]:
        """Return what a replica has recorded of this round."""
        path = self.fleet.replicas[number].state / "audit.db"
        query = "SELECT rowid, * FROM calls WHERE rowid > ? AND requested_model GLOB ?"
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.row_factory = sqlite3.Row
            return database.execute(query, (self.fleet.rows_read[number], f"{self.name}-*")).fetchall()

    def add_row(self, row: sqlite3.Row) -> None:
        if row["outcome"] == "denied":
            return
        call = self.calls[row["requested_model"]]
        began = self.real_time(datetime.fromisoformat(row["time"]).timestamp())
        attempts = max(1, row["attempts"] or 0)
        self.history += [Event(Kind.INTENT, call.name, began, call.reserved)] * attempts
        arrived = any(event.kind is Kind.SENT and event.call == call.name for event in self.history)
        is_cut_off = row["outcome"] == "interrupted" and row["duration_ms"] is None
        if is_cut_off or (row["outcome"] in {"interrupted", "timeout"} and not arrived):
            # Before it was cut off, it may have been charged what it cost, which can be more than was reserved.
            self.history.append(Event(Kind.LOST, call.name, time.time(), max(call.reserved, call.cost)))
        elif row["outcome"]:
            ended = began + row["duration_ms"] / 1000
            self.history.append(Event(Kind.SETTLED, call.name, ended, settled_at(row, call)))

    def real_time(self, at: float) -> float:
        """Return a time of a replica by the clock of this process: a clock that jumps is wrong by whole hours."""
        return at - HOUR * round((at - self.began) / HOUR)

    def totals(self) -> tuple[int, int]:
        """Return what is charged to the run: by all ledgers, and by Redis."""
        key = key_of(self.record, "usd")
        ledgers = [totals_in(replica.state / "quotas.db") for replica in self.fleet.replicas]
        reply = self.fleet.redis.ask("GET", f"{PREFIX}budget:{key}:total").split(b"\r\n")
        shared = int(reply[1]) if len(reply) > 2 else 0
        return sum(ledger[key].amount for ledger in ledgers if key in ledger), shared


def settled_at(row: sqlite3.Row, call: Call) -> int:
    """Return what a call that has ended is charged, as the guide says."""
    if row["outcome"] == "upstream_error" or not row["attempts"]:
        return 0
    if row["outcome"] == "completed" and row["cost_usd"] is not None:
        return -int(-row["cost_usd"] * 1e9 // 1)
    return call.reserved
