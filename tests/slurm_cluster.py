"""A Slurm cluster of one machine, in a folder of its own: munged, MariaDB, slurmdbd, slurmctld and
slurmd, started and ended by a test. Needs root and Debian's packages:

    apt-get install slurmctld slurmd slurm-client munge slurmdbd mariadb-server
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = (
    *("munged", "slurmctld", "slurmd", "slurmdbd", "mariadbd", "mariadb-install-db"),
    *("sbatch", "squeue", "sacct", "sacctmgr", "scontrol", "scancel", "srun"),
)
CPUS = 16  # as Slurm is told; the jobs of the tests mostly wait


def why_not() -> str:
    """Why there can be no cluster here; "" if there can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "a Slurm cluster is started by root"
    lacking = [name for name in PROGRAMS if _which(name) is None]
    return f"{', '.join(lacking)}: not installed (apt-get install ...)" if lacking else ""


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


class SlurmCluster:
    """The daemons and their files.

    Args:
        folder: an empty folder that root alone may write to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: list[subprocess.Popen] = []
        self.stopping = threading.Event()
        self.ports = dict(
            zip(("database", "dbd", "controller", "node"), free_ports(4), strict=True)
        )

    @property
    def environment(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self) -> None:
        """Start all daemons, each when the one before it answers."""
        for name in ("state", "spool", "database", "logs"):
            (self.folder / name).mkdir()
        self._configure()
        self._start_munge()
        self._start_database()
        self._daemon("slurmdbd", "-D")
        self._wait(lambda: self.ask("sacctmgr", "-n", "show", "cluster") is not None, "slurmdbd")
        self.ask("sacctmgr", "-i", "add", "cluster", "tests")
        self._daemon("slurmctld", "-D", "-f", self.environment["SLURM_CONF"])
        self._wait(lambda: "UP" in (self.ask("scontrol", "ping") or ""), "slurmctld")
        self._daemon("slurmd", "-D", "-f", self.environment["SLURM_CONF"])
        self._wait(lambda: (self.ask("sinfo", "-h", "-o", "%T") or "").startswith("idle"), "slurmd")

        self.hurrying = threading.Thread(target=self._hurry, daemon=True)
        self.hurrying.start()

    def _hurry(self) -> None:
        """Slurm lets a job that is queued again wait for two minutes; these tests do not."""
        while not self.stopping.wait(1.0):
            for line in (self.ask("squeue", "-h", "-t", "PD", "-o", "%i %r") or "").splitlines():
                number, _, reason = line.partition(" ")
                if reason == "BeginTime":
                    self.ask("scontrol", "update", f"JobId={number}", "StartTime=now")

    def stop(self) -> None:
        """End the jobs, then the daemons, the youngest first."""
        self.stopping.set()
        if len(self.daemons) == 5:
            self.ask("scancel", "--state=PENDING", "-u", "root")
            self.ask("scancel", "-s", "KILL", "-u", "root")
            time.sleep(0.5)
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(timeout=15)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def ask(self, *command: str) -> str | None:
        """What a command of Slurm prints; None if it fails."""
        environment = {**os.environ, **self.environment}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        return done.stdout if done.returncode == 0 else None

    def _configure(self) -> None:
        host = socket.gethostname().split(".")[0]
        folder, ports = self.folder, self.ports
        lines = f"""\
            ClusterName=tests
            SlurmctldHost={host}(127.0.0.1)
            SlurmctldPort={ports["controller"]}
            SlurmdPort={ports["node"]}
            SlurmUser=root
            AuthType=auth/munge
            AuthInfo=socket={folder}/munge.socket
            StateSaveLocation={folder}/state
            SlurmdSpoolDir={folder}/spool
            SlurmctldPidFile={folder}/slurmctld.pid
            SlurmdPidFile={folder}/slurmd.pid
            SlurmctldLogFile={folder}/logs/slurmctld.log
            SlurmdLogFile={folder}/logs/slurmd.log
            ProctrackType=proctrack/linuxproc
            TaskPlugin=task/none
            SelectType=select/cons_tres
            SelectTypeParameters=CR_CPU
            JobAcctGatherType=jobacct_gather/none
            AccountingStorageType=accounting_storage/slurmdbd
            AccountingStorageHost=127.0.0.1
            AccountingStoragePort={ports["dbd"]}
            AccountingStoragePass={folder}/munge.socket
            MpiDefault=none
            SlurmdParameters=config_overrides
            SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
            ReturnToService=2
            KillWait=5
            MaxArraySize=6
            PreemptType=preempt/partition_prio
            PreemptMode=REQUEUE
            NodeName={host} NodeAddr=127.0.0.1 CPUs={CPUS} RealMemory=4000
            PartitionName=low Nodes={host} Default=YES State=UP PriorityTier=1 GraceTime=30
            PartitionName=high Nodes={host} State=UP PriorityTier=2
            """
        _write(folder / "slurm.conf", lines)
        lines = f"""\
            AuthType=auth/munge
            AuthInfo=socket={folder}/munge.socket
            DbdHost={host}
            DbdAddr=127.0.0.1
            DbdPort={ports["dbd"]}
            SlurmUser=root
            PidFile={folder}/slurmdbd.pid
            LogFile={folder}/logs/slurmdbd.log
            StorageType=accounting_storage/mysql
            StorageHost=127.0.0.1
            StoragePort={ports["database"]}
            StorageUser=root
            StorageLoc=slurm
            """
        _write(folder / "slurmdbd.conf", lines)
        (folder / "slurmdbd.conf").chmod(0o600)

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        names = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid"}
        names |= {"log-file": "logs/munge.log", "seed-file": "munge.seed"}
        files = [f"--{flag}={self.folder / name}" for flag, name in names.items()]
        self._daemon("munged", "--foreground", "--force", *files)
        socket_file = self.folder / "munge.socket"
        self._wait(socket_file.exists, "munged")

    def _start_database(self) -> None:
        data = self.folder / "database"
        common = ("--no-defaults", f"--datadir={data}", "--user=root")
        install = _which("mariadb-install-db")
        method = "--auth-root-authentication-method=normal"
        made = subprocess.run(
            [str(install), *common, method, "--skip-test-db"], capture_output=True, text=True
        )
        assert made.returncode == 0, made.stdout + made.stderr
        self._daemon(
            "mariadbd", *common, f"--socket={self.folder / 'mariadb.socket'}",
            f"--port={self.ports['database']}", "--bind-address=127.0.0.1",
            f"--pid-file={self.folder / 'mariadb.pid'}", "--innodb-buffer-pool-size=32M",
            "--innodb-flush-log-at-trx-commit=0", "--innodb-lock-wait-timeout=900",
        )  # fmt: skip
        self._wait(lambda: _answers(self.ports["database"]), "mariadbd")

    def _daemon(self, name: str, *flags: str) -> None:
        log = open(self.folder / "logs" / f"{name}.out", "wb")
        with log:
            self.daemons.append(
                subprocess.Popen(
                    [str(_which(name)), *flags],
                    env={**os.environ, **self.environment},
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def _wait(self, there: Callable[[], bool], name: str, seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while not there():
            died = self.daemons[-1].poll() is not None
            if died or time.monotonic() > end:
                logs = (self.folder / "logs").glob(f"{name}*")
                said = "\n".join(path.read_text(errors="replace")[-2000:] for path in logs)
                raise RuntimeError(f"{name} {'died' if died else 'does not answer'}: {said}")
            time.sleep(0.2)


def _write(path: Path, text: str) -> None:
    path.write_text("".join(f"{line.strip()}\n" for line in text.splitlines()))


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]
    finally:
        for probe in sockets:
            probe.close()
