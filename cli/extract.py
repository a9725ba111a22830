"""`featx extract`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from featx.config import PLAN_SHARD_IMAGES
from featx.text import printable

from .data_options import multi_label_option, source_options
from .head_options import views_option
from .network_options import (
    device_options,
    extract_options,
    features_output_option,
    framing_option,
    layers_option,
    storage_option,
)
from .options import common_options, labels_option, overwrite_option
from .output import finish_extraction, finish_skipped, say, start_speaking
from .settings import is_given

if TYPE_CHECKING:
    from featx.scale.plan_file import Plan

# What a plan does not decide, and a machine that computes a shard of it does.
_OF_A_SHARD = {
    "plan", "shard", "root", "weights", "device", "num_workers",
    "decode_processes", "lock", "max_skipped", "as_json", "verbose", "quiet",
}  # fmt: skip


def _check_shard(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"\d+(/[1-9]\d*)?", value):
        raise click.BadParameter(f"{value!r} is neither a number from 0 nor I/N")
    return value


@click.command()
@click.argument("data", metavar="[DATA]", required=False, type=click.Path())
@source_options
@multi_label_option
@features_output_option
@click.option(
    "--plan",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Instead of DATA: compute shards of what featx plan made.",
)
@click.option(
    "--shard",
    metavar="I|I/N",
    callback=_check_shard,
    help="Of the plan: shard I, from 0, or I, I+N, I+2N …  [default: all]",
)
@click.option(
    "--runner",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where the network runs: in this process, or on a Ray cluster (the extra featx[ray]).",
)
@click.option(
    "--address",
    metavar="HOST:PORT",
    help="Of the Ray cluster.  [default: RAY_ADDRESS, else one of this machine alone]",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Of --runner ray.  [default: one for each GPU, else one for each node]",
)
@click.option(
    "--shard-size",
    type=click.IntRange(1),
    default=PLAN_SHARD_IMAGES,
    show_default=True,
    metavar="N",
    help="Images that a worker of --runner ray takes at a time.",
)
@views_option
@framing_option
@extract_options
@labels_option
@layers_option
@storage_option
@device_options
@overwrite_option
@common_options
@click.pass_context
def extract(
    ctx: click.Context,
    /,
    data: str | None,
    plan: str | None,
    shard: str | None,
    **options: Any,
) -> None:
    """Run the frozen network once over DATA and keep 2048 numbers of each image in an HDF5 file.

    DATA is DIR/{train,val,test}/<class>/*, or DIR/<class>/* with --split, or a CSV file with the
    columns path,label[,split]; or such a folder packed (.tar, .tar.gz, .zip), WebDataset shards or
    Parquet. A second run computes only what is new or has changed.

    \b
    Examples:
      featx extract photos --split 0.7,0.1,0.2
      featx extract photos.csv --root /data/photos -o F.h5
      featx extract 'shard-{000..127}.tar' --split 0.7,0.1,0.2
      featx extract photos --backbone resnet18 --precision auto -v
      featx extract scenes.csv --multi-label --split 0.7,0.1,0.2 -o scenes.h5
      featx extract photos --split 0.7,0.1,0.2 --labels corrections.csv -o corrected.h5
      featx extract --plan plan --shard 7
    """
    if plan is None:
        if data is None:
            raise click.UsageError("Missing argument 'DATA'; or name a --plan.")
        if shard is not None:
            raise click.UsageError("--shard goes with --plan.")
        _extract_data(data, **options)
        return
    settled = [name for name in ctx.params if name not in _OF_A_SHARD and is_given(ctx, name)]
    if settled:
        named = ", ".join("DATA" if n == "data" else f"--{n.replace('_', '-')}" for n in settled)
        raise click.UsageError(f"{named}: the plan has settled that.")
    _extract_shards(plan, shard, **{name: options[name] for name in _OF_A_SHARD & options.keys()})


def _extract_data(
    data: str,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    max_skipped: float,
    views: int,
    runner: str,
    address: str | None,
    workers: int | None,
    shard_size: int,
    **options: Any,
) -> None:
    if views and options["multi_label"]:
        raise click.UsageError("--multi-label does not go with --views.")
    progress = start_speaking(verbose, quiet)
    from featx.decoding.pixel_format import read_colours
    from featx.extraction.extract import extract
    from featx.extraction.views import extract_views

    from .rendering import describe_extraction

    if runner == "ray":
        if options.pop("multi_label"):
            raise click.UsageError("--multi-label goes with --runner local.")
        from featx.scale.distribute import extract_distributed

        done = extract_distributed(
            data,
            address=address,
            workers=workers,
            shard_size=shard_size,
            progress=progress,
            **options,
        )
    else:
        done = extract(data, progress=progress, **options)
    seen: list[str] = []
    if views:
        for name in ("labels", "multi_label"):
            options.pop(name, None)  # views are found by content, whatever its label
        from featx.features.file import read_provenance

        options |= {"weights": done.weights} if options["weights"] == "auto" else {}
        reading = read_colours(read_provenance(done.features).colours)
        options |= {"depth": reading.depth, "profiles": reading.profiles}
        options |= {"engine": done.engine.split()[0], "precision": done.precision}
        named = options.pop("output")
        output = None if named is None else done.features
        made = extract_views(data, views, output=output, progress=progress, **options)
        seen = [str(path) for path in made]
    text = [describe_extraction(done), *(f"{path}: a view of the train images" for path in seen)]
    say(as_json, {**done.to_dict(), "views": seen}, "\n".join(text))
    finish_extraction(done, max_skipped)


def _extract_shards(
    folder: str,
    shard: str | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    max_skipped: float,
    weights: str,
    **options: Any,
) -> None:
    progress = start_speaking(verbose, quiet)
    from featx.scale.shard import ShardWorker

    from .rendering import describe_extraction

    named = weights if weights != "auto" else None
    worker = ShardWorker(folder, weights=named, progress=progress, **options)
    done = []
    for one in _choose_shards(worker.plan, shard):
        done.append(worker.extract(one))
        if not quiet:
            click.echo(printable(describe_extraction(done[-1])), err=True)
    skipped = [one for part in done for one in part.skipped_files]
    text = f"{folder}: {len(done)} of {len(worker.plan.shards)} shards done"
    values = {"plan": folder, "shards": [part.to_dict() for part in done]}
    say(as_json, values, text)
    finish_skipped(skipped, sum(part.images for part in done) + len(skipped), max_skipped)


def _choose_shards(plan: Plan, shard: str | None) -> range:
    if shard is None:
        return range(len(plan.shards))
    first, _, step = shard.partition("/")
    if not step:
        return range(int(first), int(first) + 1)
    if int(first) >= int(step):
        raise click.BadParameter(f"{shard}: I goes from 0 to {int(step) - 1}")
    return range(int(first), len(plan.shards), int(step))
