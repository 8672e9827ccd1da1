"""`otlp.encode_run`, compiled: the same bytes in a fraction of the time (design section 5.1).

A run is projected as `projection` does it and encoded as `wire` does it, in one go: without an object for each attribute,
event and span. Those two are what a run's trace is; a property test compares the bytes. What few runs have is left to their
functions.

Bytes are written from the last to the first: when the size of a message is due, the message stands there already.
"""

from hashlib import sha256

import msgspec
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from ..model import ids, names
from ..model.encoding import encode_json
from ..model.outline import ended_status, error_of, order_key, outputs_of, recorded_text, texts_of
from ..model.stages import CLOSES as _CLOSES
from ..model.stages import OPENS as _OPENS
from ..model.values import clean_text
from . import projection, wire
from .outcome import executable_name, integer_of, result_of
from .recorded import IMPORTED, attribute_of, caller_of, read_recorded, scalar_of, span_part
from .trace import EncodedRun, EncodedSpan, SpanEvent

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    bint PyUnicode_IS_ASCII(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)

cdef extern from "string.h":
    void* memmem(const void* text, size_t size, const void* wanted, size_t wanted_size)

cdef enum:
    FIRST_CAPACITY = 16384
    VARINT = 0
    FIXED64 = 1
    SIZED = 2

# Tags of fields, one byte each but for a span's flags. What the fields are, `wire` says.
cdef enum:
    REQUEST_RESOURCE_SPANS = 1 << 3 | SIZED
    GROUP_RESOURCE = 1 << 3 | SIZED
    GROUP_SCOPE_SPANS = 2 << 3 | SIZED
    SCOPE_SPANS_SPANS = 2 << 3 | SIZED
    RESOURCE_ATTRIBUTES = 1 << 3 | SIZED
    SPAN_TRACE_ID = 1 << 3 | SIZED
    SPAN_SPAN_ID = 2 << 3 | SIZED
    SPAN_TRACE_STATE = 3 << 3 | SIZED
    SPAN_PARENT_SPAN_ID = 4 << 3 | SIZED
    SPAN_NAME = 5 << 3 | SIZED
    SPAN_KIND = 6 << 3 | VARINT
    SPAN_START = 7 << 3 | FIXED64
    SPAN_END = 8 << 3 | FIXED64
    SPAN_ATTRIBUTES = 9 << 3 | SIZED
    SPAN_EVENTS = 11 << 3 | SIZED
    SPAN_LINKS = 13 << 3 | SIZED
    SPAN_STATUS = 15 << 3 | SIZED
    EVENT_TIME = 1 << 3 | FIXED64
    EVENT_NAME = 2 << 3 | SIZED
    EVENT_ATTRIBUTES = 3 << 3 | SIZED
    LINK_TRACE_ID = 1 << 3 | SIZED
    LINK_SPAN_ID = 2 << 3 | SIZED
    LINK_TRACE_STATE = 3 << 3 | SIZED
    STATUS_MESSAGE = 2 << 3 | SIZED
    STATUS_CODE = 3 << 3 | VARINT
    KEY = 1 << 3 | SIZED
    VALUE = 2 << 3 | SIZED
    VALUE_TEXT = 1 << 3 | SIZED
    VALUE_BOOL = 2 << 3 | VARINT
    VALUE_INT = 3 << 3 | VARINT
    VALUE_DOUBLE = 4 << 3 | FIXED64
    VALUE_ARRAY = 5 << 3 | SIZED
    ARRAY_VALUES = 1 << 3 | SIZED

cdef enum:
    STATUS_CODE_ERROR = 2
    INTERNAL = 1
    SERVER = 2
    CLIENT = 3

cdef object encode = msgspec.json.Encoder().encode

cdef bytes FLAGS = wire.FLAGS
cdef bytes REMOTE_FLAGS = wire.REMOTE_FLAGS
cdef bytes SCOPE = wire.SCOPE
cdef bytes SCOPE_SCHEMA = wire.SCOPE_SCHEMA
cdef bytes GROUP_SCHEMA = wire.GROUP_SCHEMA

cdef Py_ssize_t MAX_TEXT_BYTES = projection.MAX_TEXT_BYTES
cdef int MAX_EVENT_DETAILS = projection.MAX_EVENT_DETAILS
cdef int MAX_MEMBERS = projection.MAX_MEMBERS
cdef int MAX_NESTING = projection.MAX_NESTING
cdef tuple COMMAND_EXECUTORS = projection.COMMAND_EXECUTORS
cdef frozenset IDENTITY = projection.IDENTITY
cdef frozenset TERMINAL_EVENT_TYPES = names.TERMINAL_EVENT_TYPES
cdef dict STAGE_OF = {event_type: names.stage_of(event_type) for event_type in names.EVENT_TYPES}

