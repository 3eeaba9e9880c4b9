"""Execution of pushed scripts, each in a process of its own that has nothing but what Kaggle's machines have.

Where namespaces are allowed, the script has a folder as `/kaggle` with its input read-only, no network, the project's
src empty and the environment read-only. Elsewhere an environment variable names the folder, and nothing is kept from
the script.
"""

import functools
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .kernels import COMPETITION, COMPLETE, ERROR, RUNNING, KernelService, Session

_SRC = Path(__file__).parents[2] / "src"
_LOOPBACK_UP = (
    "import fcntl, socket, struct, sys, os;"
    "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 0x41));"
    "os.execv(sys.argv[1], sys.argv[1:])"
)
"""Code that switches the loopback on, which a new network namespace has switched off, and runs a command."""
_KEPT_VARIABLES = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


@functools.cache
def namespaces() -> list[str]:
    """Return the command that runs another one in new namespaces; none where they are not allowed."""
    for options in ([], ["--map-root-user"]):
        command = ["unshare", *options, "--mount", "--net"]
        test = [*command, "mount", "-t", "tmpfs", "none", "/mnt"]
        if shutil.which("unshare") and subprocess.run(test, capture_output=True).returncode == 0:
            return command
    return []


@dataclass
class Machine:
    """Kaggle's machine, and the layout of what is attached."""

    competition: Path
    """Folder of the competition's data: its zips, or its unpacked files."""
    new_layout: bool = True
    """Inputs in a folder for each kind of source, `/kaggle/input/competitions/NAME`; else `/kaggle/input/NAME`."""
    n_gpus: int = 1
    """GPUs that `nvidia-smi` lists; computations use the processor."""
    missing: tuple[str, ...] = ()
    """Packages of this environment that the image lacks; needs namespaces."""

    def install(self, service: KernelService) -> None:
        """Let a service run its notebooks on this machine."""
        service.run, service.attach = self.run, self.attach

    def attach(self, session: Session, service: KernelService) -> None:
        """Fill the input of a session."""
        inputs = session.folder / "input"
        for name in session.body.get("competitionDataSources", []):
            assert name == COMPETITION
            shutil.copytree(self.competition, self._place(inputs, "competitions", name))
        for name in session.body.get("datasetDataSources", []):
            shutil.copytree(service.datasets[name], self._place(inputs, "datasets", name))
        for name in session.body.get("kernelDataSources", []):
            complete = [one for one in service.kernels[name] if one.state == COMPLETE]
            shutil.copytree(complete[-1].output, self._place(inputs, "notebooks", name))

    def run(self, session: Session) -> None:
        """Run the script of a session."""
        source = session.folder / "src" / "script.py"
        source.parent.mkdir()
        source.write_text(session.body["text"])
        session.state = RUNNING
        process = subprocess.Popen(
            self._command(session.folder),
            cwd=session.output,
            env=self._environment(session.folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        session.stop = functools.partial(process.send_signal, signal.SIGTERM)
        for line in process.stdout:
            session.print(line)
        status = process.wait()
        session.end(ERROR if status else COMPLETE)

    def _place(self, inputs: Path, kind: str, name: str) -> Path:
        return inputs / kind / name if self.new_layout else inputs / name.rpartition("/")[2]

    def _command(self, folder: Path) -> list[str]:
        if not namespaces():
            return [sys.executable, str(folder / "src" / "script.py")]
        root = folder.with_name(f"{folder.name}-root")
        root.mkdir()
        hidden = [str(_SRC), *(str(Path(find_spec(name).origin).parent) for name in self.missing)]
        script = Path(__file__).with_name("sandbox.sh")
        sandbox = [str(script), str(folder), str(root), sys.prefix, ":".join(hidden)]
        within = [
            "/bin/sh",
            "-c",
            'cd /kaggle/working && exec "$@"',
            "sh",
            sys.executable,
            "-c",
            _LOOPBACK_UP,
        ]
        return [*namespaces(), *sandbox, *within, sys.executable, "/kaggle/src/script.py"]

    def _environment(self, folder: Path) -> dict[str, str]:
        """Return the environment: nothing of this process but the number of threads, and no credentials."""
        programs = folder / "bin"
        programs.mkdir()
        smi = programs / "nvidia-smi"
        listed = "".join(f'echo "GPU {number}: Tesla T4 (UUID: {number})"\n' for number in range(self.n_gpus))
        names = "echo Tesla T4\n" * self.n_gpus
        smi.write_text(f"#!/bin/sh\nif [ $1 = -L ]; then\n:\n{listed}else\n:\n{names}fi\n")
        smi.chmod(0o755)
        root = Path("/kaggle") if namespaces() else folder
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        return kept | {
            "PATH": f"{root / 'bin'}:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(root / "temp"),
            "TMPDIR": str(root / "temp"),
            "KAGGLE_KERNEL_RUN_TYPE": "Batch",
            **({} if namespaces() else {"CARVANA_KAGGLE_ROOT": str(folder)}),
        }
