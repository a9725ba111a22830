import numpy as np
import pytest

from featx.data.images import open_rgb
from featx.decoding.pixel_format import Reading


@pytest.fixture
def decode(tmp_path):
    """Bytes of a TIFF, decoded from a file."""

    def run(data, **options):
        (tmp_path / "x.tif").write_bytes(data)
        return np.asarray(open_rgb(tmp_path / "x.tif", reading=Reading(**options)))

    return run
