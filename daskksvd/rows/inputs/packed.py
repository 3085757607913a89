"""Numbers packed by the conventions of netCDF (CF), as xarray writes them: scaled, shifted, some missing."""

import warnings

import numpy as np

from ..blocks import native

_ATTRIBUTES = ("scale_factor", "add_offset", "missing_value", "_FillValue", "_Unsigned")
"""What says how numbers are packed."""


class Packing:
    """How an array is packed.

    Parameters
    ----------
    attributes : dict
        Those of `_ATTRIBUTES` that the array has.
    dtype : numpy.dtype
        Of the numbers as stored.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the numbers decoded, as xarray chooses it.
    """

    def __init__(self, attributes, dtype):
        self.attributes = attributes
        self.dtype = native(self.decode(np.zeros((1, 1), dtype)).dtype)

    def decode(self, block):
        """The numbers that a stored block (n, d) stands for; missing ones are NaN."""
        import xarray as xr

        packed = xr.Dataset({"block": (("row", "column"), block, self.attributes)})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", xr.SerializationWarning)
            decoded = xr.decode_cf(packed, decode_times=False, decode_coords=False)["block"].values
        return decoded.astype(native(decoded.dtype), copy=False)


def packing(attributes, dtype):
    """The `Packing` that attributes of an array tell of; None if numbers are stored as they are."""
    found = {key: _scalar(attributes[key]) for key in _ATTRIBUTES if attributes.get(key) is not None}
    for key in ("missing_value", "_FillValue"):  # NaN stands for itself
        if key in found and not isinstance(found[key], str) and np.all(found[key] != found[key]):
            del found[key]
    return Packing(found, dtype) if found else None


def zarr_packing(array):
    """The `Packing` of a Zarr array, read as `xarray.open_zarr` does."""
    attributes = dict(array.attrs)
    if array.metadata.zarr_format == 2:
        # there, what xarray finds missing is the fill value of the array
        attributes.pop("_FillValue", None)
        if "_ARRAY_DIMENSIONS" in attributes and array.fill_value is not None:
            attributes["_FillValue"] = array.fill_value
    elif isinstance(attributes.get("_FillValue"), str):
        from xarray.backends.zarr import FillValueCoder

        attributes["_FillValue"] = FillValueCoder.decode(attributes["_FillValue"], array.dtype)
    return packing(attributes, array.dtype)


def _scalar(value):
    """A value by itself, where HDF5 has it in an array of one."""
    values = np.asarray(value)
    return values.reshape(-1)[0] if values.ndim and values.size == 1 else value
