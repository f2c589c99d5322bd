"""Bring every picture of a dataset into the feature store, once.

This module settles what is missing and whether there is room for it; `pipeline`
does the work. Only what is new to the store is decoded and embedded.
"""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tlfeat.backbones.networks import Output
from tlfeat.data.check import nothing_readable
from tlfeat.data.dataset import Dataset, open_dataset
from tlfeat.data.digests import DigestIndex
from tlfeat.errors import StoreError
from tlfeat.features.costs import read_costs
from tlfeat.features.matrix import Features, load_features, open_entry
from tlfeat.features.pipeline import Network, Sink, embed_pictures
from tlfeat.features.recipe import FeatureRequest, Recipe, request_features
from tlfeat.features.store import DamagedEntry, Entry, FeatureStore
from tlfeat.places import cache_folder
from tlfeat.watch import SILENT, Watch


class Embedded(NamedTuple):
    """What one call of `embed` did."""

    images: int  # distinct pictures of the dataset
    there: int  # of them, those that had their rows in all entries
    embedded: int  # of them, those that got a row in some entry
    failures: dict[str, str]  # digest to reason: pictures without features
    seconds: float


def extract(
    dataset: Dataset | str | Path,
    backbone: str = "efficientnet-lite0",
    *,
    features: str = "last:avg",
    weights: str | Path = "imagenet",
    size: int | None = None,
    precision: str = "float32",
    dtype: str = "float32",
    seed: int = 0,
    engine: str = "auto",
    cache: str | Path | None = None,
    jobs: int | None = None,
    watch: Watch = SILENT,
) -> Features:
    """Give the features of a dataset; only pictures new to the store are embedded.

    Parameters
    ----------
    dataset : Dataset, str or Path
        What `open_dataset` gives, or takes.
    backbone : str
        A name of `list_backbones`.
    features : str
        Layers and pooling, LAYER:POOL[+LAYER:POOL...].
    weights : str or Path
        "imagenet", "random", or a weight file.
    size : int, optional
        Side in pixels of the square that the network sees; its own size if None.
    precision : {"float32", "mixed"}
        Of the forward pass.
    dtype : {"float32", "float16"}
        Of the stored rows; `Features.X` is float32 in any case.
    seed : int
        Of random weights.
    engine : {"auto", "openvino", "tensorflow"}
        What runs the network; no feature depends on it beyond 1e-4.
    cache : str or Path, optional
        Folder of the feature store; $TLFEAT_CACHE or ./cache if None.
    jobs : int, optional
        Threads that decode; one a core if None.
    watch : Watch
        Hears of the progress.

    Returns
    -------
    features : Features
        A row for each sample that could be read; the others are in `skipped`.

    Raises
    ------
    TlfeatError
        If the dataset, backbone, weights, features or store cannot be used.
    """
    store = FeatureStore(cache_folder(cache))
    table = (
        dataset
        if isinstance(dataset, Dataset)
        else open_dataset(dataset, digests=DigestIndex(store.root))
    )
    request = request_features(
        backbone,
        features,
        weights=weights,
        size=size,
        precision=precision,
        dtype=dtype,
        seed=seed,
        cache=store.root,
    )
    done = embed(table, [request], store, engine=engine, jobs=jobs, watch=watch)
    return load_features(table, request, store, done.failures)


