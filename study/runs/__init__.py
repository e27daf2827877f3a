"""Run folders: writing, finding, collecting and describing them.

This package exports the names of `study.runs.folder`; import the rest from its modules.
"""

from study.runs.children import process_alive, start_time
from study.runs.folder import (
    HEARTBEAT_S,
    SETTLED,
    STATES,
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
