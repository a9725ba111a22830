"""`featx compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from featx.config import CLASSIFIERS, LAST_LAYER, MARGIN, PROTOCOLS, TRAINED
from featx.text import printable

from .data_options import data_options, multi_label_option
from .head_options import (
    cv_option,
    head_options,
    max_memory_option,
    prefix_cache_option,
    read_layers_option,
    taxonomy_options,
    train_options,
)
from .network_options import device_options, extract_options
from .numbers import NumberRange
from .options import common_options, labels_option, overwrite_option
from .output import finish_extraction, say, start_speaking
from .places import FOLDER

if TYPE_CHECKING:
    from featx.comparison.candidates import Candidate


@click.command()
@data_options
@multi_label_option
@click.option(
    "--clf",
    type=click.Choice([*CLASSIFIERS, "none"]),
    multiple=True,
    help="Heads on frozen features; may be repeated; none leaves them out.  [default: all; of "
    "linear-eval logreg, of paper linear and logreg]",
)
@click.option(
    "--baseline",
    type=click.Choice([*TRAINED, "none"]),
    multiple=True,
    help="Fine-tuned networks; may be repeated; none leaves them out.  [default: fc; of "
    "linear-eval none]",
)
@head_options
@train_options
@max_memory_option
@read_layers_option(
    LAST_LAYER, "Beside each head on the last layer one that reads others of the same pass"
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Train what is random N times, from --seed on, and show mean and spread.",
)
@click.option(
    "--margin",
    type=NumberRange(0, 100, min_open=True, max_open=True),
    default=MARGIN,
    show_default=True,
    metavar="POINTS",
    help="Points of accuracy that count as no difference, and that a cheaper candidate may lose.",
)
@click.option(
    "--prevalence",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="A CSV with the columns class,share: how frequent each class is in the field. Scores at "
    "these shares stand beside the others.",
)
@labels_option
@click.option(
    "--learning-curves/--no-learning-curves",
    default=True,
    show_default=True,
    help="Train the heads on 1, 2, 5, 10 and 20 images per class as well.",
)
@click.option(
    "--strangers/--no-strangers",
    default=True,
    show_default=True,
    help="Have the head that is chosen learn strangers and sets as well, as featx fit --strangers "
    "does, and show how well it tells what it does not know: some thirty fits of it.",
)
@taxonomy_options
@click.option(
    "--maps/--no-maps",
    default=True,
    show_default=True,
    help="Draw on the page where the scores of mistakes, and of one right image a class, come "
    "from: some seconds of the network.",
)
@click.option(
    "--shortcuts",
    is_flag=True,
    help="With --maps: say where in all test images the chosen candidate finds its evidence, and "
    "name classes that a place at the edge decides. They go through the network once more.",
)
@cv_option
@click.option(
    "--cv-baselines",
    is_flag=True,
    help="Cross-validate the baselines, too: each is fine-tuned anew for every fold. How long that "
    "will take is said first.",
)
@click.option(
    "--protocol",
    type=click.Choice(PROTOCOLS),
    default="none",
    show_default=True,
    help="linear-eval frames images and refits logreg as Kornblith et al. 2019 do; paper trains a "
    "new last layer for 15 epochs at 0.001, as the paper does, beside linear and logreg.",
)
@click.option("--augment", is_flag=True, help="Augment the baselines' train images.")
@prefix_cache_option
@click.option(
    "-o",
    "--output",
    type=FOLDER,
    metavar="DIR",
    help="The comparison's folder.  [default: results/NAME]",
)
@extract_options
@device_options
@overwrite_option
@common_options
def compare(**options: Any) -> None:
    """Extract, fit and fine-tune what is missing, reuse the rest, and compare on the same images.

    DIR (default results/NAME) gets report.html, results.json, split.csv, the models, a model card,
    README.md, of the one it chooses, and featx.toml, with which --config repeats it.

    \b
    Examples:
      featx compare photos --split 0.7,0.1,0.2
      featx compare photos --split 0.7,0.1,0.2 --baseline none
      featx compare photos --split 0.7,0.1,0.2 --baseline none --cv 5x5
      featx compare photos --split 0.7,0.1,0.2 --clf logreg --layers auto
      featx compare photos --split 0.7,0.1,0.2 --baseline none --labels corrections.csv
      featx compare photos --split 0.7,0.1,0.2 --baseline none --taxonomy taxonomy.csv
      featx compare scenes.csv --multi-label --split 0.7,0.1,0.2 -o scenes
      featx compare photos.csv --clf logreg --clf svm --baseline layer4 --seeds 3 -o out
      featx compare --config out/featx.toml
    """
    run_compare(**options)


def run_compare(
    *,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    max_skipped: float,
    data: str,
    c: float | str,
    clf: tuple[str, ...],
    baseline: tuple[str, ...],
    maps: bool = True,
    shortcuts: bool = False,
    multi_label: bool = False,
    **options: Any,
) -> None:
    """What `featx compare` and `featx demo` do once their options are known."""
    if shortcuts and not maps:
        raise click.UsageError("--shortcuts needs --maps.")
    progress = start_speaking(verbose, quiet)
    if multi_label:
        from .multilabel import compare_labels

        compare_labels(data, clf, baseline, {"C": c, **options}, max_skipped, as_json, progress)
        return
    from featx.comparison.compare import compare
    from featx.report.comparison import render_heads, render_text, write_report

    from .rendering import render_evidence

    def show_heads(heads: Sequence[Candidate], seconds: float | None) -> None:
        if not quiet:
            click.echo(printable(render_heads(heads, seconds), keep="\n"), err=True)

    comparison = compare(
        data,
        clf=tuple(name for name in clf if name != "none") if clf else None,
        baseline=tuple(name for name in baseline if name != "none") if baseline else None,
        C=c,
        progress=progress,
        on_heads=show_heads,
        **options,
    )
    report = write_report(comparison, maps=maps, shortcuts=shortcuts)
    there = (report.page, report.results, report.settings, report.card)
    files = [path for path in there if path is not None]
    written = ", ".join(printable(str(path)) for path in files)
    text = [render_text(comparison), *(render_evidence(report.evidence) if report.evidence else ())]
    say(as_json, report.values, "\n\n".join([*text, f"written: {written}"]))
    finish_extraction(comparison.extraction, max_skipped)