cdef bytes NO_SPAN_ID = bytes(8)
cdef bytes ROOT = b""
cdef dict STAGE_ROLES = {stage: ids.prefixed("stage") + ids.prefixed(stage) for stage in names.STAGES}

cdef dict OPENS = _OPENS
cdef dict CLOSES = _CLOSES

cdef str OTEL = names.OTEL
cdef str SELECTION = names.SELECTION
cdef str SELECTION_FAILED = names.SELECTION_FAILED
cdef str SELECTION_RESOLVED = names.SELECTION_RESOLVED
cdef str TEMPLATE_EXPANDED = names.TEMPLATE_EXPANDED
cdef str EXECUTION_STARTED = names.EXECUTION_STARTED
cdef str EXECUTION_COMPLETED = names.EXECUTION_COMPLETED
cdef str FAILED = names.FAILED
cdef str SKIPPED = names.SKIPPED
cdef str RESULT_SUCCESS = names.RESULT_SUCCESS
cdef frozenset FAILED_EVENT_TYPES = names.FAILED_EVENT_TYPES
cdef str TEMPLATE = names.TEMPLATE
cdef str EXECUTION = names.EXECUTION
cdef str EVENT_EXCEPTION = names.EVENT_EXCEPTION
cdef str ATTR_ARTIFACTS = names.ATTR_ARTIFACTS
cdef str ATTR_CALLER_SPAN_ID = names.ATTR_CALLER_SPAN_ID
cdef str ATTR_CALLER_TRACE_ID = names.ATTR_CALLER_TRACE_ID
cdef str ATTR_CICD_PIPELINE_NAME = names.ATTR_CICD_PIPELINE_NAME
cdef str ATTR_CICD_RESULT = names.ATTR_CICD_RESULT
cdef str ATTR_CICD_RUN_ID = names.ATTR_CICD_RUN_ID
cdef str ATTR_CICD_TASK_NAME = names.ATTR_CICD_TASK_NAME
cdef str ATTR_CICD_TASK_RESULT = names.ATTR_CICD_TASK_RESULT
cdef str ATTR_CICD_TASK_RUN_ID = names.ATTR_CICD_TASK_RUN_ID
cdef str ATTR_DETAIL = names.ATTR_DETAIL
cdef str ATTR_DETAILS = names.ATTR_DETAILS
cdef str ATTR_DETAILS_BYTES = names.ATTR_DETAILS_BYTES
cdef str ATTR_DETAILS_SHA256 = names.ATTR_DETAILS_SHA256
cdef str ATTR_DETAILS_TRUNCATED = names.ATTR_DETAILS_TRUNCATED
cdef str ATTR_DURATION_SECONDS = names.ATTR_DURATION_SECONDS
cdef str ATTR_ERROR_TYPE = names.ATTR_ERROR_TYPE
cdef str ATTR_EVENTS_EMITTED = names.ATTR_EVENTS_EMITTED
cdef str ATTR_EVENT_ID = names.ATTR_EVENT_ID
cdef str ATTR_EVENT_INDEX = names.ATTR_EVENT_INDEX
cdef str ATTR_EVENT_STATUS = names.ATTR_EVENT_STATUS
cdef str ATTR_EXECUTABLE_NAME = names.ATTR_EXECUTABLE_NAME
cdef str ATTR_EXIT_CODE = names.ATTR_EXIT_CODE
cdef str ATTR_INPUT = names.ATTR_INPUT
cdef str ATTR_JOB_ID = names.ATTR_JOB_ID
cdef str ATTR_OPERATION_KIND = names.ATTR_OPERATION_KIND
cdef str ATTR_OUTPUT = names.ATTR_OUTPUT
cdef str ATTR_PATTERN_ID = names.ATTR_PATTERN_ID
cdef str ATTR_PATTERN_VERSION = names.ATTR_PATTERN_VERSION
cdef str ATTR_PID = names.ATTR_PID
cdef str ATTR_RUN_ID = names.ATTR_RUN_ID
cdef str ATTR_STAGE = names.ATTR_STAGE
cdef str ATTR_STATUS = names.ATTR_STATUS
cdef str ATTR_STEP_ID = names.ATTR_STEP_ID


