"""What every emitted event passes, compiled: `values.plain_copy` and `details.pass_checks` in a fraction of the time."""

from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.math cimport isfinite

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)

cdef enum:
    DEPTH = 8


def plain_copy(value, odd):
    """As `values.plain_copy`."""
    return _plain_copy(value, odd, 0)


cdef _plain_copy(value, odd, int depth):
    cdef dict members
    cdef list items
    if depth == DEPTH:
        return odd
    if type(value) is dict:
        members = {}
        for key, item in (<dict>value).items():
            if type(key) is not str or not PyUnicode_IS_ASCII(key):
                return odd
            if not _is_plain(item):
                item = _plain_copy(item, odd, depth + 1)
                if item is odd:
                    return odd
            members[key] = item
        return members
    if type(value) is list:
        items = []
        for item in <list>value:
            if not _is_plain(item):
                item = _plain_copy(item, odd, depth + 1)
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


def pass_checks(details, tuple checks, missing):
    """As `details.pass_checks`."""
    cdef tuple check
    for check in checks:
        value = details.get(check[0], missing)
        if type(value) is check[2]:
            continue
        if check[1] if value is missing else not check[3](value):
            return False
    return True
