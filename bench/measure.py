"""What /proc tells about a process: CPU time and memory."""

import os
import resource
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cpu:
    """CPU time of all threads of a process so far, in seconds. ``user`` and ``system`` are coarse: use their ratio."""

    total: float
    user: float
    system: float

    def since(self, before: "Cpu") -> "Cpu":
        """The time used since ``before``, with the exact total divided as the coarse figures are."""
        total = self.total - before.total
        user, system = self.user - before.user, self.system - before.system
        share = user / (user + system) if user + system else 1.0
        return Cpu(total, total * share, total * (1 - share))


def cpu(pid: int) -> Cpu:
    """The CPU time process ``pid`` has used. Raises ProcessLookupError or FileNotFoundError if there is none."""
    proc = Path("/proc") / str(pid)
    total = sum(int(task.read_text().split()[0]) for task in proc.glob("task/*/schedstat"))
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    return Cpu(total / 1e9, int(fields[11]) / _TICKS, int(fields[12]) / _TICKS)


def machine_seconds() -> float:
    """The CPU time everything on this machine has used, all cores together; what the host took away counts as used."""
    user, nice, system, _idle, _wait, interrupts, soft, stolen, *_ = map(int, _lines("/proc/stat")[0].split()[1:])
    return (user + nice + system + interrupts + soft + stolen) / _TICKS


def resident(pid: int) -> int:
    """Resident memory of process ``pid``, in bytes."""
    return _status(pid, "VmRSS")


def peak_resident(pid: int) -> int:
    """The most resident memory process ``pid`` has had since ``reset_peak``, in bytes."""
    return _status(pid, "VmHWM")


def reset_peak(pid: int) -> None:
    """Start ``peak_resident`` anew from what is resident now."""
    (Path("/proc") / str(pid) / "clear_refs").write_text("5")


def put_first(router: int, client: int) -> None:
    """Let the system run these two processes before others, where it allows that: a wait is to be the router's own.

    The client sleeps most of the time. A router may not: in real time it would be stopped for 50 ms of each second.
    """
    with suppress(PermissionError):
        os.sched_setscheduler(client, os.SCHED_FIFO, os.sched_param(1))
        os.setpriority(os.PRIO_PROCESS, router, -20)
        with suppress(FileNotFoundError):  # where Linux shares time among sessions first
            (Path("/proc") / str(router) / "autogroup").write_text("-20")


def allow_many_files() -> int:
    """Raise the limit of open files as far as allowed, for this process and those it starts; returns the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def machine() -> dict[str, str | int | float]:
    """What the figures were measured on."""
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "cpu": models[0] if models else os.uname().machine,
        "cores": os.cpu_count() or 0,
        "kernel": os.uname().release,
        "load": os.getloadavg()[0],
    }


def _status(pid: int, key: str) -> int:
    for line in _lines(f"/proc/{pid}/status"):
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"process {pid} has no {key}: it has ended")


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
