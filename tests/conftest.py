"""Fixtures of several test files."""

import pytest
import torch


@pytest.fixture
def float64():
    """Numbers are double precision by default."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
