"""Run folders: how they are written, found, collected and described.

This package gives the names of `study.runs.folder`; the rest is in its modules.
"""

from study.runs.children import process_alive, start_time
from study.runs.folder import (
    HEARTBEAT_S,
    SETTLED,
    STATES,
    STATUS_TYPES,
    TIMING,
    RunFolder,
    append_line,
    plain,
    read_json,
    read_lines,
    write_json,
    write_npz,
    write_text,
    write_whole,
    write_yaml,
)

__all__ = [
    "HEARTBEAT_S",
    "SETTLED",
    "STATES",
    "STATUS_TYPES",
    "TIMING",
    "RunFolder",
    "append_line",
    "plain",
    "process_alive",
    "read_json",
    "read_lines",
    "start_time",
    "write_json",
    "write_npz",
    "write_text",
    "write_whole",
    "write_yaml",
]
