"""What is gathered from many events, compiled: one pass over them instead of one for each column."""


def columns_of(list heads):
    """As `heads.columns_of`."""
    cdef list event_ids = [], of_run
    cdef dict by_run = {}
    cdef set job_ids = set(), pattern_ids = set(), step_ids = set()
    for head in heads:
        event_ids.append(head.event_id)
        run_id = head.pattern_run_id
        of_run = by_run.get(run_id)
        if of_run is None:
            by_run[run_id] = [head]
        else:
            of_run.append(head)
        job_ids.add(head.job_id)
        pattern_ids.add(head.pattern_id)
        step_ids.add(head.step_id)
    return event_ids, by_run, job_ids, pattern_ids, step_ids


def parted(list heads, frozenset telling):
    """As `runs.parted`."""
    cdef list event_ids = [], found = []
    for head in heads:
        event_ids.append(head.event_id)
        if head.event_type in telling:
            found.append(head)
    return event_ids, found
