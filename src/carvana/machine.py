"""Descriptions of the machine and of the code's version, for the figures that are measured with them."""

import os
import platform
import re
import subprocess
from pathlib import Path

import joblib


def describe_machine() -> str:
    """Describe the cores that this process may use and their processor, e.g. `2 cores of AMD EPYC 9R14`."""
    return f"{joblib.cpu_count()} cores of {processor()}"


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name as Linux or the system gives it, e.g. `AMD EPYC 9R14`; at least `x86_64`."""
    match = re.search(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.M) if cpuinfo.is_file() else None
    return match[1].strip() if match else platform.processor() or platform.machine()


def memory_bytes() -> int:
    """Return the machine's memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def git_commit() -> str:
    """Return the code's commit, with `-dirty` if files were changed since; "" outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
