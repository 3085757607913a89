"""Coding on a device of PyTorch, such as a graphics card."""

from .products import DeviceProducts, fused_omp
from .sums import DeviceSums

__all__ = ["DeviceProducts", "DeviceSums", "fused_omp"]
