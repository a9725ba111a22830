"""Images to features, once: what is there is reused, what is missing is computed."""

from __future__ import annotations

import logging
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from featx.config import BACKBONE, BACKBONES, LAST_LAYER
from featx.data.dataset import Dataset
from featx.data.feeding import open_feed
from featx.data.inventory import Inventory
from featx.decoding.pixel_format import Seen, read_colours
from featx.errors import DatasetError, ImageError
from featx.extraction.linear_probe import choose_probed
from featx.extraction.parts import Part, estimate_parts, name_job, part_features, run_parts
from featx.extraction.place import examine_place
from featx.extraction.request import Lookup, Request, drop_held, look_up, note_index, reuse
from featx.extraction.result import (
    Extraction,
    Making,
    describe_stages,
    finish,
    name_widths,
)
from featx.extraction.runner import build_runner, make_decoding
from featx.features.cache import (
    OpenFiles,
    cache_path,
    explain_no_cache,
    find_cache_dir,
    open_made_alike,
    prepare_cache,
)
from featx.features.checkpoints import open_checkpoints
from featx.features.costs import Reused, read_cost
from featx.features.file import estimate_file, parts_folder
from featx.features.ledger import Ledger, count_held
from featx.features.provenance import Choice, Provenance
from featx.machine import describe_machine
from featx.network.layers import count_columns
from featx.sources.boxes import Boxes, take_boxes
from featx.sources.groups import choose_grouping
from featx.storage.files import check_space, check_writable, explain_full
from featx.timing import Stages

if TYPE_CHECKING:
    from featx.network.engine import Engine

log = logging.getLogger(__name__)