def embed(
    dataset: Dataset,
    requests: Sequence[FeatureRequest],
    store: FeatureStore,
    *,
    engine: str = "auto",
    jobs: int | None = None,
    retry_failed: bool = False,
    watch: Watch = SILENT,
) -> Embedded:
    """Bring every picture of a dataset into the store, for all requests in one pass.

    Parameters
    ----------
    dataset : Dataset
    requests : sequence of FeatureRequest
        Networks of one size share the decoding, outputs of one network the forward pass.
    store : FeatureStore
    engine : {"auto", "openvino", "tensorflow"}
    jobs : int, optional
        Threads that decode; one a core if None.
    retry_failed : bool
        Try pictures again that could not be decoded before.
    watch : Watch
        Hears of the progress.

    Returns
    -------
    done : Embedded

    Raises
    ------
    NetworkError
        If a network gives numbers that are not finite.
    StoreError
        If the store cannot be written, or the disk has no room for the rows.
    DataError
        If not one picture can be used.
    """
    began = time.perf_counter()
    for warning in dict.fromkeys(request.weights.warning for request in requests):
        if warning:
            watch.note(warning)
    watch.doing(f"looking up {dataset.name} in the store")
    first = {sample.digest: sample for sample in reversed(dataset.samples)}
    digests = list(dict.fromkeys(sample.digest for sample in dataset.samples))
    groups = _missing_networks(requests, digests, store, retry_failed, watch)
    _check_disk(groups, store)
    failures: dict[str, str] = {}
    tried: set[str] = set()
    for networks in groups:
        wanted = [first[d] for d in digests if any(network.wants(d) for network in networks)]
        tried.update(sample.digest for sample in wanted)
        failures |= embed_pictures(dataset, wanted, networks, store, engine, jobs, watch)
    for request in requests:
        for recipe in request.recipes:
            failures |= open_entry(store, recipe).failures(digests)
    if digests and failures.keys() >= set(digests):
        raise nothing_readable(dataset.path, [failures[digest] for digest in digests])
    without = failures.keys()
    there, embedded = len(set(digests) - tried - without), len(tried - without)
    return Embedded(len(digests), there, embedded, failures, time.perf_counter() - began)


def seconds_an_image(
    store: FeatureStore, request: FeatureRequest, digests: Sequence[str]
) -> float | None:
    """Give what embedding one of these pictures took, when that was done on this machine.

    Parameters
    ----------
    store : FeatureStore
    request : FeatureRequest
        Of several layers that come from one pass the dearest counts.
    digests : sequence of str
        Of the pictures.

    Returns
    -------
    seconds : float or None
        Decoding and forward, a mean over those of the pictures that were embedded on this
        machine; None where none was.
    """
    dearest: dict[str, float] = {}
    for recipe in request.recipes:
        costs = read_costs(store.path_of(recipe.entry_name), digests)
        dearest |= {one: max(cost, dearest.get(one, 0.0)) for one, cost in costs.items()}
    return sum(dearest.values()) / len(dearest) if dearest else None


def _missing_networks(
    requests: Sequence[FeatureRequest],
    digests: list[str],
    store: FeatureStore,
    retry_failed: bool,
    watch: Watch,
) -> list[list[Network]]:
    """Find what is missing, as groups of networks that see the same decoded squares."""
    networks: dict[tuple[Any, ...], Network] = {}
    recipes = {
        recipe.digest: (request, recipe) for request in requests for recipe in request.recipes
    }
    for request, recipe in recipes.values():
        entry, missing = _open_sound(store, recipe, digests, retry_failed, watch)
        if missing:
            seen = (request.size, request.resize)
            key = (seen, request.backbone.name, request.weights.digest, request.precision)
            network = networks.setdefault(key, Network(request))
            network.sinks.append(
                Sink(entry, Output(recipe.layer, recipe.pool), frozenset(missing))
            )
    groups: dict[Any, list[Network]] = {}
    for key, network in networks.items():
        groups.setdefault(key[0], []).append(network)
    return list(groups.values())


def _open_sound(
    store: FeatureStore, recipe: Recipe, digests: list[str], retry_failed: bool, watch: Watch
) -> tuple[Entry, list[str]]:
    """Open an entry whose stored rows hold their checksums; set a damaged one aside."""
    for _ in range(2):
        entry = open_entry(store, recipe)
        try:
            missing = entry.missing(digests, retry_failed=retry_failed)
            absent = {*missing, *entry.failures(digests)}
            entry.check([digest for digest in digests if digest not in absent])
        except DamagedEntry as error:
            aside = entry.set_aside()
            watch.warn(f"{error} It was set aside as {aside.name}; embedding its pictures again.")
        else:
            return entry, missing
    raise StoreError(
        f"{recipe.entry_name} in {store.root} is damaged again as soon as it is written: "
        "check the disk, or choose another folder with --cache."
    )


def _check_disk(groups: list[list[Network]], store: FeatureStore) -> None:
    sinks = [sink for networks in groups for network in networks for sink in network.sinks]
    needed = sum(len(sink.missing) * sink.entry.row_bytes for sink in sinks)
    folder = next(path for path in (store.root, *store.root.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StoreError(
            f"The features need {needed / 1e9:.1f} GB and the disk of {store.root} has "
            f"{free / 1e9:.1f} GB left: free some, or choose another folder with --cache."
        )
