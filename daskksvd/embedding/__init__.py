"""From captioned images to a store of vectors."""

try:
    from .captions import embed_captions
    from .encodings import Encodings, open_encodings
    from .opening import open_embeddings
    from .planning import EmbedPlan, plan_embed
    from .run import embed, embed_texts
    from .store import Embeddings
    from .texts import TextEncoder, text_encoder
except ModuleNotFoundError as error:
    if error.name and error.name.split(".")[0] in ("PIL", "pyarrow", "torch"):
        raise ImportError(
            f"{error.name} is not installed; pip install 'daskksvd[embed]' brings it"
        ) from error
    raise

__all__ = [
    "EmbedPlan",
    "Embeddings",
    "Encodings",
    "TextEncoder",
    "embed",
    "embed_captions",
    "embed_texts",
    "open_embeddings",
    "open_encodings",
    "plan_embed",
    "text_encoder",
]
