"""Triton runs in its interpreter where there is no GPU for it."""

import os
import sys

import torch

if not torch.cuda.is_available() and "triton" not in sys.modules:  # it looks when it is imported
    os.environ["TRITON_INTERPRET"] = "1"