def join_request(bytes resource, spans):
    """As `wire.join_request`."""
    cdef _Writer writer = _Writer()
    cdef list encoded = list(spans)
    cdef bytes span
    cdef Py_ssize_t begin, place
    writer.put(GROUP_SCHEMA)
    begin = writer.size
    writer.put(SCOPE_SCHEMA)
    for place in range(len(encoded) - 1, -1, -1):
        span = encoded[place]
        writer.put(span)
        writer.varint(len(span))
        writer.tag(SCOPE_SPANS_SPANS)
    writer.put(SCOPE)
    writer.close(GROUP_SCOPE_SPANS, begin)
    begin = writer.size
    writer.put(resource)
    writer.close(GROUP_RESOURCE, begin)
    writer.close(REQUEST_RESOURCE_SPANS, 0)
    return writer.take()


def encode_run(events, *, closed_by=None):
    """As `otlp.encode_run`."""
    cdef list prefix = _prefix_of(events), stages
    cdef _Writer writer = _Writer()
    cdef _Common common
    cdef bint has_ended, is_root_wanted
    cdef Py_ssize_t all_stages
    if not prefix:
        return None
    first, last = prefix[0], prefix[len(prefix) - 1]
    recorded = _Recorded(prefix)
    common = _Common(first, recorded)
    has_ended = last.event_type in TERMINAL_EVENT_TYPES
    stages = _pairs_of_stages(prefix)
    all_stages = len(stages)
    if closed_by is not None:
        stages = [stage for stage in stages if stage[2].event_id in closed_by]
    is_root_wanted = has_ended and (closed_by is None or last.event_id in closed_by)
    writer.resource(recorded.resource)
    resource = writer.take()
    return EncodedRun(
        common.run_id,
        resource,
        recorded.sampled,
        recorded.native,
        is_root_wanted and len(stages) == all_stages,
        _root(writer, common, prefix, recorded) if is_root_wanted else None,
        tuple([_stage(writer, common, stage[0], stage[1], stage[2]) for stage in stages]),
        None if has_ended else _marker(first, prefix),
    )


cdef list _prefix_of(events):
    cdef list prefix = []
    cdef set seen = set()
    for event in events:
        event_id = event.event_id
        if event_id in seen:
            continue
        seen.add(event_id)
        prefix.append(event)
        if event.event_type in TERMINAL_EVENT_TYPES:
            break
    return prefix


cdef class _Recorded:
    """What `recorded.read_recorded` finds; the resource as it is in the journal."""

    cdef object resource, caller
    cdef bint sampled, native

    def __init__(self, list prefix):
        cdef dict otel, first = None
        self.native = False
        for event in prefix:
            details = event.details
            if OTEL in details and isinstance(details[OTEL], dict):
                otel = details[OTEL]
                if first is None and "v" in otel:
                    first = otel
                if otel.get(IMPORTED) is True:
                    self.native = True
        if first is None:
            first = {}
        self.resource = first.get("resource")
        self.caller = caller_of(first) if "traceparent" in first else None
        self.sampled = first.get("sampled") is not False
        self.native = self.native or first.get("native") is True


cdef class _Common:
    """What every span of a run shares."""

    cdef object caller
    cdef str run_id, trace_id, trace_state, root_id
    cdef bytes span_id_begin

    def __init__(self, first, _Recorded recorded):
        caller = recorded.caller
        self.run_id = first.pattern_run_id
        self.caller = caller if caller is not None and caller.join == "child" else None
        self.trace_id = ids.trace_id(first.job_id, self.run_id) if self.caller is None else caller.trace_id
        self.trace_state = "" if self.caller is None else caller.trace_state
        self.span_id_begin = ids.span_id_begin(self.run_id)
        self.root_id = self.span_id(ROOT, "root")

    cdef str span_id(self, bytes role, str last):
        """Return `ids.span_id` of a role whose words but for the last are encoded."""
        cdef bytes data = last.encode(), digest
        digest = sha256(self.span_id_begin + role + len(data).to_bytes(4, "big") + data).digest()
        if digest.startswith(NO_SPAN_ID):
            return ids.hashed(8, digest)
        return digest[:8].hex()


cdef _marker(first, list prefix):
    span = projection.marker_of(projection.Common(first, read_recorded(prefix)), first)
    return EncodedSpan(span.span_id, span.name, wire.encode_span(span))


