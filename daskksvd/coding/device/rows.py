"""Rows on their way to a device: through page-locked memory, while it computes."""

import numpy as np
import torch

_KINDS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1")
"""Dtypes that are sent as they are stored, and converted there."""

_BUFFERS = 3
"""Blocks on their way at a time: one being filled, one being sent, one being coded."""


class Uploader:
    """Copies blocks of rows to a device.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device):
        self.device = device
        self._turn = 0
        self._buffers = [(None, None)] * _BUFFERS
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, rows):
        """Rows (n, d) of any real dtype as a tensor of it, or of float64, that is on its way.

        The stream that computes waits for it, this thread does not.
        """
        if rows.dtype.newbyteorder("=").str[1:] not in _KINDS:
            rows = rows.astype(np.float64)
        rows = np.ascontiguousarray(rows, rows.dtype.newbyteorder("="))
        if self._stream is None:
            return torch.from_numpy(rows.copy()).to(self.device)
        buffer, sent = self._buffers[self._turn]
        if sent is not None:
            sent.synchronize()
        if buffer is None or buffer.numel() < rows.nbytes:
            buffer = torch.empty(rows.nbytes, dtype=torch.uint8, pin_memory=True)
        memory = buffer[: rows.nbytes]
        memory.numpy()[:] = rows.reshape(-1).view(np.uint8)
        computing = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self._stream):
            there = memory.to(self.device, non_blocking=True)
            sent = torch.cuda.Event()
            sent.record()
        computing.wait_event(sent)
        there.record_stream(computing)
        self._buffers[self._turn] = (buffer, sent)
        self._turn = (self._turn + 1) % _BUFFERS
        kind = torch.from_numpy(np.empty(0, rows.dtype)).dtype
        return there.view(kind).view(rows.shape)


class DeviceTransform:
    """`rows.Transform` on a device.

    Parameters
    ----------
    transform : rows.Transform
    dtype : torch.dtype
        Of the computation.
    device : torch.device
    """

    def __init__(self, transform, dtype, device):
        self.dtype = dtype
        self.mean = None if transform.mean is None else torch.from_numpy(transform.mean.copy()).to(device)
        self.basis, self.scale = (
            None if part is None else torch.from_numpy(part.copy()).to(device, dtype)
            for part in (transform.basis, transform.scale)
        )

    def apply(self, rows):
        """Prepared rows (n, d'), a new tensor."""
        long = rows.dtype in (torch.float64, torch.int64, torch.int32) and self.dtype == torch.float32
        if self.mean is not None and long:
            # values too long for the dtype: what is left of them after centring is not
            rows = (rows - self.mean).to(self.dtype)
        else:
            rows = rows.to(self.dtype, copy=True)
            if self.mean is not None:
                rows -= self.mean.to(self.dtype)
        if self.basis is not None:
            rows = rows @ self.basis
        if self.scale is not None:
            rows /= self.scale
        return rows
