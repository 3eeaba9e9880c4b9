"""The description of the machine."""

from pathlib import Path

import joblib

from carvana.machine import describe_machine, processor


def test_processor_name_comes_from_linux_or_the_system(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    assert processor(cpuinfo)
    cpuinfo.write_text(
        "processor\t: 0\nmodel name\t: AMD EPYC 9R14\n\nprocessor\t: 1\nmodel name\t: AMD EPYC 9R14\n"
    )
    assert processor(cpuinfo) == "AMD EPYC 9R14"
    cpuinfo.write_text("Processor: something else\n")
    assert processor(cpuinfo) not in ("", "something else")


def test_description_gives_cores_and_processor() -> None:
    assert describe_machine() == f"{joblib.cpu_count()} cores of {processor()}"