cdef _root(_Writer writer, _Common common, list prefix, _Recorded recorded):
    cdef list folded = prefix, ordered = prefix, items = []
    cdef dict attributes
    cdef Py_ssize_t begin, index, place
    cdef bint is_remote
    cdef _Outline run
    if not _are_times_rising(prefix):
        ordered = sorted(prefix, key=lambda event: (event.time_unix_nano, event.rank))
        folded = sorted(prefix, key=order_key)
    terminal = prefix[len(prefix) - 1]
    run = _Outline(folded, terminal)
    error = _error_of(terminal)
    start = ordered[0].time_unix_nano
    attributes = _run_attributes(run)
    attributes[ATTR_CICD_RESULT] = _result_of(terminal)
    if error is not None:
        _add(attributes, ATTR_ERROR_TYPE, error.get("type"))
    caller = recorded.caller
    is_linked = caller is not None and caller.join == "link"
    if is_linked:
        attributes[ATTR_CALLER_TRACE_ID] = caller.trace_id
        attributes[ATTR_CALLER_SPAN_ID] = caller.span_id
    attributes[ATTR_EVENTS_EMITTED] = len(ordered)
    for event in ordered:
        items.append(event)
        if _has_span_part(event.details):
            user_attributes, user_events = span_part(event, "run")
            _add_user_attributes(attributes, user_attributes)
            items.extend(user_events)
            items.extend([item for item in span_part(event, "stage")[1] if item.name == EVENT_EXCEPTION])
    parent = common.caller
    is_remote = parent is not None and parent.is_remote
    writer.end_of_span(is_remote, error)
    if is_linked:
        begin = writer.size
        writer.word(LINK_TRACE_STATE, caller.trace_state)
        writer.id(LINK_SPAN_ID, caller.span_id)
        writer.id(LINK_TRACE_ID, caller.trace_id)
        writer.close(SPAN_LINKS, begin)
    job_id, pattern_id, step_id = run.job_id, run.pattern_id, run.step_id
    index = len(ordered)
    for place in range(len(items) - 1, -1, -1):
        item = items[place]
        if type(item) is SpanEvent:
            writer.span_event(item)
        else:
            index -= 1
            writer.pattern_event(item, index, job_id, pattern_id, step_id)
    name = _cut(f"{run.operation_kind} {pattern_id}")
    writer.attributes(SPAN_ATTRIBUTES, attributes)
    writer.start_of_span(
        common,
        common.root_id,
        "" if parent is None else parent.span_id,
        name,
        INTERNAL if parent is not None and not is_remote else SERVER,
        start,
        max(start, terminal.time_unix_nano),
    )
    return EncodedSpan(common.root_id, name, writer.take())


cdef bint _are_times_rising(list events) except -1:
    cdef int64_t last = -1, time
    for event in events:
        time = event.time_unix_nano
        if time <= last:
            return False
        last = time
    return True


cdef list _pairs_of_stages(list events):
    """As `stages.pair_stages`, without an object for each."""
    cdef dict openers = {}
    cdef list stages = []
    for event in events:
        event_type = event.event_type
        if event_type != SELECTION_FAILED and _stage_of(event_type) == SELECTION:
            openers[TEMPLATE] = event
        stage = OPENS.get(event_type)
        if stage is not None:
            openers[stage] = event
            continue
        stage = CLOSES.get(event_type)
        if stage is not None:
            opening = openers.pop(stage, None)
            if opening is not None:
                stages.append((stage, opening, event))
    return stages


cdef _stage_of(event_type):
    stage = STAGE_OF.get(event_type)
    return names.stage_of(event_type) if stage is None else stage


cdef _stage(_Writer writer, _Common common, str stage, opening, closing):
    cdef dict attributes
    cdef int kind = INTERNAL
    cdef Py_ssize_t place
    error = _error_of(closing) if closing.event_type in TERMINAL_EVENT_TYPES else None
    pattern_id, opening_id = closing.pattern_id, opening.event_id
    opening_details, closing_details = opening.details, closing.details
    attributes = {
        ATTR_RUN_ID: closing.pattern_run_id,
        ATTR_PATTERN_ID: _cut(pattern_id),
        ATTR_JOB_ID: closing.job_id,
        ATTR_STAGE: stage,
        ATTR_CICD_TASK_NAME: stage,
        ATTR_CICD_TASK_RUN_ID: opening_id,
        ATTR_CICD_TASK_RESULT: _result_of(closing),
    }
    if stage == EXECUTION and opening_details.get("executor") in COMMAND_EXECUTORS:
        kind = CLIENT
        _add(attributes, ATTR_EXECUTABLE_NAME, executable_name(opening_details.get("command")))
        _add(attributes, ATTR_PID, integer_of(opening_details.get("pid", closing_details.get("pid"))))
        _add(attributes, ATTR_EXIT_CODE, integer_of(closing_details.get("exit_code")))
    if error is not None:
        _add(attributes, ATTR_ERROR_TYPE, error.get("type"))
    user_events = ()
    if _has_span_part(opening_details):
        _add_user_attributes(attributes, span_part(opening, "stage")[0])
    if _has_span_part(closing_details):
        user_attributes, user_events = span_part(closing, "stage")
        _add_user_attributes(attributes, user_attributes)
    start = opening.time_unix_nano
    name = _cut(f"{stage} {pattern_id}")
    span_id = common.span_id(STAGE_ROLES[stage], opening_id)
    writer.end_of_span(False, error)
    for place in range(len(user_events) - 1, -1, -1):
        writer.span_event(user_events[place])
    writer.attributes(SPAN_ATTRIBUTES, attributes)
    writer.start_of_span(common, span_id, common.root_id, name, kind, start, max(start, closing.time_unix_nano))
    return EncodedSpan(span_id, name, writer.take())


