"""Every way by which samples come in, so that tests can go through all of them."""

import itertools

import numpy as np
from distributed import Client

import daskksvd

N, D, M, K = 240, 6, 10, 2
CHUNK = 60

_paths = itertools.count()


def samples(n=N, seed=0):
    return np.random.default_rng(seed).standard_normal((n, D)) * np.linspace(1, 3, D)


def learned(array, **options):
    settings = {"n_components": M, "n_nonzero_coefs": K, "max_passes": 2, "random_state": 0, "n_threads": 2}
    return daskksvd.fit(array, **{**settings, **options})


def estimator(**options):
    settings = {"n_nonzero_coefs": K, "max_passes": 2, "random_state": 0, "n_threads": 2, "dtype": "float32"}
    return daskksvd.KSVD(M, **{**settings, **options})


def dense(codes):
    codes = codes.compute() if hasattr(codes, "compute") else codes
    return codes.todense() if hasattr(codes, "todense") else codes


def _fit(array, result, folder, **options):
    return learned(array, **options).dictionary.values


def _fit_reading_anew(array, result, folder, **options):
    return learned(array, persist=False, **options).dictionary.values


def _encode(array, result, folder, **options):
    return dense(result.encode(array, **options))


def _write_codes(array, result, folder, **options):
    path = folder / f"codes-{next(_paths)}"
    result.write_codes(array, path, **options)
    return dense(daskksvd.open_codes(path))


def _score(array, result, folder, **options):
    return result.score(array, **options)


def _estimator_fit(array, result, folder, **options):
    return estimator(**options).fit(array).components_


def _partial_fit(array, result, folder, **options):
    return estimator(**options).partial_fit(array).components_


def _fitted(**options):
    return estimator(**options).fit(samples())


def _transform(array, result, folder, **options):
    return dense(_fitted(**options).transform(array))


def _estimator_score(array, result, folder, **options):
    return _fitted(**options).score(array)


def _plan(array, result, folder, **options):
    daskksvd.plan(array, n_components=M, n_nonzero_coefs=K, n_threads=1, **options)
    return 0


ROUTES = {
    "fit": _fit,
    "fit, reading anew": _fit_reading_anew,
    "encode": _encode,
    "write_codes": _write_codes,
    "score": _score,
    "KSVD.fit": _estimator_fit,
    "KSVD.partial_fit": _partial_fit,
    "KSVD.transform": _transform,
    "KSVD.score": _estimator_score,
    "plan": _plan,
}
"""Name to ``route(array, result, folder)``: what comes out, as an array."""


def on_cluster(address):
    """The routes that take a client, on a cluster; the others as they are."""

    def with_client(route):
        def run(*arguments):
            with Client(address) as client:
                return route(*arguments, client=client)

        return run

    def encode(array, result, folder):
        with Client(address):
            return _encode(array, result, folder)

    routes = {
        name: with_client(route) for name, route in ROUTES.items() if name not in ("encode", "KSVD.transform")
    }
    return {**routes, "encode": encode}
