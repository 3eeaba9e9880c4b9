"""The processor's name."""

from pathlib import Path

from carvana.machine import processor


def test_it_is_linux_own_or_the_systems(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    assert processor(cpuinfo)
    cpuinfo.write_text(
        "processor\t: 0\nmodel name\t: AMD EPYC 9R14\n\nprocessor\t: 1\nmodel name\t: AMD EPYC 9R14\n"
    )
    assert processor(cpuinfo) == "AMD EPYC 9R14"
    cpuinfo.write_text("Processor: something else\n")
    assert processor(cpuinfo) not in ("", "something else")