cdef bint _has_span_part(details) except -1:
    """Tell whether user code put something on the current span before this event: `span_part` says what."""
    if OTEL not in details:
        return False
    otel = details[OTEL]
    return isinstance(otel, dict) and "span" in otel


cdef bytes _json_of(dict details):
    """As `encode_json`."""
    cdef bytes text
    try:
        text = encode(details)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return encode_json(details)
    # What is null may have been a NaN.
    if memmem(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), b"null", 4) != NULL:
        return encode_json(details)
    return text


cdef int _add(dict attributes, str key, value) except -1:
    """Add a value unless it is None; text is cut to what a backend takes."""
    if isinstance(value, str):
        attributes[key] = _cut(value)
    elif value is not None:
        attributes[key] = value
    return 0


cdef int _add_user_attributes(dict attributes, tuple given) except -1:
    for key, value in given:
        if key not in IDENTITY:
            attributes[key] = value
    return 0


cdef _error_of(terminal):
    """As `outline.error_of`."""
    if terminal.event_type == EXECUTION_COMPLETED and terminal.status != FAILED:
        return None
    return error_of(terminal)


cdef _result_of(closing):
    """As `outcome.result_of`."""
    status = closing.status
    if status == FAILED or status == SKIPPED or closing.event_type in FAILED_EVENT_TYPES:
        return result_of(closing)
    return RESULT_SUCCESS


cdef class _Outline:
    """As `outline.outline_of` of a run that has ended."""

    cdef object job_id, operation_kind, pattern_id, pattern_run_id, pattern_version, status, step_id
    cdef double duration_seconds
    cdef dict inputs, outputs
    cdef list artifacts

    def __init__(self, list events, terminal):
        cdef int64_t start
        first = events[0]
        started = resolved = None
        self.step_id = self.operation_kind = self.pattern_version = None
        self.inputs, self.artifacts = {}, []
        for event in events:
            event_type, details = event.event_type, event.details
            if self.step_id is None:
                self.step_id = event.step_id
            if self.operation_kind is None:
                self.operation_kind = _filled(details.get("operation_kind"))
            if self.pattern_version is None:
                self.pattern_version = _filled(details.get("template_version"))
            if event_type == SELECTION_RESOLVED:
                if resolved is None:
                    resolved = event
                inputs = details.get("inputs_preview")
                if isinstance(inputs, dict) and inputs:
                    self.inputs = inputs
            elif event_type == TEMPLATE_EXPANDED:
                self.artifacts += texts_of(details.get("generated_artifacts"))
            elif event_type == EXECUTION_STARTED:
                if started is None:
                    started = event
            elif event_type == EXECUTION_COMPLETED:
                self.artifacts = texts_of(details.get("artifacts")) or self.artifacts
        if self.operation_kind is None:
            self.operation_kind = recorded_text(events, "operation_kind") or names.UNKNOWN_OPERATION
        if self.pattern_version is None:
            self.pattern_version = recorded_text(events, "pattern_version")
        self.pattern_run_id, self.job_id = first.pattern_run_id, first.job_id
        self.pattern_id = (first if resolved is None else resolved).pattern_id
        start = (first if started is None else started).time_unix_nano
        self.duration_seconds = max(0, terminal.time_unix_nano - start) / 1e9
        self.status = ended_status(terminal.event_type, terminal.status)
        self.outputs = outputs_of(terminal.event_type, terminal.details)


cdef _filled(value):
    return value if isinstance(value, str) and value else None


cdef dict _run_attributes(_Outline run):
    pattern_id, run_id, artifacts = _cut(run.pattern_id), run.pattern_run_id, run.artifacts
    cdef dict attributes = {ATTR_RUN_ID: run_id, ATTR_PATTERN_ID: pattern_id}
    _add(attributes, ATTR_PATTERN_VERSION, run.pattern_version)
    _add(attributes, ATTR_OPERATION_KIND, run.operation_kind)
    attributes[ATTR_JOB_ID] = run.job_id
    _add(attributes, ATTR_STEP_ID, run.step_id)
    attributes[ATTR_STATUS] = run.status
    _add(attributes, ATTR_DURATION_SECONDS, run.duration_seconds)
    if artifacts:
        attributes[ATTR_ARTIFACTS] = tuple([_cut(artifact) for artifact in artifacts[:MAX_MEMBERS]])
    _add_scalars(attributes, run.inputs, ATTR_INPUT, MAX_MEMBERS, 1)
    _add_scalars(attributes, run.outputs, ATTR_OUTPUT, MAX_MEMBERS, 1)
    attributes[ATTR_CICD_PIPELINE_NAME] = pattern_id
    attributes[ATTR_CICD_RUN_ID] = run_id
    return attributes


