"""Finds the wanted values of JSON lines: each line checked whole, most of them against the shapes of those before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kshot.jit import njit
from kshot.sources.json_paths import JsonPaths
from kshot.sources.json_shapes import MOST_NODES, NODE_FIELDS, follow, learn
from kshot.sources.json_walk import MOST_STEPS, blanks_end, walk_object
from kshot.sources.line_spans import AFTER_END, BLANK, GOOD, MOST_DEPTH, NOT_AN_OBJECT, Spans


@njit
def scan_json(buffer: NDArray[np.uint8], at: int, end: int, paths: JsonPaths, spans: Spans) -> tuple[int, int]:
    """Walk the lines of buffer[at:end], whose last byte is a newline; return how many were taken and where it stopped.

    Stops early when the rows of `spans` are used up. 16 bytes must stand readable after `end`.
    """
    row = 0
    stack = np.zeros((MOST_DEPTH + 1, 5), np.int32)
    steps = np.zeros((MOST_STEPS + 1, 7), np.int32)
    opened = np.zeros(spans.begins.shape[1], np.int32)
    nodes = np.full((MOST_NODES, NODE_FIELDS), -1, np.int32)
    nodes[0, 0] = 1
    spans.begins[:] = -1
    while at < end and row < len(spans.statuses):
        spans.lines[row, 0] = at
        at = blanks_end(buffer, at)
        status = BLANK
        if buffer[at] == 123:
            begins, ends, kinds = spans.begins[row], spans.ends[row], spans.kinds[row]
            known = follow(buffer, at, nodes, opened, begins, ends, kinds)
            if known >= 0:
                at = known
                status = GOOD
            else:
                begins[:] = -1
                first = at
                at, status, count = walk_object(buffer, at + 1, paths, begins, ends, kinds, stack, steps)
                if status == GOOD:
                    at = blanks_end(buffer, at)
                    if buffer[at] != 10:
                        status = AFTER_END
                    elif count >= 0:
                        learn(buffer, first, at, steps, count, nodes)
        elif buffer[at] != 10:
            status = NOT_AN_OBJECT
        while buffer[at] != 10:
            at += 1
        spans.lines[row, 1] = at
        spans.statuses[row] = status
        row += 1
        at += 1
    return row, at
