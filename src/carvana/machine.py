"""The machine that a figure was measured on."""

import platform
import re
from pathlib import Path


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, as Linux or the system has it, such as `AMD EPYC 9R14`; at the least `x86_64`.

    Figures want it: of two processors with as many cores one may take twice as long, or have no gain from bfloat16.
    """
    named = re.search(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.M) if cpuinfo.is_file() else None
    return named[1].strip() if named else platform.processor() or platform.machine()
