"""The encoder that learns from scenes: a CLIP model as small as the world."""

SPECIAL = ("<|startoftext|>", "<|endoftext|>")
LONGEST = 64
"""Tokens of a caption at most, the first and last included."""


def make_tokenizer(captions, vocabulary_size):
    """Learn a CLIP tokenizer: byte pairs, so that any text has tokens.

    Parameters
    ----------
    captions : iterable of str
    vocabulary_size : int

    Returns
    -------
    transformers.CLIPTokenizer
    """
    import json

    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.trainers import BpeTrainer
    from transformers import CLIPTokenizer

    alphabet = sorted(ByteLevel.alphabet())
    letters = [*alphabet, *(f"{letter}</w>" for letter in alphabet)]
    learner = CLIPTokenizer().backend_tokenizer
    trainer = BpeTrainer(
        vocab_size=vocabulary_size - len(letters),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    learner.train_from_iterator(captions, trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    # as in CLIP's own: bytes, bytes that end a word, pairs in the order they were found, marks
    tokens = dict.fromkeys([*letters, *("".join(pair) for pair in merges), *SPECIAL])
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LONGEST)


def make_processor(tokenizer, size):
    """Images and captions to tensors, as CLIP has it.

    Parameters
    ----------
    tokenizer : transformers.CLIPTokenizer
    size : int
        Pixels a side.

    Returns
    -------
    transformers.CLIPProcessor
    """
    from transformers import CLIPImageProcessor, CLIPProcessor

    images = CLIPImageProcessor(
        size={"shortest_edge": size},
        crop_size={"height": size, "width": size},
        image_mean=[0.5] * 3,
        image_std=[0.25] * 3,
    )
    return CLIPProcessor(image_processor=images, tokenizer=tokenizer)


def make_model(tokenizer, size, *, width=128, depth=4, patch=8, text_width=96, text_depth=2, projection=128):
    """A CLIP model with random weights.

    Parameters
    ----------
    tokenizer : transformers.CLIPTokenizer
    size : int
        Pixels a side.
    width, depth : int
        Features and layers of the vision transformer.
    patch : int
        Pixels a side of its patches.
    text_width, text_depth : int
        Those of the text transformer.
    projection : int
        Features that images and captions share.

    Returns
    -------
    transformers.CLIPModel
    """
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=text_width,
        intermediate_size=4 * text_width,
        num_hidden_layers=text_depth,
        num_attention_heads=text_width // 32,
        max_position_embeddings=LONGEST,
        hidden_act="gelu",
        projection_dim=projection,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(
        image_size=size,
        patch_size=patch,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=depth,
        num_attention_heads=width // 32,
        hidden_act="gelu",
        projection_dim=projection,
    )
    model = CLIPModel(
        CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=projection)
    )
    places = model.vision_model.embeddings.position_embedding.weight
    with torch.no_grad():
        places[1:] = torch.from_numpy(grid_positions(size // patch, width))
    return model


def grid_positions(side, width):
    """Positions of the patches of an image as sines and cosines of row and column.

    Positions that start near zero, as CLIP's do, are drowned by what is in the
    patches: for the first 100,000 scenes an encoder saw which colours there
    were, not where, and so no shapes.

    Parameters
    ----------
    side : int
        Patches a side.
    width : int
        Features, a multiple of 4.

    Returns
    -------
    numpy.ndarray
        (side * side, width), float32; root mean square 0.5.
    """
    import numpy as np

    # from half a wave across the image to one every four patches
    frequency = np.pi / 2 * np.geomspace(2 / side, 1, width // 4)
    angle = np.arange(side)[:, None] * frequency
    waves = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
    rows, columns = np.divmod(np.arange(side * side), side)
    return (np.concatenate([waves[rows], waves[columns]], axis=1) / np.sqrt(2)).astype(np.float32)
