"""How stores are written: every chunk, each with its checksum."""

import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec


def compressors(compress=True):
    """Codecs of stored chunks: Zarr's own default compression, or none, and a checksum at the end."""
    return (ZstdCodec(level=0), Crc32cCodec()) if compress else (Crc32cCodec(),)


def write_dataset(dataset, path, chunks):
    """Write an `xarray.Dataset` as a new Zarr group.

    Parameters
    ----------
    dataset : xarray.Dataset
    path : str
    chunks : dict of str to tuple
        Shapes of the chunks of some variables.
    """
    encoding = {name: {"compressors": compressors()} for name in dataset.variables}
    for name, shape in chunks.items():
        encoding[name]["chunks"] = shape
    with zarr.config.set({"array.write_empty_chunks": True}):
        dataset.to_zarr(path, mode="w", zarr_format=3, consolidated=False, encoding=encoding)
