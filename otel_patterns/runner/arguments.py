"""What describes a run, or the run that each call of a function is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..errors import OtelPatternsError

if TYPE_CHECKING:
    from ..channel import Channel

T = TypeVar("T")
FromCall = Callable[..., T]


class Arguments(NamedTuple):
    """The arguments of `pattern_run`, which says what they mean. `channel` None is the process's own at the begin."""

    pattern_id: str
    job_id: str | FromCall[str]
    operation_kind: str
    step_id: str | FromCall[str | None] | None = None
    inputs: Mapping[str, Any] | FromCall[Mapping[str, Any]] | None = None
    pattern_version: str | None = None
    pattern_run_id: str | None = None
    selection_method: str = "explicit"
    candidate_patterns: Sequence[str] | None = None
    command: str | Sequence[str] | None = None
    executor: str | None = None
    channel: Channel | None = None

    def of_call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
        """Return what describes the run of one call with these arguments.

        Raises:
            OtelPatternsError: A run id was given, which can name one run alone.
        """
        if self.pattern_run_id is not None:
            raise OtelPatternsError(
                f"pattern_run_id={self.pattern_run_id!r} names one run, and each call of a function is a run of its "
                "own: leave it out"
            )
        return self._replace(
            job_id=_of_call(self.job_id, args, kwargs),
            step_id=_of_call(self.step_id, args, kwargs),
            inputs=_of_call(self.inputs, args, kwargs),
        )


def _of_call(value: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    return value(*args, **kwargs) if callable(value) else value