def extract(
    data: str | Path | Dataset,
    *,
    output: str | Path | None = None,
    backbone: str = BACKBONE,
    weights: str = "auto",
    split: str | None = None,
    root: str | Path | None = None,
    recursive: bool = False,
    group: str | None = None,
    group_pattern: str | None = None,
    group_time: float | None = None,
    group_folder: bool = False,
    multi_label: bool = False,
    boxes: str | Path | Boxes | None = None,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "fp32",
    decode: str = "exact",
    depth: str = "auto",
    sample_range: tuple[float, float] | str | None = None,
    channels: tuple[int, ...] | str | None = None,
    profiles: str = "auto",
    protocol: str = "none",
    view: int = 0,
    storage: str = "float32",
    layers: str = LAST_LAYER,
    batch_size: int | None = None,
    num_workers: int | None = None,
    decode_processes: int | None = None,
    on_error: str = "skip",
    cache_dir: str | Path | None = None,
    overwrite: bool = False,
    rehash: bool = False,
    lock: bool = True,
    labels: str | Path | None = None,
    progress: bool = False,
) -> Extraction:
    """Run the frozen network once over a folder of images and keep its features: 2048 numbers each.

    What a feature file of the same provenance holds already is not computed again: the file
    itself, or another of the same folder with other splits. A run that was killed goes on with the
    parts that it finished.

    Parameters
    ----------
    data, split, root, recursive, group, group_pattern, group_time, group_folder, multi_label
    boxes
        See `featx.read_dataset`.
    output : path, optional
        The feature file; None: a name of its own in the cache folder.
    backbone : str
        The network, by torchvision's name; ``featx extract --help`` lists them. It decides how many
        numbers an image has.
    weights : str
        See `featx.fetch_weights`.
    device : {"auto", "cpu", "cuda", "mps", "xpu"}
    engine : {"auto", "torch", "openvino"}
        What runs the network; auto: what the same data's file was made with, else the fastest that
        is installed and gives torch's features.
    precision : {"fp32", "tf32", "bf16", "fp16", "int8", "auto"}
        Of the computation; auto: bf16, on CUDA fp16, where a probe finds it as good and really
        faster; else int8 under OpenVINO, where a linear probe of the images bears it, too.
    decode : {"exact", "pillow", "fast", "pillow-fast"}
        exact and fast (large JPEGs at reduced scale): as the same data's file was decoded, else by
        libjpeg-turbo and torch; the others by Pillow alone. See `load_image`.
    depth : {"auto", "full", "used"}
        Of samples of 16 bits: auto and full scale them by their type, and auto says where that
        leaves pictures dark; used scales by the highest bit that occurs in the data.
    sample_range : (float, float), optional
        What is black and what is white in samples of more than 8 bits, and in those that are signed
        or floating-point, which are not read without.
    channels : tuple of int, optional
        Of a TIFF of several channels: one, or which are red, green and blue.
    profiles : {"auto", "srgb", "ignore"}
        Convert colours to sRGB by a picture's ICC profile, or not; auto: as the same data's file
        was made, else srgb.
    protocol : {"none", "linear-eval"}
    view : int
        See `Preprocessing.frame`; a view is decoded by Pillow.
    layers : str
        What else of the pass is kept: "last" nothing, "all" the outputs of all four stages, their
        means ("avg") and their maxima ("max") over places; or some: "layer2,layer3:max". A file
        that keeps more already goes on keeping it.
    storage : {"float32", "float16"}
        Of the stored numbers; float16 halves the file and keeps three digits.
    batch_size : int, optional
        Images of one forward pass; None: 16 on a CPU, 128 on CUDA.
    num_workers : int, optional
        Decoding threads; None: as many as cores.
    decode_processes : int, optional
        Processes that decode instead; 0: none. None: as many as threads, where the network is on a
        GPU that threads cannot feed, by a probe.
    on_error : {"skip", "fail"}
        Skip and list an image that cannot be decoded, or stop.
    cache_dir : path, optional
        None: FEATX_CACHE, else ./cache.
    overwrite : bool
        Replace an `output` that holds something else.
    rehash : bool
        Read every image again instead of trusting sizes and times of those that were read before.
    lock : bool
        False: the caller sees to it that nothing else writes the same file.
    labels : path, optional
        Corrected labels, for a file of its own; see `featx.correct_labels`.
    progress : bool
        Show a bar on stderr.

    Returns
    -------
    Extraction

    Raises
    ------
    DatasetError, WeightsError, DeviceError
    OutputExistsError
        `output` exists, holds something else and `overwrite` is False.
    LockedError
        Another process is writing the same file.
    StorageError
        The disk has no room.
    ImageError
        An image cannot be decoded and `on_error` is "fail".
    ExtractionError
        No image could be decoded, the network gave numbers that are not finite, or a process that
        decoded was killed.

    Examples
    --------
    >>> import featx
    >>> done = featx.extract("photos", split="first:5,2", output="F.h5")
    >>> done.images, len(done.skipped_files)
    (27, 0)
    """
    return extract_request(
        Request(
            data=data,
            split=split,
            root=root,
            recursive=recursive,
            grouping=choose_grouping(group, group_pattern, group_time, group_folder),
            multi_label=multi_label,
            boxes=take_boxes(boxes),
            choice=Choice(
                engine=engine,
                precision=precision,
                decode="pillow" if view else decode,
                depth=depth,
                sample_range=sample_range,
                channels=channels,
                profiles=profiles,
                protocol=protocol,
                view=view,
                storage=storage,
                backbone=backbone,
                layers=layers,
            ),
            weights=weights,
            device=device,
            batch_size=batch_size,
            num_workers=num_workers,
            decode_processes=decode_processes,
            on_error=on_error,
            output=output,
            cache_dir=cache_dir,
            overwrite=overwrite,
            rehash=rehash,
            lock=lock,
            labels=labels,
            progress=progress,
        )
    )


def extract_request(request: Request) -> Extraction:
    """See `extract`, whose arguments a request holds."""
    lookup = look_up(request)
    done = lookup.found or _extract(lookup)
    return replace(
        done, left_out=lookup.inventory.left_out.list(), notes=tuple(lookup.inventory.notes)
    )


def _extract(lookup: Lookup) -> Extraction:
    request, inventory = lookup.request, lookup.inventory
    # Before weights are fetched and a network is built for nothing.
    choice = request.settle_depth(inventory)
    place = request.output or lookup.cache_dir / "features.h5"
    n_numbers = BACKBONES[choice.backbone] + count_columns(choice.layers, choice.backbone)
    with explain_no_cache(lookup.cache_dir) if request.output is None else nullcontext():
        check_room(Path(place), inventory, n_numbers, choice.storage)
    runner, provenance = build_runner(
        inventory.first_paths,
        choice,
        request.weights,
        lookup.find_making(),
        device=request.device,
        batch_size=request.batch_size,
        progress=request.progress,
        stages=lookup.stages,
        labelled=partial(choose_probed, inventory),
    )
    return extract_inventory(
        inventory, runner, provenance, request, stages=lookup.stages, opened=lookup.opened
    )


