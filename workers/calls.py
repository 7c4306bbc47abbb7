"""Calls to actors that always end: with a result, with what the method raised, or with a typed failure.

How an answer is fetched is a function that is handed in, so that no cluster is needed here.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from workers.placement import Need

Fetch: TypeAlias = Callable[[Any, float, str], Any]
"""Of a reference, the seconds to wait at most, and the actor's role: the answer. It raises what the method
raised, `ActorLost` where nobody is left to answer, and `NotYet`."""

SLICE_S: Final = 0.5
"""The longest wait in one piece: Python runs its signal handlers only between waits."""


class NotYet(Exception):
    """The answer is not there; the actor may be busy."""


class ActorLost(Exception):
    """An actor died or cannot be reached; what it was doing has no result.

    Attributes:
        role: what the actor was.
        reason: why, in one line.
    """

    def __init__(self, role: str, reason: str) -> None:
        super().__init__(role, reason)
        self.role, self.reason = role, reason

    def __str__(self) -> str:
        return f"the {self.role} was lost: {self.reason}"


class ActorHung(Exception):
    """An actor has not answered within its deadline.

    Attributes:
        role: what the actor is.
        method: what was waited for.
        waited_s: for how many seconds.
    """

    def __init__(self, role: str, method: str, waited_s: float) -> None:
        super().__init__(role, method, waited_s)
        self.role, self.method, self.waited_s = role, method, waited_s

    def __str__(self) -> str:
        told = f"the {self.role} has not ended `{self.method}` after {self.waited_s:.0f} s"
        if self.method == "__init__":
            told += ": if it is only slow to start (a cold disk, a busy machine), raise cluster.patience_s"
        return told


@dataclass(frozen=True, slots=True)
class Starting:
    """Actors that are being made.

    Attributes:
        need: what they take.
        actors: their handles.
        answers: references to what each tells of its making.
        room: whether there was room for all of them when they were begun.
    """

    need: Need
    actors: list[Any]
    answers: list[Any]
    room: bool


class Pending:
    """The answer to a call that is under way."""

    def __init__(
        self, reference: Any, role: str, method: str, deadline_s: float | None, fetch: Fetch
    ) -> None:
        """
        Args:
            deadline_s: seconds from now until the actor is taken for hung; None: never.
        """
        self._reference, self._role, self._method, self._fetch = reference, role, method, fetch
        self._since, self._deadline_s = time.monotonic(), deadline_s
        self._answered, self._value = False, None
        self._failure: BaseException | None = None

    def done(self) -> bool:
        """Whether `result` will return, or raise, at once."""
        return self._poll(0.0)

    def result(self) -> Any:
        """What the method returned; waits for it.

        Raises:
            ActorLost: the actor died or cannot be reached.
            ActorHung: the deadline has passed; the actor is left as it is.
            Exception: what the method raised, as it was; the actor's traceback is a note of it.
        """
        while not self._poll(min(SLICE_S, max(0.0, self._left()))):
            pass
        if self._failure is not None:
            raise self._failure from None
        return self._value

    def _left(self) -> float:
        if self._deadline_s is None:
            return math.inf
        return self._since + self._deadline_s - time.monotonic()

    def _poll(self, seconds: float) -> bool:
        if self._answered:
            return True
        try:
            self._value = self._fetch(self._reference, seconds, self._role)
        except NotYet:
            if self._left() > 0:
                return False
            self._failure = ActorHung(self._role, self._method, self._deadline_s or 0.0)
        except Exception as failure:
            self._failure = failure
        self._answered = True
        return True


class Stub:
    """An actor's methods as plain functions: ``stub.advance(x)`` waits and returns what it does."""

    def __init__(self, actor: Any, role: str, deadline_s: float | None, fetch: Fetch) -> None:
        self._actor, self._role, self._deadline_s, self._fetch = actor, role, deadline_s, fetch

    def later(self, method: str, *args: Any, **kwargs: Any) -> Pending:
        """Calls a method and does not wait for its result."""
        reference = getattr(self._actor, method).remote(*args, **kwargs)
        return Pending(reference, self._role, method, self._deadline_s, self._fetch)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("_"):  # protocols of Python, as copying asks for them
            raise AttributeError(method)
        getattr(self._actor, method)  # an unknown method is an error here, not where it is called
        return lambda *args, **kwargs: self.later(method, *args, **kwargs).result()


def original(error: Any, wrapper: type[Any], role: str) -> BaseException:
    """The exception that was raised inside the actor; where, is a note of it.

    Args:
        wrapper: the class of exceptions around others, in their attribute ``cause``.
    """
    cause = error
    while isinstance(cause, wrapper) and isinstance(cause.cause, BaseException):
        cause = cause.cause
    cause.add_note(f"in the {role}: {plain(error)}")
    return cause


def told(made: type, arguments: Callable[[Any], tuple[Any, ...]], restarted: Callable[[], bool]) -> type:
    """The class as actors are made of it: a constructor that raises is told by a method, as an exception.

    Of what a constructor raises itself, Ray keeps the text only.

    Args:
        arguments: of what the actor is given, the constructor's arguments.
        restarted: whether the actor is started again; then nobody asks, and the failure is the actor's end.
    """

    class Actor(made):  # type: ignore[misc]
        def __init__(self, held: Any) -> None:
            self.failure: Exception | None = None
            try:
                super().__init__(*arguments(held))
            except Exception as failure:
                if restarted():
                    raise
                self.failure = failure

        def tell_failure(self) -> None:
            if self.failure is not None:
                raise self.failure

    Actor.__name__, Actor.__qualname__, Actor.__module__ = made.__name__, made.__qualname__, made.__module__
    return Actor


def plain(error: Exception) -> str:
    """What an error says, without the colours that Ray gives it."""
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error))


def reason_of(error: Exception) -> str:
    """Ray's account of a death in one line."""
    lines = [line.strip() for line in plain(error).splitlines() if line.strip() and not line.startswith("\t")]
    if getattr(error, "actor_init_failed", False):
        return f"it could not be made: {lines[-1]}"
    text = re.sub(r"\s+", " ", " ".join(lines[1:] or lines))
    text = re.sub(r"^The actor \w+ is unavailable: ", "", text)
    text = re.split(r" (?:There are some potential|Some common causes|The task may or may not)", text)[0]
    return text[:300] or type(error).__name__