cdef int _add_scalars(dict attributes, dict members, str prefix, int room, int depth) except -1:
    """Add at most `room` scalars of an object, those of objects inside it under dotted keys, and return the room left."""
    cdef str key
    for key, value in members.items():
        if not room:
            break
        if type(value) is list or value is None or not key:
            continue
        name = prefix + (key if PyUnicode_IS_ASCII(key) else clean_text(key))
        if type(value) is dict:
            if depth < MAX_NESTING:
                room = _add_scalars(attributes, value, f"{name}.", room, depth + 1)
            continue
        scalar = _scalar(value)
        if scalar is not None:
            attributes[name] = scalar
            room -= 1
    return room


cdef _scalar(value):
    """Return a scalar as an attribute value, its text cut; None for null, array and object."""
    cdef int overflow = 0
    if type(value) is str:
        return _cut(value)
    if type(value) is float or type(value) is bool:
        return value
    if type(value) is int:
        PyLong_AsLongLongAndOverflow(value, &overflow)
        if not overflow:
            return value
    scalar = scalar_of(value)
    return _cut(scalar) if isinstance(scalar, str) else scalar


cdef str _cut(text):
    if type(text) is str and PyUnicode_IS_ASCII(text) and PyUnicode_GET_LENGTH(text) <= MAX_TEXT_BYTES:
        return text
    return projection.cut_text(text)


cdef inline int _digit(char character) noexcept:
    """Return the value of a hex digit; -1 for another character."""
    if c"0" <= character <= c"9":
        return character - c"0"
    if c"a" <= character <= c"f":
        return character - c"a" + 10
    return -1


