"""Every command in a process without a network: `python alone.py PHOTOS [ray]`.

With `ray` the cluster of this machine alone, which needs its loopback. Writes one JSON object: exit
codes by command, and what was tried to reach. Downloads themselves, which have to try, are not
among them: `weights fetch` is of what is stored, and `data` without `--download`.
"""

import ctypes
import json
import shutil
import sys
from pathlib import Path

TRIED: list[str] = []
_REACHING = (
    "socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo",
    "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo", "urllib.Request",
)  # fmt: skip


_HERE = ("127.0.0.1", "::1", "localhost")


def refuse(event, told):
    """An audit hook, of children by fork as well: whoever reaches out is noted and fails."""
    if event in _REACHING:
        to = told[-1] if event in ("socket.connect", "socket.sendto") else told
        # A path is a socket of this machine.
        if isinstance(to, tuple) and to[0] not in _HERE:
            TRIED.append(f"{event} {to}")
            raise OSError("no network")
    elif event == "os.fork":
        TRIED.append(event)


def count_unrouted():
    """Packets that the kernel had no route for, in this network namespace; native code's, too."""
    lines = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines()]
    names, values = (line for line in lines if line[0] == "Ip:")
    return int(values[names.index("OutNoRoutes")])


def reach_out_natively():
    """What no hook sees: a connection that C opens."""
    libc = ctypes.CDLL(None)
    handle = libc.socket(2, 1, 0)
    libc.connect(handle, b"\2\0\0\x50\x08\x08\x08\x08" + bytes(8), 16)
    libc.close(handle)


COMMANDS = """
    extract {photos} --split first:4,2 -o F.h5 --engine openvino
    info F.h5
    verify F.h5
    fit F.h5 --clf logreg --strangers -o m.safetensors
    finetune {photos} --split first:4,2 --epochs 1 -o tuned
    compare {photos} --split first:4,2 --clf centroid --epochs 1 --engine openvino -o out
    predict m.safetensors {photos}/cat
    explain m.safetensors {photos}/cat -o maps
    drift m.safetensors {photos}
    similar F.h5 {photos}/cat
    card m.safetensors -o card.md
    audit F.h5 --report audit.html
    extract growing -o G.h5 --engine openvino
    next G.h5 --n 2 --csv next.csv --report next.html
    plan {photos} --split first:4,2 -o plan --engine openvino
    extract --plan plan --shard 0
    merge plan -o M.h5
    export F.h5 --parquet F.parquet --npy F.npy
    export m.safetensors --onnx m.onnx --openvino m.xml
    doctor --batch-size 2
    weights list
    weights path imagenet1k-v1
    weights fetch imagenet1k-v1
    cache list
    cache prune --all --yes
    completion bash
    data caltech256-animals --root nowhere
    demo --epochs 1 --engine openvino
"""
RAY = "extract {photos} --split first:4,2 -o R.h5 --runner ray --workers 1 --weights W.safetensors"


def main(photos, only=""):
    import torchvision
    from click.testing import CliRunner
    from featx.cli.main import main as app
    from shared import TINY, copy_modules, empty_network

    from featx.network.catalogue import KNOWN, KnownWeights
    from featx.sources import samples

    KNOWN["imagenet1k-v1"] = KnownWeights(TINY, False, "small and random")

    real = torchvision.models.get_model

    def get_small_model(name, **options):
        return copy_modules(empty_network())

    # Of each class some are still without a label.
    for folder in Path(photos).iterdir():
        for i, path in enumerate(sorted(folder.iterdir())):
            place = Path("growing", folder.name if i < 6 else "unlabelled")
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place / f"{folder.name}-{path.name}")

    # Of the digits so few that this takes seconds.
    samples.DIGITS_IMAGES, samples.DIGITS_SPLIT = 100, "first:4,2"
    lines = (RAY if only == "ray" else COMMANDS).format(photos=photos)
    codes, said = {}, {}
    for line in filter(None, map(str.strip, lines.splitlines())):
        # The doctor makes up parameters for the real one, and a cluster's workers have no other.
        whole = line.startswith("doctor") or only == "ray"
        torchvision.models.get_model = real if whole else get_small_model
        done = CliRunner().invoke(app, line.split(), prog_name="featx")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        name = " ".join(line.replace(photos, "photos").split()[:2])
        codes[name], said[name] = done.exit_code, done.stderr
    found = {"codes": codes, "said": said, "tried": list(TRIED)}
    if Path("/proc/net/snmp").exists():
        found["unrouted"] = count_unrouted()
        reach_out_natively()
        found["control"] = count_unrouted()
    return found


if __name__ == "__main__":
    sys.addaudithook(refuse)
    json.dump(main(*sys.argv[1:]), sys.stdout)
