"""From captioned images to a store of vectors."""

try:
    from .run import embed, embed_texts
    from .store import Embeddings, open_embeddings
except ModuleNotFoundError as error:
    if error.name and error.name.split(".")[0] in ("PIL", "pyarrow", "torch"):
        raise ImportError(
            f"{error.name} is not installed; pip install 'daskksvd[embed]' brings it"
        ) from error
    raise

__all__ = ["Embeddings", "embed", "embed_texts", "open_embeddings"]
