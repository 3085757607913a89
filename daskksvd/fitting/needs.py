"""What a fit needs before it reads a row: memory, and whether rows are to be kept."""

from ..coding.cost import process_bytes, task_bytes
from ..coding.products import block_rows
from ..machine.memory import check_memory
from ..rows.inputs.underlying import clients
from .schedule import FULL, WAVE, statistics
from .statistics import COUPLED
from .updates.ksvd import KSVD_GRAM_BYTES

IN_MEMORY_BYTES = 256 * 2**20
"""Arrays up to this size are read once and kept."""


def need_memory(executor, source, settings):
    """Check memory before any row is read."""
    per_task, per_process = memory_needed(source, settings)
    check_memory(
        executor,
        per_task,
        per_process,
        f"use smaller chunks (the largest has {max(source.chunk_rows)} rows), fewer atoms "
        f"(n_components={settings.n_components}), fewer threads a worker, or more memory",
    )


def memory_needed(source, settings):
    """Bytes that a fit takes in every thread, and in every process beside them."""
    m, d, itemsize = settings.n_components, source.d, settings.dtype.itemsize
    chunk_bytes = max(source.chunk_rows) * d * source.dtype.itemsize
    kinds = {"online": (WAVE, FULL), "batch": (FULL,), "ksvd": ()}[settings.update]
    coupled = any(statistics(kind, m) == COUPLED for kind in kinds)
    numbers = (m * m if coupled else 0) + m * d
    prepared = max(source.chunk_rows) if settings.update == "ksvd" else block_rows(m, itemsize)
    width = settings.stopping.most_nonzeros(d)
    per_task = task_bytes(m, width, itemsize, chunk_bytes, prepared * d * itemsize, numbers)
    if settings.update == "ksvd":
        per_task += 2 * KSVD_GRAM_BYTES
    per_process = process_bytes(m, d, itemsize)
    if settings.whiten is not None:
        per_process += 3 * d * d * 8
    return per_task, per_process


def keeps(source, client, persist):
    """Whether each chunk is read only once, and kept: of a small array, or of any if asked to."""
    if persist is None:
        persist = source.array.nbytes <= IN_MEMORY_BYTES
    if client is None and not source.in_memory and clients(source.array):
        persist = False  # its preparation tells that a client is needed
    return persist
