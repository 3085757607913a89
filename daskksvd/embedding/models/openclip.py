"""Models of open_clip: an architecture, and a tag or file of weights."""

import os
import warnings

import numpy as np

from ..layout import frame_of
from .base import Encoder, check_layers, check_pooling, input_embedding, side_by_side, vectors_of
from .files import cannot_load


class OpenClipEncoder(Encoder):
    """An open_clip model; ``pretrained=None`` gives random weights, for tests."""

    def __init__(self, spec):
        super().__init__(spec)
        try:
            import open_clip
        except RuntimeError as error:  # a torchvision that does not go with this PyTorch
            raise ImportError(f"open_clip cannot be imported: {error}") from error

        if spec.resize is not None:
            raise ValueError(
                f"resize={spec.resize} goes with transformers models; open_clip has its own size"
            )
        named = spec.name.startswith(("hf-hub:", "local-dir:"))
        if not named and spec.name not in open_clip.list_models():
            raise ValueError(
                f"model={spec.name!r} is unknown to open_clip; open_clip.list_models() tells the "
                f"{len(open_clip.list_models())} that it has"
            )
        tags = [] if named else open_clip.list_pretrained_tags_by_model(spec.name)
        if (
            spec.pretrained
            and not named
            and spec.pretrained not in tags
            and not os.path.exists(spec.pretrained)
        ):
            raise ValueError(
                f"pretrained={spec.pretrained!r}; for {spec.name} it must be a file, or of {', '.join(tags)}"
            )
        if not spec.pretrained and not named:
            warnings.warn(
                f"pretrained was not given: the weights of {spec.name} are random, its vectors mean nothing",
                stacklevel=2,
            )
        folder = spec.name.removeprefix("local-dir:") if named else None
        if folder is not None and spec.name.startswith("local-dir:") and not os.path.isdir(folder):
            raise FileNotFoundError(f"model={spec.name!r}; there is no such folder")
        weights = spec.pretrained if spec.pretrained and os.path.exists(spec.pretrained) else None
        try:
            self.model, _, self._transform = open_clip.create_model_and_transforms(
                spec.name, pretrained=spec.pretrained, device=self.device
            )
        except Exception as error:  # of safetensors, pickle, zip files and JSON
            where = weights or (folder if folder and os.path.isdir(folder) else None)
            raise cannot_load(spec.name, error, where) from error
        self.model.eval()
        self._open_clip = open_clip
        size = self.model.visual.image_size
        self.image_size = int(min(size) if isinstance(size, (tuple, list)) else size)
        self._look()

    def _look(self):
        """Run one black image, to see what comes out."""
        import torch

        spec = self.spec
        black = np.zeros((3, self.image_size, self.image_size), np.float32)
        self._pooled = spec.pooling == "pooled" and spec.tokens is None
        if not self._pooled:
            asked = f"tokens={spec.tokens!r}" if spec.tokens else f"pooling={spec.pooling!r}"
            if not hasattr(self.model.visual, "forward_intermediates"):
                raise ValueError(f"{asked}, but {spec.name} shows only its pooled output")
            pixels = torch.from_numpy(black[None]).to(self.device)
            with torch.inference_mode():
                found = self._intermediates(pixels, None)
            n_layers = len(found["image_intermediates"])
            prefix = found.get("image_intermediates_prefix")
            n_prefix = prefix is not None and prefix[-1].shape[1]
            check_pooling(spec.pooling, n_prefix, f"model {spec.name!r}", spec.tokens)
            self._indices = [n_layers - 1]
            if spec.layer is not None:
                layers = check_layers(spec.layer, n_layers, f"model {spec.name!r}")
                if 0 in layers:
                    raise ValueError("layer=0; for open_clip it must be at least 1, the first block")
                self._indices = [layer - 1 for layer in layers]
            if spec.tokens:
                self._find_grid(pixels, found["image_intermediates"])
        self.d = self.encode(black[None]).shape[-1]

    def _find_grid(self, pixels, tokens):
        """Rows and columns of the patches of the layers that are asked for."""
        import torch

        with torch.inference_mode():
            maps = self._intermediates(pixels, self._indices, "NCHW")["image_intermediates"]
        grids = {tuple(one.shape[-2:]) for one in maps}
        counts = {tokens[index].shape[1] for index in self._indices}
        grid = grids.pop()
        if grids or counts != {grid[0] * grid[1]}:
            raise ValueError(
                f"tokens={self.spec.tokens!r}, but model {self.spec.name!r} has no one grid of patches in "
                "these layers; use a Vision Transformer"
            )
        cfg = self._open_clip.get_model_preprocess_cfg(self.model)
        size = {"shortest": "shortest_edge", "longest": "longest_edge"}.get(
            cfg.get("resize_mode", "shortest")
        )
        side = self.image_size
        self.grid, self.shape = grid, tuple(pixels.shape[1:])
        self.frame = frame_of({size: side} if size else {"height": side, "width": side}, self.shape[1:])

    def _intermediates(self, pixels, indices, output_fmt="NLC"):
        return self.model.visual.forward_intermediates(
            pixels,
            indices=indices,
            # the output of the model is normalised, hidden layers are not
            normalize_intermediates=self.spec.layer is None,
            intermediates_only=True,
            output_fmt=output_fmt,
            output_extra_tokens=True,
        )

    def prepare(self, image):
        return self._transform(image).numpy()

    def output(self, pixels):
        return self.model.encode_image(pixels)

    def vectors(self, pixels):
        if self._pooled:
            return self.output(pixels)
        found = self._intermediates(pixels, self._indices)
        patches = found["image_intermediates"]
        prefixes = found.get("image_intermediates_prefix") or [None] * len(patches)
        # they come in the order of the layers, not in that asked for
        order = [sorted(self._indices).index(index) for index in self._indices]
        return side_by_side([vectors_of(self.spec, prefixes[place], patches[place]) for place in order])

    def text_vectors(self, texts):
        return self.token_vectors(self.tokens(texts))

    def tokenizer(self):
        found = self._text_tokenizer()
        return getattr(found, "tokenizer", found)

    def _text_tokenizer(self):
        if not hasattr(self, "_tokenizer"):
            try:
                self._tokenizer = self._open_clip.get_tokenizer(self.spec.name)
            except Exception as error:
                raise cannot_load(self.spec.name, error, what="has no tokenizer that can be read") from error
        return self._tokenizer

    def tokens(self, texts):
        return {"input_ids": self._text_tokenizer()(texts).to(self.device)}

    def token_vectors(self, tokens):
        return self.model.encode_text(tokens["input_ids"])

    def token_embedding(self):
        return input_embedding(getattr(self.model, "text", self.model), self.spec.name)

    def identity(self):
        pretrained = self.spec.pretrained
        if pretrained and os.path.exists(pretrained):
            pretrained = f"{os.path.basename(pretrained)} ({os.path.getsize(pretrained)} bytes)"
        return {
            "library": "open_clip",
            "name": self.spec.name,
            "revision": pretrained,
            "architecture": type(self.model.visual).__name__,
            "pooling": self.spec.pooling,
            "layer": self.spec.layer,
            "precision": str(self.dtype).removeprefix("torch."),
            "preprocessing": dict(self._open_clip.get_model_preprocess_cfg(self.model)),
            **({"tokens": self.spec.tokens} if self.spec.tokens else {}),
        }

    def default_batch(self):
        return self.batch_size((self.image_size // 14) ** 2, 1024)
