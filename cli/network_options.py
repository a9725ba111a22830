"""Options of what runs the network, and of the features that it gives."""

from __future__ import annotations

import click

from featx.config import (
    BACKBONE,
    BACKBONES,
    BATCH_SIZE,
    CUDA_BATCH_SIZE,
    DEVICES,
    ENGINES,
    FRAMINGS,
    LAST_LAYER,
    MAX_BATCH_SIZE,
    PRECISIONS,
    STORAGES,
)

from .completion import complete_weights
from .options import max_skipped_option, stack
from .places import FILE, FOLDER


def _check_count(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    if value == "auto":
        return None
    if not (value.isascii() and value.isdecimal()):
        raise click.BadParameter(f"{value!r} is neither auto nor a whole number from 0")
    return int(value)


backbone_option = click.option(
    "--backbone",
    type=click.Choice(list(BACKBONES)),
    default=BACKBONE,
    show_default=True,
    metavar="NAME",
    help=f"The network: {', '.join(BACKBONES)}.",
)

weights_option = click.option(
    "--weights",
    default="auto",
    shell_complete=complete_weights,
    show_default=True,
    metavar="NAME|FILE",
    help="auto, imagenet1k-v1, imagenet1k-v2, keras-imagenet, or a .safetensors or .pth file, "
    "checkpoints included.",
)

network_option = click.option(
    "--weights", metavar="NAME|FILE", help="The network, where MODEL's is not found."
)

device_option = click.option(
    "--device",
    type=click.Choice(DEVICES),
    default="auto",
    show_default=True,
    help="auto is CUDA where there is one; mps and xpu (Apple's and Intel's GPUs) were never "
    "tried, and are held against the CPU first.",
)

num_workers_option = click.option(
    "--num-workers",
    type=click.IntRange(0),
    metavar="N",
    help="Decoding threads.  [default: as many as cores]",
)

processes_option = click.option(
    "--decode-processes",
    default="auto",
    show_default=True,
    metavar="auto|N",
    callback=_check_count,
    help="Processes that decode instead of threads, as a GPU wants; 0: none; auto: as many as "
    "threads, where a probe finds that threads cannot feed the network.",
)

device_options = stack(device_option, num_workers_option, processes_option)

batch_size_option = click.option(
    "--batch-size",
    type=click.IntRange(1, MAX_BATCH_SIZE),
    metavar="N",
    help=f"Images of one forward pass.  [default: {BATCH_SIZE}; on CUDA {CUDA_BATCH_SIZE}]",
)

engine_options = stack(
    click.option(
        "--engine",
        type=click.Choice(ENGINES),
        default="auto",
        show_default=True,
        help="What runs the network; auto takes features of any engine that are there, else the "
        "fastest that is installed and gives torch's features.",
    ),
    click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default="fp32",
        show_default=True,
        help="Of the computation; auto takes bf16, on CUDA fp16, and where there is none int8, "
        "where probes find it as good and faster; fp16 and tf32 are for CUDA, int8 for OpenVINO.",
    ),
)

storage_option = click.option(
    "--storage",
    type=click.Choice(STORAGES),
    default="float32",
    show_default=True,
    help="Of the stored numbers; float16 halves the file and keeps three digits.",
)

layers_option = click.option(
    "--layers",
    default=LAST_LAYER,
    show_default=True,
    metavar="SPEC",
    help="What is kept beside the last layer's averages: all (four stages, means and maxima), avg, "
    "max, or some, such as layer2,layer3:max.",
)

framing_option = click.option(
    "--protocol",
    type=click.Choice(FRAMINGS),
    default="none",
    show_default=True,
    help="linear-eval frames images as Kornblith et al. 2019 do.",
)

cache_dir_option = click.option(
    "--cache-dir",
    type=FOLDER,
    metavar="DIR",
    help="Where features are kept.  [default: FEATX_CACHE, else ./cache]",
)

rehash_option = click.option(
    "--rehash",
    is_flag=True,
    help="Read every image again instead of trusting size and times of those known.",
)

lock_option = click.option(
    "--no-lock",
    "lock",
    is_flag=True,
    default=True,
    flag_value=False,
    help="Do without a lock, where the file system has none and nothing else writes there.",
)

extract_options = stack(
    engine_options, batch_size_option, cache_dir_option, rehash_option, lock_option
)

features_output_option = click.option(
    "-o",
    "--output",
    type=FILE,
    metavar="F.h5",
    help="The feature file.  [default: a name of its own in the cache folder]",
)

# Of commands that run a model's network over any images.
model_network_options = stack(
    network_option,
    engine_options,
    batch_size_option,
    device_options,
    max_skipped_option,
)
