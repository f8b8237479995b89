"""What ``placer batch`` accepts: the options of a solve, each with several values."""

from __future__ import annotations

from placer.cli.common_arguments import add_quiet
from placer.cli.option_arguments import add_options, several_values
from placer.cli.output import Command, file_name

__all__ = ["add_batch"]

BATCH_HELP = """\
examples:
  placer batch graphs/ more.zip 'runs/*.json' --out night --methods dp,milp --time-limit 600
  placer batch graphs/ --out night --methods dp,milp --time-limit 600     the same again: goes on
  placer batch graphs/ --out grid --methods dp --communication sequential,overlap --schedule 1f1b,gpipe
  placer batch graphs/ --out grid --grid grid.toml
  placer compare night-before/ night/                                     what got better or worse

Every instance x method x combination of options is a job; combinations that make no sense are said and left
out. A job is known by the content of its instance, its options and the version of the solver, and is run in a
process of its own. Its result document is written at once, and whatever ends the batch, the same command goes
on with the jobs that are not finished. Jobs that failed by themselves stay failed (--retry-failed runs them
again); those that were killed from outside are started twice, and again by the next command.

A grid file holds options by name, with one value or a list of them, or several tables [[grid]] of that kind:
  methods = ["dp", "milp"]
  gap = [0.01, 0.0001]

DIR holds manifest.json (the jobs), results/JOB.json (documents for placer check and placer export),
failures/JOB.json (the reasons), instances/SHA256.json, interrupted/JOB.json (best plans of jobs that were
stopped), summary.csv (per method) and jobs.csv (per job).

on a cluster (pip install distributed; every node needs the same placer, one thread per worker unless
--threads says more); DIR and the instances are needed only where the command runs:
  placer batch graphs/ --out night --scheduler tcp://head:8786          a scheduler that runs already:
    dask scheduler                                                      on the head,
    dask worker tcp://head:8786 --nworkers 8 --nthreads 1               and on each node
  SLURM (pip install dask-jobqueue), in Python; the batch ends with it:
    from dask_jobqueue import SLURMCluster
    from distributed import Client
    import placer
    cluster = SLURMCluster(cores=16, processes=16, memory="64GB", walltime="08:00:00")
    cluster.scale(jobs=10)
    placer.solve_batch("graphs/", "night", methods=["dp", "milp"], executor=Client(cluster).get_executor())
  Kubernetes (the dask-kubernetes operator; IMAGE holds placer and distributed):
    helm install --repo https://helm.dask.org --create-namespace -n dask-operator \\
      --generate-name dask-kubernetes-operator
    from dask_kubernetes.operator import KubeCluster
    cluster = KubeCluster(name="placer", image="IMAGE", n_workers=20,
                          worker_command=["dask", "worker", "--nthreads", "1"])
    then as above, or from outside of Python:
    kubectl port-forward service/placer-scheduler 8786 &
    placer batch graphs/ --out night --scheduler tcp://localhost:8786

exit codes: 0 every job is done (with a plan, proven infeasible, stopped by its limit, or not applicable);
1 some failed, or methods contradict each other; 2 bad usage, or DIR cannot be written (what was written
before is intact); 130 interrupted (the same command goes on)
"""


def add_batch(command: Command) -> None:
    """Add the command."""
    batch = command(epilog=BATCH_HELP)
    batch.add_argument(
        "instances", metavar="PATH", nargs="+", help="instance file, folder, glob, .zip or .tar.gz archive"
    )
    batch.add_argument("--out", type=file_name, metavar="DIR", required=True, help="folder of the batch")
    batch.add_argument(
        "--methods", type=several_values(str), action="extend", metavar="A,B,...", help="(default: auto)"
    )
    batch.add_argument("--grid", metavar="FILE.toml", help="more combinations of options")
    running = batch.add_argument_group("running")
    running.add_argument(
        "--jobs", type=int, metavar="N", help="jobs at one time (default: as many as there are cores)"
    )
    running.add_argument(
        "--oversubscribe", action="store_true", help="allow more threads (jobs x threads) than cores"
    )
    running.add_argument(
        "--kill-after",
        type=float,
        metavar="SECONDS",
        help="end a job by force after so long (default: 1.25 x its time limit + 30 s; never without one)",
    )
    running.add_argument(
        "--job-memory-mb",
        type=int,
        metavar="MB",
        help="memory at which a job is ended (default: --memory-limit-mb + 1024)",
    )
    running.add_argument(
        "--retry-failed", action="store_true", help="run jobs again that failed by themselves"
    )
    running.add_argument(
        "--scheduler", metavar="ADDRESS", help="run on Dask: address or file of a scheduler, or 'local'"
    )
    batch.add_argument("--json", action="store_true", help="print the summary as JSON")
    add_quiet(batch)
    add_options(batch, several=True)
