"""A plan carried out on a Ray cluster: actors hold the network and take shard after shard.

What Ray does is left to it: placing actors, restarting one that died on another node, and giving
it its shard again. A shard is idempotent and whole or not there, so that "at least once" is enough.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from featx.config import CONNECT_SECONDS
from featx.errors import FeatxError, RunnerError
from featx.scale.plan_file import Plan
from featx.scale.shard import ShardWorker
from featx.timing import Meter

log = logging.getLogger(__name__)


def run_with_ray(
    plan: Plan,
    *,
    address: str | None = None,
    workers: int | None = None,
    device: str = "auto",
    num_workers: int | None = None,
    decode_processes: int | None = None,
    lock: bool = True,
    progress: bool = False,
) -> int:
    """Compute all shards of a plan that are not done.

    The plan's folder and the images must have the same paths on every node.

    Parameters
    ----------
    plan : Plan
    address : str, optional
        Of the cluster, "host:port", "ray://host:port" or "auto" (the one that this machine belongs
        to); None: RAY_ADDRESS, else a cluster of this machine alone that ends with the call.
    workers : int, optional
        Actors; None: one for each GPU, and where there is none one for each node.
    device, num_workers, decode_processes, lock
        See `featx.extract`.
    progress : bool
        Show a bar on stderr: of images, over all actors.

    Returns
    -------
    int
        Images that were computed now.

    Raises
    ------
    RunnerError
        Ray is not installed, the address does not answer, or a shard failed.
    """
    with _connect(find_address(address)) as ray:
        how = {
            "device": device, "num_workers": num_workers, "decode_processes": decode_processes,
            "lock": lock,
        }  # fmt: skip
        actors = _start_actors(ray, plan, workers, how)
        shards = iter(range(len(plan.shards)))
        under_way: dict[Any, tuple[Any, int]] = {}
        computed = 0

        def give(actor: Any) -> None:
            for shard in shards:
                under_way[actor.extract.remote(shard)] = actor, shard
                return

        with Meter("extract", plan.images - plan.skipped, progress) as meter:
            for actor in actors:
                give(actor)
            while under_way:
                (ready,), _ = ray.wait(list(under_way), num_returns=1)
                actor, shard = under_way.pop(ready)
                try:
                    found = ray.get(ready)
                except ray.exceptions.RayError as error:
                    raise RunnerError(f"shard {shard}: Ray gave it up: {error}") from error
                if "failed" in found:
                    raise RunnerError(f"shard {shard}: {found['failed']}")
                computed += found["extracted"]
                meter.update(found["images"])
                give(actor)
    return computed


@contextmanager
def _connect(address: str | None) -> Iterator[Any]:
    """Ray, connected to a cluster; let go of in the end."""
    ray = import_ray(address)
    alone = address in (None, "local")
    begun = not ray.is_initialized()
    # Ray prints what its nodes say; standard output is for results.
    with contextlib.redirect_stdout(sys.stderr):
        if begun:
            quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
            quiet |= {"include_dashboard": False} if alone else {}
            try:
                ray.init(address=address, **quiet)
            except (ConnectionError, RuntimeError, ValueError) as error:
                where = "this machine" if alone else address
                raise RunnerError(f"no Ray cluster at {where}: {error}") from error
        try:
            yield ray
        finally:
            if begun:
                ray.shutdown()


def import_ray(address: str | None) -> Any:
    """Ray itself, once it is sure in seconds that something answers at an address.

    Raises
    ------
    RunnerError
        Ray is not installed, or nothing does.
    """
    # Both are read when Ray is imported: it would report its use over the internet, and a cluster
    # of one machine would listen to others.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address in (None, "local"):
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as error:
        raise RunnerError("--runner ray needs Ray: pip install 'featx[ray]'") from error
    if address not in (None, "auto", "local"):
        _check_answers(str(address))
    return ray


def find_address(address: str | None) -> str | None:
    """The address of a cluster: the one given, else RAY_ADDRESS; None: this machine alone."""
    return address or os.environ.get("RAY_ADDRESS") or None


def _check_answers(address: str) -> None:
    """Raise RunnerError in seconds, where Ray itself would try for minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if not host or not port.isdigit():
        raise RunnerError(f"{address!r} is no address of a Ray cluster: say host:port")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise RunnerError(
            f"no Ray cluster answers at {address} ({error}); ray start --head starts one, "
            "ray status says where one is"
        ) from error


def _start_actors(ray: Any, plan: Plan, workers: int | None, how: dict[str, Any]) -> list[Any]:
    there = ray.cluster_resources()
    gpus = (
        0
        if how["device"] == "cpu" or plan.choice.engine == "openvino"
        else int(there.get("GPU", 0))
    )
    nodes = sum(node["Alive"] for node in ray.nodes())
    wanted = min(workers or gpus or nodes, len(plan.shards))
    cores = max(1, int(there.get("CPU", 1)) // wanted)
    if not gpus:  # an actor has to fit on one node
        most = max(int(node["Resources"].get("CPU", 1)) for node in ray.nodes() if node["Alive"])
        cores = min(cores, most)
    log.info(
        "ray: %s with %s each on %s",
        _say(wanted, "worker"),
        _say(cores, "core") + " and a GPU" * bool(gpus),
        _say(nodes, "node"),
    )
    remote = ray.remote(
        num_gpus=min(1, gpus),
        num_cpus=cores,
        max_restarts=-1,
        max_task_retries=-1,
        # The cores that Ray gives to an actor are all that it is to use.
        runtime_env={"env_vars": {"LOKY_MAX_CPU_COUNT": str(cores)}},
    )(_Actor)
    return [remote.remote(plan, how) for _ in range(wanted)]


def _say(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


class _Actor:
    """One network on one node."""

    def __init__(self, plan: Plan, how: dict[str, Any]) -> None:
        self._worker = ShardWorker(plan, **how)

    def extract(self, shard: int) -> dict[str, Any]:
        """Compute one shard; an error that featx expects is an answer, and no reason to retry."""
        try:
            done = self._worker.extract(shard)
        except (FeatxError, OSError) as error:
            return {"failed": str(error)}
        return {"images": done.images, "extracted": done.extracted}
