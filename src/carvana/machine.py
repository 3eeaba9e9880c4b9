"""The machine that a figure was measured on."""

import platform
import re
from pathlib import Path

import joblib


def describe_machine() -> str:
    """The cores that this process may use, and of what: processors with as many may differ by twice the time."""
    return f"{joblib.cpu_count()} cores of {processor()}"


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, as Linux or the system has it, such as `AMD EPYC 9R14`; at the least `x86_64`."""
    named = re.search(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.M) if cpuinfo.is_file() else None
    return named[1].strip() if named else platform.processor() or platform.machine()