def check_room(path: Path, inventory: Inventory, n_numbers: int, storage: str) -> int:
    """See that a feature file of these images can be written; about how many bytes it takes.

    Raises
    ------
    StorageError
        The disk has no room, or refuses.
    """
    size = estimate_file(len(inventory), n_numbers, inventory.longest_name(), storage)
    check_space(path, size, size)
    check_writable(path)
    return size


def extract_inventory(
    inventory: Inventory,
    engine: Engine,
    provenance: Provenance,
    request: Request,
    *,
    stages: Stages | None = None,
    opened: OpenFiles | None = None,
    fixed: bool = False,
) -> Extraction:
    """What a request asks for, with the files hashed and the engine built.

    Parameters
    ----------
    inventory : Inventory
    engine : Engine
    provenance : Provenance
    request : Request
        Whose data, choice, weights, device and batch size are settled by the above.
    stages : Stages, optional
        Of what went into the above, which belongs to the extraction's cost.
    opened : OpenFiles, optional
        Feature files that were read already.
    fixed : bool
        The images are a part of others and were listed before: one that has other bytes now, or is
        gone, is an error; that none can be decoded is none; nothing is taken from the cache.

    Raises
    ------
    DatasetError
        `fixed`, and an image is not what it was.
    """
    stages, opened = stages or Stages(), opened or OpenFiles()
    started = time.perf_counter() - stages.total
    home = find_cache_dir(request.cache_dir)
    path = Path(request.output or cache_path(inventory, provenance, home))
    size = check_room(path, inventory, engine.width, provenance.storage)
    if request.output is None:
        prepare_cache(home)
    kept = f"what was done is kept in {parts_folder(path)}; make room, and the same command goes on"
    with (
        explain_full(path, size, kept),
        open_checkpoints(path, lock=request.lock) as checkpoints,
    ):
        parts = [part for part, _ in checkpoints.parts]
        place = examine_place(
            path, inventory, provenance, guarded=request.guarded, parts=parts, opened=opened
        )
        if place.action == "reuse" and place.before is not None:
            drop_held(checkpoints, place.before, inventory)
            return reuse(place.before, inventory, request.on_error, stages, engine.device)
        ledger = Ledger(inventory)
        reused = Reused(ledger)
        if place.action == "resume":
            for part, spent in checkpoints.parts:
                if part.provenance == provenance:
                    reused.take(part, spent)
            log.info(
                "going on: %d images were done before this extraction was interrupted",
                count_held(parts, inventory)[1],
            )
        if place.before is not None and place.before.provenance == provenance:
            reused.take(place.before, read_cost(place.before))
        for file in () if fixed else open_made_alike(provenance, home, path, opened):
            reused.take(file, read_cost(file))
        ledger.start()
        if request.on_error == "fail" and (error := ledger.find_failure()):
            raise error
        todo = ledger.list_todo()
        check_space(path, size + estimate_parts(todo, engine.width), size)
        if todo:
            log.info("extracting %d images with %s on %s", todo, engine.name, engine.device)

        def refuse(error: ImageError) -> None:
            if fixed and error.kind == "unreadable":
                raise DatasetError(
                    f"{error.path} is not what it was when the plan was made ({error.reason}): "
                    "featx plan … --overwrite makes it anew"
                ) from error
            if request.on_error == "fail":
                raise error

        def keep(part: Part) -> None:
            cost = {
                "seconds": part.seconds,
                "images": len(part.X),
                "device": part.device,
                "machine": describe_machine(),
            }
            ledger.take(checkpoints.keep(part_features(part, inventory, provenance), cost))

        seen = Seen()
        with open_feed(
            make_decoding(provenance, seen),
            engine,
            (name_job(inventory, image) for image in ledger.iterate_todo()),
            todo,
            num_workers=request.count_workers(),
            processes=request.decode_processes,
            stages=stages,
        ) as feed:
            done = run_parts(ledger, engine, feed, keep, refuse=refuse, progress=request.progress)
        if not fixed:
            with stages.time("write"):
                note_index(inventory, path)
        widths = name_widths(engine.width, provenance)
        making = Making(path, provenance, widths, ledger, reused, place.before, stages, started)
        speed = done.computed / done.seconds if done.computed else None
        extraction = finish(
            making, engine.device, computed=done.computed, speed=speed, empty_ok=fixed
        )
        checkpoints.discard()
    seen.warn(read_colours(provenance.colours))
    if done.computed:
        for line in describe_stages(stages, feed.describe()):
            log.debug("%s", line)
    return extraction
