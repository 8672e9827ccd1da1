"""What every emitted event passes, compiled: the same in a fraction of the time.

What is rare, and what is wrong, is left to the functions whose twins these are.
"""

from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.math cimport isfinite
from libc.stdint cimport int64_t

from ..errors import MISSING
from . import details as _details
from . import envelope as _envelope
from . import names
from .times import END_UNIX_NANO, format_seconds

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)

cdef enum:
    MAX_DEPTH = 8

cdef int64_t SECOND = 1_000_000_000
cdef int64_t END = END_UNIX_NANO
cdef dict CHECKS = _details.CHECKS
cdef dict RANKS = names.LIFECYCLE_RANK
cdef frozenset STATUSES = _envelope.STATUSES
cdef object missing = MISSING
cdef object are_good_of_run = _envelope.are_good_of_run
cdef object carefully = _envelope.new_event_document
cdef object odd = object()


def new_event_document(
    event_id,
    time_unix_nano,
    event_type,
    job_id,
    pattern_run_id,
    pattern_id,
    status,
    details=None,
    step_id=None,
):
    """As `envelope.new_event_document`."""
    cdef int overflow = 0
    cdef int64_t time = PyLong_AsLongLongAndOverflow(time_unix_nano, &overflow)
    if (
        # Asked first: the hash of a subclass of str may do anything.
        type(event_type) is str
        and type(status) is str
        and type(pattern_run_id) is str
        and type(job_id) is str
        and type(pattern_id) is str
        and (step_id is None or type(step_id) is str)
        and event_type in RANKS
        and status in STATUSES
        and are_good_of_run(job_id, pattern_run_id, pattern_id, step_id)
        and not overflow
        and 0 <= time < END
    ):
        try:
            converted = {} if details is None else _plain_copy(details, 0)
        except RuntimeError:
            # It changes meanwhile: a collection of garbage inside of the loop may let another thread run.
            converted = odd
        if converted is not odd and type(converted) is dict:
            return {
                "event_id": event_id,
                "event_type": event_type,
                "timestamp": f"{format_seconds(time // SECOND)}.{time % SECOND // 1000:06d}Z",
                "job_id": job_id,
                "pattern_run_id": pattern_run_id,
                "pattern_id": pattern_id,
                "status": status,
                "details": converted,
                "step_id": step_id,
            }
    return carefully(
        event_id, time_unix_nano, event_type, job_id, pattern_run_id, pattern_id, status, details, step_id
    )


cdef _plain_copy(value, int depth):
    """Return a copy of an object or an array of which every part is itself by the rule of `values`, else `odd`."""
    cdef dict members
    cdef list items
    if depth == MAX_DEPTH:
        return odd
    if type(value) is dict:
        members = {}
        for key, item in (<dict>value).items():
            if type(key) is not str or not PyUnicode_IS_ASCII(key):
                return odd
            if not _is_plain(item):
                item = _plain_copy(item, depth + 1)
                if item is odd:
                    return odd
            members[key] = item
        return members
    if type(value) is list:
        items = []
        for item in <list>value:
            if not _is_plain(item):
                item = _plain_copy(item, depth + 1)
                if item is odd:
                    return odd
            items.append(item)
        return items
    return odd


cdef bint _is_plain(value) except -1:
    """Tell whether a scalar is itself by the rule."""
    cdef int overflow = 0
    if type(value) is str:
        return PyUnicode_IS_ASCII(value)
    if type(value) is int:
        PyLong_AsLongLongAndOverflow(value, &overflow)
        return not overflow
    if type(value) is float:
        return isfinite(<double>value)
    return value is None or type(value) is bool


def fits_details(event_type, dict details):
    """As `details.fits_details`."""
    cdef tuple checks, check
    checks = CHECKS.get(event_type, ())
    for check in checks:
        value = details.get(check[0], missing)
        if type(value) is check[2]:
            continue
        if check[1] if value is missing else not check[3](value):
            return False
    return True
