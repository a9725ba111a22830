"""What importing networks leaves out is there where somebody wants it."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_compiler_is_loaded_by_who_asks_it():
    code = """
import sys
import torch
import featx.network.engine_choice
from featx.network.backbone import build_network
from torchvision.models import resnet18
build_network(resnet18().state_dict(), backbone="resnet18")
assert "torch._dynamo" not in sys.modules
assert "torch._dynamo.utils" not in sys.modules
from torchvision.ops import roi_align
torch.use_deterministic_algorithms(True)  # this asks the compiler
boxes = [torch.tensor([[0.0, 0.0, 4.0, 4.0]])]
assert roi_align(torch.ones(1, 3, 8, 8), boxes, 2).shape == (1, 3, 2, 2)
assert sys.modules["torch._dynamo.utils"].is_compile_supported("cpu") in (True, False)
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item() == 2
"""
    subprocess.run([sys.executable, "-c", code], check=True)
