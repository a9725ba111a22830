"""The `featx` command and the one place where errors become text and exit codes."""

from __future__ import annotations

import errno
import sys
from typing import Any

import click

from featx.errors import FeatxError
from featx.text import printable

from .audit import audit
from .cache import cache
from .card import card
from .compare import compare
from .completion import completion
from .data import data
from .demo import demo
from .doctor import doctor
from .drift import drift
from .explain import explain
from .export import export
from .extract import extract
from .finetune import finetune
from .fit import fit
from .info import info
from .limits import check_threads, describe_shortage
from .merge import merge
from .next import next_
from .plan import plan
from .predict import predict
from .similar import similar
from .streams import open_streams
from .verify import verify
from .weights import weights


class FeatxGroup(click.Group):
    """Turns an expected error into "Error: …" and exit code 1; a bug stays a traceback.

    Ctrl-C is a line and exit code 130, as shells have it; a closed stdout ends it quietly.
    """

    def main(self, *args: Any, **options: Any) -> Any:
        """All of a process."""
        open_streams()
        try:
            return super().main(*args, **options)
        except OSError as error:  # of --help itself
            _explain(error).show()
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        check_threads()
        try:
            return super().invoke(ctx)
        except FeatxError as error:
            raise click.ClickException("\n".join(map(printable, error.lines))) from error
        except KeyboardInterrupt:
            # A terminal has just shown "^C".
            click.echo("\n" * sys.stderr.isatty() + "Interrupted.", err=True)
            ctx.exit(130)
        except OSError as error:
            # Click ends quietly where nobody reads stdout any more.
            if error.errno == errno.EPIPE:
                raise
            if (shortage := describe_shortage(error)) is not None:
                raise click.ClickException(printable(shortage)) from error
            if error.errno is None:
                raise
            raise _explain(error) from error
        except Exception as error:
            if (shortage := describe_shortage(error)) is None:
                raise
            raise click.ClickException(printable(shortage)) from error


def _explain(error: OSError) -> click.ClickException:
    """Full, read-only, not permitted: the machine's answer, with the file it is about."""
    where = f"{error.filename}: " if error.filename else ""
    next_ = "; name another place by --output or --cache-dir" * (error.errno == errno.EROFS)
    return click.ClickException(printable(f"{where}{error.strerror or error}{next_}"))


@click.group(cls=FeatxGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="featx", prog_name="featx")
def main() -> None:
    """Run a frozen ImageNet ResNet50 once over a folder of images, then train, compare and trust
    classifiers in seconds.

    \b
    featx demo                                   the whole job on handwritten digits
    featx compare photos --split 0.7,0.1,0.2     the whole job on your own folder
    featx extract photos --split 0.7,0.1,0.2     features alone, into ./cache
    featx fit cache/photos-….h5 --clf logreg     a classifier on them
    featx predict MODEL image.jpg                what it says of an image

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but too many images skipped or
    drift found, 130 Ctrl-C.
    """


for _command in (
    extract,
    fit,
    finetune,
    compare,
    plan,
    merge,
    predict,
    drift,
    explain,
    card,
    similar,
    audit,
    next_,
    info,
    verify,
    export,
    weights,
    cache,
    data,
    demo,
    doctor,
    completion,
):
    main.add_command(_command)