cdef class _Writer:
    """Bytes that grow at their front.

    A message is what was written since `size` was what it is when the message begins, that is, when its end is written.
    """

    cdef uint8_t* data
    cdef Py_ssize_t capacity
    cdef Py_ssize_t size

    def __cinit__(self):
        self.data = <uint8_t*>PyMem_Malloc(FIRST_CAPACITY)
        if self.data == NULL:
            raise MemoryError
        self.capacity = FIRST_CAPACITY
        self.size = 0

    def __dealloc__(self):
        PyMem_Free(self.data)

    cdef bytes take(self):
        """Return what was written, and begin anew."""
        written = PyBytes_FromStringAndSize(<char*>self.data + self.capacity - self.size, self.size)
        self.size = 0
        return written

    cdef inline uint8_t* room(self, Py_ssize_t count) except NULL:
        """Return where `count` bytes go that the caller writes now."""
        if count > self.capacity - self.size:
            self.grow(count)
        self.size += count
        return self.data + self.capacity - self.size

    cdef int grow(self, Py_ssize_t count) except -1:
        cdef Py_ssize_t capacity = self.capacity
        cdef uint8_t* data
        while count > capacity - self.size:
            capacity *= 2
        data = <uint8_t*>PyMem_Malloc(capacity)
        if data == NULL:
            raise MemoryError
        memcpy(data + capacity - self.size, self.data + self.capacity - self.size, self.size)
        PyMem_Free(self.data)
        self.data, self.capacity = data, capacity
        return 0

    cdef inline int raw(self, const char* data, Py_ssize_t count) except -1:
        memcpy(self.room(count), data, count)
        return 0

    cdef inline int put(self, bytes data) except -1:
        return self.raw(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef inline int tag(self, uint8_t tag) except -1:
        self.room(1)[0] = tag
        return 0

    cdef inline int varint(self, uint64_t number) except -1:
        cdef uint64_t rest = number >> 7
        cdef Py_ssize_t count = 1
        cdef uint8_t* at
        while rest:
            count += 1
            rest >>= 7
        at = self.room(count)
        while count > 1:
            at[0] = number & 0x7F | 0x80
            at += 1
            number >>= 7
            count -= 1
        at[0] = number
        return 0

    cdef int fixed64(self, uint8_t tag, uint64_t number) except -1:
        cdef uint8_t* at = self.room(9)
        cdef int byte
        at[0] = tag
        for byte in range(8):
            at[1 + byte] = number >> 8 * byte & 0xFF
        return 0

    cdef int time(self, uint8_t tag, unix_nano) except -1:
        cdef uint64_t number = unix_nano
        return self.fixed64(tag, number) if number else 0

    cdef inline int close(self, uint8_t tag, Py_ssize_t begin) except -1:
        """Put tag and size before the message that was written since `size` was `begin`."""
        self.varint(self.size - begin)
        return self.tag(tag)

    cdef int text(self, uint8_t tag, str text) except -1:
        """Write a text, also an empty one."""
        cdef Py_ssize_t begin = self.size, count = 0
        cdef const char* data = PyUnicode_AsUTF8AndSize(text, &count)
        self.raw(data, count)
        return self.close(tag, begin)

    cdef int word(self, uint8_t tag, str text) except -1:
        """Write a text unless it is empty."""
        return self.text(tag, text) if text else 0

    cdef int id(self, uint8_t tag, str digits) except -1:
        """Write an id unless it is empty."""
        cdef Py_ssize_t begin = self.size, count = 0, place
        cdef const char* data = PyUnicode_AsUTF8AndSize(digits, &count)
        cdef uint8_t* at
        cdef int high, low
        if not count:
            return 0
        at = self.room(count // 2)
        for place in range(count // 2):
            high, low = _digit(data[2 * place]), _digit(data[2 * place + 1])
            if high < 0 or low < 0:
                raise ValueError(f"{digits!r} is no id of hex digits")
            at[place] = high << 4 | low
        return self.close(tag, begin)

    cdef int value(self, value) except -1:
        """Write an AnyValue. Empty, zero and false are written too: the field says which kind it is."""
        cdef Py_ssize_t begin = self.size, item_begin, place
        cdef double number
        cdef uint64_t bits = 0
        cdef int64_t integer
        cdef int overflow = 0
        if isinstance(value, str):
            return self.text(VALUE_TEXT, value)
        if isinstance(value, bool):
            self.varint(value is True)
            return self.tag(VALUE_BOOL)
        if isinstance(value, int):
            integer = PyLong_AsLongLongAndOverflow(value, &overflow)
            if overflow:
                raise ValueError(f"{value:#x} has more than 64 bits")
            # A negative one is its two's complement in 64 bits.
            self.varint(<uint64_t>integer)
            return self.tag(VALUE_INT)
        if isinstance(value, float):
            number = value
            memcpy(&bits, &number, sizeof(bits))
            return self.fixed64(VALUE_DOUBLE, bits)
        for place in range(len(<tuple?>value) - 1, -1, -1):
            item_begin = self.size
            self.value((<tuple>value)[place])
            self.close(ARRAY_VALUES, item_begin)
        return self.close(VALUE_ARRAY, begin)

    cdef int attribute(self, uint8_t tag, str key, value) except -1:
        cdef Py_ssize_t begin = self.size
        self.value(value)
        self.close(VALUE, begin)
        self.word(KEY, key)
        return self.close(tag, begin)

    cdef int attributes(self, uint8_t tag, dict attributes) except -1:
        cdef list keys = list(attributes), values = list(attributes.values())
        cdef Py_ssize_t place
        for place in range(len(keys) - 1, -1, -1):
            self.attribute(tag, keys[place], values[place])
        return 0

    cdef int attributes_of_pairs(self, uint8_t tag, tuple attributes) except -1:
        cdef Py_ssize_t place
        for place in range(len(attributes) - 1, -1, -1):
            key, value = attributes[place]
            self.attribute(tag, key, value)
        return 0

    cdef int resource(self, value) except -1:
        """Write a resource as it is in the journal."""
        cdef list keys = [], attributes = []
        cdef Py_ssize_t place
        cdef str key
        if isinstance(value, dict):
            for key, item in (<dict>value).items():
                attribute = item if type(item) is str and PyUnicode_IS_ASCII(item) else attribute_of(item)
                if key and attribute is not None:
                    keys.append(key if PyUnicode_IS_ASCII(key) else clean_text(key))
                    attributes.append(attribute)
        if not keys:
            return self.attribute(RESOURCE_ATTRIBUTES, names.ATTR_SERVICE_NAME, names.UNKNOWN_SERVICE)
        for place in range(len(keys) - 1, -1, -1):
            self.attribute(RESOURCE_ATTRIBUTES, keys[place], attributes[place])
        return 0

    cdef int detail(self, str key, value) except -1:
        """Write a detail of an event."""
        cdef Py_ssize_t begin = self.size, key_begin, count = 0
        cdef const char* data
        # Held until it is written: the bytes are its own.
        cdef str clean = key if PyUnicode_IS_ASCII(key) else clean_text(key)
        self.value(value)
        self.close(VALUE, begin)
        key_begin = self.size
        data = PyUnicode_AsUTF8AndSize(clean, &count)
        self.raw(data, count)
        data = PyUnicode_AsUTF8AndSize(ATTR_DETAIL, &count)
        self.raw(data, count)
        self.close(KEY, key_begin)
        return self.close(EVENT_ATTRIBUTES, begin)

    cdef int details(self, dict details) except -1:
        """Write the first ten scalars of details, and the details as JSON or their size."""
        cdef list keys = [], scalars = []
        cdef bytes text
        cdef Py_ssize_t begin = self.size, place
        for key, value in details.items():
            if type(value) is list or type(value) is dict or not key:
                continue
            scalar = _scalar(value)
            if scalar is None:
                continue
            keys.append(key)
            scalars.append(scalar)
            if len(keys) == MAX_EVENT_DETAILS:
                break
        text = _json_of(details)
        if len(text) <= MAX_TEXT_BYTES:
            self.put(text)
            self.close(VALUE_TEXT, begin)
            self.close(VALUE, begin)
            self.word(KEY, ATTR_DETAILS)
            self.close(EVENT_ATTRIBUTES, begin)
        else:
            self.attribute(EVENT_ATTRIBUTES, ATTR_DETAILS_TRUNCATED, True)
            self.attribute(EVENT_ATTRIBUTES, ATTR_DETAILS_BYTES, len(text))
            self.attribute(EVENT_ATTRIBUTES, ATTR_DETAILS_SHA256, sha256(text).hexdigest())
        for place in range(len(keys) - 1, -1, -1):
            self.detail(keys[place], scalars[place])
        return 0

    cdef int pattern_event(self, event, Py_ssize_t index, job_id, pattern_id, step_id) except -1:
        """Write the copy of an event on the root of its run, which has these ids."""
        cdef Py_ssize_t begin = self.size
        event_type, details = event.event_type, event.details
        if OTEL in details:
            details = {key: value for key, value in details.items() if key != OTEL}
        if details:
            self.details(details)
        own = event.step_id
        if own != step_id:
            # null is written as an empty text, which no step id can be.
            self.attribute(EVENT_ATTRIBUTES, ATTR_STEP_ID, own or "")
        own = event.pattern_id
        if own != pattern_id:
            self.attribute(EVENT_ATTRIBUTES, ATTR_PATTERN_ID, _cut(own))
        own = event.job_id
        if own != job_id:
            self.attribute(EVENT_ATTRIBUTES, ATTR_JOB_ID, own)
        self.attribute(EVENT_ATTRIBUTES, ATTR_STAGE, _cut(_stage_of(event_type)))
        self.attribute(EVENT_ATTRIBUTES, ATTR_EVENT_STATUS, event.status)
        self.attribute(EVENT_ATTRIBUTES, ATTR_EVENT_INDEX, index)
        self.attribute(EVENT_ATTRIBUTES, ATTR_EVENT_ID, event.event_id)
        self.word(EVENT_NAME, _cut(event_type))
        self.time(EVENT_TIME, event.time_unix_nano)
        return self.close(SPAN_EVENTS, begin)

    cdef int span_event(self, event) except -1:
        """Write an event of user code, or an exception."""
        cdef Py_ssize_t begin = self.size
        self.attributes_of_pairs(EVENT_ATTRIBUTES, event.attributes)
        self.word(EVENT_NAME, event.name)
        self.time(EVENT_TIME, event.time_unix_nano)
        return self.close(SPAN_EVENTS, begin)

    cdef int end_of_span(self, bint is_remote, error) except -1:
        """Write what stands behind the links of a span: its status, and whether its parent is in another process."""
        cdef bytes flags = REMOTE_FLAGS if is_remote else FLAGS
        cdef Py_ssize_t begin
        self.put(flags)
        if error is not None:
            begin = self.size
            self.varint(STATUS_CODE_ERROR)
            self.tag(STATUS_CODE)
            self.word(STATUS_MESSAGE, _cut(error.get("message", "")))
            self.close(SPAN_STATUS, begin)
        return 0

    cdef int start_of_span(
        self, _Common common, str span_id, str parent_span_id, str name, int kind, start, end
    ) except -1:
        """Write what stands before the attributes of a span."""
        self.time(SPAN_END, end)
        self.time(SPAN_START, start)
        self.varint(kind)
        self.tag(SPAN_KIND)
        self.word(SPAN_NAME, name)
        self.id(SPAN_PARENT_SPAN_ID, parent_span_id)
        self.word(SPAN_TRACE_STATE, common.trace_state)
        self.id(SPAN_SPAN_ID, span_id)
        self.id(SPAN_TRACE_ID, common.trace_id)
        return 0
