# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The users: Locust's, who ask the questions of a share of the load when their time has come.

Locust starts and stops them, makes their connections and keeps its own statistics. When to ask is the
schedule's decision and whether an answer is right is the question's; every request leaves one sample.
Only code inside Locust imports this module: importing Locust replaces the standard library's sockets.
"""

import time
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import gevent
import gevent.event
from locust import FastHttpUser, task
from locust.exception import StopUser

from tidegate.contract import Contract
from tidegate_loadtests.partition import Share
from tidegate_loadtests.samples import SampleWriter
from tidegate_loadtests.schedule import arrivals
from tidegate_loadtests.workload import HEADER_LENGTH, Question, mistake

_ERROR_LENGTH = 160
Turn = tuple[float, Question]


class Load:
    """The turns that all users of this process share, and the record of what became of them."""

    def __init__(self, share: Share, questions: list[Question], record: SampleWriter) -> None:
        self.plan = share.plan
        self.contract = share.contract
        self.record = record
        self.begun = gevent.event.Event()
        self.zero = 0.0
        """When the measured time begins, on the monotonic clock."""
        # Users take turns from one iterator, so that a request waits only if every connection is busy.
        self.turns: Iterator[Turn] = (
            self._closed(questions)
            if self.plan.rate is None
            else zip(arrivals(share).tolist(), cycle(questions), strict=False)
        )

    def begin(self) -> None:
        """Start the clock: every user is there."""
        self.zero = time.monotonic() + self.plan.warmup
        self.begun.set()

    def now(self) -> float:
        """Seconds since the start of the measured time; negative in the warm-up."""
        return time.monotonic() - self.zero

    def _closed(self, questions: list[Question]) -> Iterator[Turn]:
        following = cycle(questions)
        while (now := self.now()) < self.plan.duration:
            yield now, next(following)


class Client(FastHttpUser):
    """A user with one connection that takes a turn, waits for its time, asks, and takes the next."""

    load: Load
    insecure = False
    max_redirects = 0

    @classmethod
    def take(cls, load: Load) -> None:
        """Give all users of this process their load."""
        cls.load = load
        # So that a silent server delays a user by no more than a client's patience.
        cls.connection_timeout = cls.network_timeout = load.plan.timeout

    def on_start(self) -> None:
        """Take every status as an answer; otherwise the client would prepare a transcript of each error."""
        self.client.client.valid_response_codes = frozenset(range(100, 600))

    @task  # type: ignore[untyped-decorator]
    def ask(self) -> None:
        """Take turns until none is left. It is one task, which Locust lets finish, so none is cut off."""
        self.load.begun.wait()
        free = -self.load.plan.warmup
        for intended, question in self.load.turns:
            gevent.sleep(max(0.0, intended - self.load.now()))
            free = self._take(intended, free, question)
        raise StopUser

    def _take(self, intended: float, free: float, question: Question) -> float:
        """Ask a question, record what became of it, and return when that was."""
        start = self.load.now()
        timeout = self.load.plan.timeout
        if start - intended < timeout:
            status, end, error = self._ask(question)
            if end - intended > timeout:
                error = f"no answer within {timeout:g} s of the intended start"
        else:
            status, error, end = 0, f"not sent within {timeout:g} s of the intended start", start
        self.load.record.write(
            intended=intended,
            free=free,
            start=start,
            end=end,
            status=status,
            protocol=question.protocol,
            rows=question.rows,
            error=error,
        )
        return self.load.now()

    def _ask(self, question: Question) -> tuple[int, float, str | None]:
        """Ask a question; return the status, 0 if there was none, when it ended, and what was wrong."""
        with self.client.request(
            "POST",
            question.path,
            name=question.protocol.value,
            data=question.body,
            headers=question.headers,
            catch_response=True,
        ) as response:
            end = self.load.now()
            error = _error(question, self.load.contract, response)
            if error is None:
                response.success()
            else:
                response.failure(error)
            return response.status_code, end, error


def _error(question: Question, contract: Contract, response: Any) -> str | None:
    """What is wrong with a response; None if it is the right answer."""
    if (broken := response.request_meta["exception"]) is not None:
        # A timeout comes wrapped in an exception that speaks of retries, of which there are none.
        return f"no answer: {getattr(broken, 'original', None) or broken}"[:_ERROR_LENGTH]
    if response.status_code == 200:
        return mistake(question, contract, response.headers.get(HEADER_LENGTH), response.content or b"")
    said = (response.content or b"").decode(errors="replace")
    return f"status {response.status_code}: {said}"[:_ERROR_LENGTH]
