"""Autoencoders of sae-lens and overcomplete, trained for about so many CPU seconds; `sae` compares them."""

import functools
import importlib
import time

import numpy as np

RIVALS = {
    "TopK": "sae_lens",
    "BatchTopK": "sae_lens",
    "Matryoshka": "sae_lens",
    "MP-SAE": "sae_lens",
    "MpSAE": "overcomplete",
}
NESTED = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)
"""Widths of Matryoshka, in parts of the whole."""

DECAY = 0.2
"""Share of the steps at the end over which the rate falls to zero."""

DEAD_AFTER = 0.02
"""Share of the steps after which sae-lens revives a latent that was not used: its 1,000 steps are most of a
training as long as a fit, after which 80 % of the latents of BatchTopK were dead."""

PROBED = 20
"""Steps that tell how long one takes."""


class Rival:
    """An autoencoder of another package, trained for about so many CPU seconds."""

    def __init__(self, method, rows, m, k, seed, seconds, rate, batch):
        import torch

        torch.manual_seed(seed)
        self.method, self.k, self.batch = method, k, batch
        self.rows = torch.from_numpy(np.ascontiguousarray(rows))
        self.start = unit_rows(rows, m, seed)
        self.draw = torch.Generator().manual_seed(seed)
        train = _train_overcomplete if RIVALS[method] == "overcomplete" else _train_saelens
        probe = time.process_time()
        train(self, PROBED, rate)
        step = (time.process_time() - probe) / PROBED
        self.steps = max(int(seconds / step), PROBED)
        began = time.process_time()
        self.model = train(self, self.steps, rate)
        self.seconds = time.process_time() - began
        self.atoms, self.offset = _decoder_of(self.model)

    def batches(self):
        """Batches of random rows for ever."""
        import torch

        n = len(self.rows)
        while True:
            order = torch.randperm(n, generator=self.draw)
            for start in range(0, n - self.batch + 1, self.batch):
                yield self.rows[order[start : start + self.batch]]

    def codes(self, rows):
        """Codes (n, m) and the rows made of them, of all rows at once, as BatchTopK takes them."""
        import torch

        with torch.no_grad():
            rows = torch.from_numpy(np.ascontiguousarray(rows))
            found = self.model.encode(rows)
            codes = found[1] if isinstance(found, tuple) else found
            return codes.numpy(), self.model.decode(codes).numpy()


def unit_rows(rows, m, seed):
    """Some of the rows, of unit norm, (m, d)."""
    chosen = rows[np.random.default_rng(seed).choice(len(rows), m, replace=False)]
    return chosen / np.linalg.norm(chosen, axis=1, keepdims=True)


def _train_saelens(rival, steps, rate):
    import sae_lens
    import torch

    saes = importlib.import_module("sae_lens.saes")
    m, d = rival.start.shape
    sizes = {"d_in": d, "d_sae": m, "device": "cpu"}
    kinds = {
        "TopK": ("TopKTrainingSAE", {"k": rival.k}),
        "BatchTopK": ("BatchTopKTrainingSAE", {"k": float(rival.k)}),
        "Matryoshka": (
            "MatryoshkaBatchTopKTrainingSAE",
            {"k": float(rival.k), "matryoshka_widths": [max(1, int(m * part)) for part in NESTED]},
        ),
        "MP-SAE": (
            "MatchingPursuitTrainingSAE",
            {"max_iterations": rival.k, "residual_threshold": 0.0, "decoder_init_norm": 1.0},
        ),
    }
    name, options = kinds[rival.method]
    sae = getattr(saes, name)(getattr(saes, f"{name}Config")(**sizes, **options))
    with torch.no_grad():
        norm = sae.W_dec.norm(dim=1).mean()
        sae.W_dec.copy_(torch.from_numpy(rival.start).to(sae.W_dec) * norm)
        if rival.method != "MP-SAE":
            sae.W_enc.copy_(sae.W_dec.T)
    trainer = importlib.import_module("sae_lens.training.sae_trainer").SAETrainer
    config = sae_lens.config.SAETrainerConfig(
        total_training_samples=steps * rival.batch,
        train_batch_size_samples=rival.batch,
        lr=rate,
        lr_end=rate / 1000,
        lr_decay_steps=int(DECAY * steps),
        dead_feature_window=max(1, int(DEAD_AFTER * steps)),
    )
    trained = trainer(config, sae, rival.batches()).fit()
    trained.eval()
    return trained


def _train_overcomplete(rival, steps, rate):
    import torch
    from overcomplete.sae import MpSAE, train_sae

    m, d = rival.start.shape
    sae = MpSAE(d, m, k=rival.k, dictionary_params={"initializer": rival.start.astype(np.float32)})
    optimizer = torch.optim.Adam(sae.parameters(), lr=rate)
    falling = functools.partial(_falling, steps=steps)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, falling)
    drawn = rival.batches()
    loader = [next(drawn) for _ in range(steps)] if steps <= PROBED else _Some(drawn, steps)
    train_sae(sae, loader, _squares, optimizer, scheduler, nb_epochs=1, monitoring=0)
    sae.eval()
    return sae


class _Some:
    """The first of endless batches."""

    def __init__(self, batches, number):
        self.batches, self.number = batches, number

    def __iter__(self):
        return (next(self.batches) for _ in range(self.number))


def _falling(step, steps):
    """A rate that falls to zero over the last steps."""
    return min(1.0, max(steps - step, 1) / max(DECAY * steps, 1))


def _squares(x, x_hat, pre_codes, codes, dictionary):
    return (x - x_hat).square().sum(dim=1).mean()


def _decoder_of(model):
    """Atoms and offset as arrays."""
    if hasattr(model, "get_dictionary"):
        return model.get_dictionary().detach().numpy(), None
    return model.W_dec.detach().numpy(), model.b_dec.detach().numpy().astype(np.float64)
