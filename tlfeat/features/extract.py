"""Bring every picture of a dataset into the feature store, once.

This module settles what is missing and whether there is room for it; `pipeline`
does the work. Only what is new to the store is decoded and embedded.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Unpack

from tlfeat.backbones.table import DEFAULT_BACKBONE, Output
from tlfeat.cluster.join import clustered
from tlfeat.data.check import nothing_readable
from tlfeat.data.dataset import Dataset, as_dataset
from tlfeat.errors import StoreError
from tlfeat.features.calibrate import calibrated
from tlfeat.features.costs import read_costs
from tlfeat.features.matrix import Features, load_features, open_entry
from tlfeat.features.pipeline import embed_pictures
from tlfeat.features.recipe import Recipe
from tlfeat.features.settings import FeatureRequest, FeatureSettings, Options, read_options
from tlfeat.features.store import DamagedEntry, Entry, FeatureStore
from tlfeat.features.wanted import Network, Sink
from tlfeat.settings import explained
from tlfeat.watch import Watch
from tlfeat.where import Where


class Embedded(NamedTuple):
    """What one call of `embed` did."""

    images: int  # distinct pictures of the dataset
    there: int  # of them, those that had their rows in all entries
    embedded: int  # of them, those that got a row in some entry
    failures: dict[str, str]  # digest to reason: pictures without features
    seconds: float


@explained(FeatureSettings, Where)
def extract(
    dataset: Dataset | str | Path,
    backbone: str | FeatureSettings = DEFAULT_BACKBONE,
    **options: Unpack[Options],
) -> Features:
    """Give the features of a dataset; only pictures new to the store are embedded.

    Parameters
    ----------
    dataset : Dataset, str or Path
        What `open_dataset` gives, or takes.
    backbone : str or FeatureSettings
        A name of `list_backbones`, or all settings in one.
    **options
        features, weights, size, resize, precision, dtype, seed: see `FeatureSettings`.
        cache, engine, jobs, watch: see `Where`.

    Returns
    -------
    features : Features
        A row for each sample that could be read; the others are in `skipped`.

    Raises
    ------
    TlfeatError
        If the dataset, backbone, weights, features or store cannot be used.

    Examples
    --------
    >>> features = tlfeat.extract("garments")  # doctest: +SKIP
    >>> features.X.shape  # doctest: +SKIP
    (36, 1280)
    """
    settings, where = read_options(backbone, options)
    dataset = as_dataset(dataset, where)
    request = calibrated(settings, dataset, where).resolve(where.cache_folder)
    done = embed(dataset, [request], where)
    return load_features(dataset, request, FeatureStore(where.cache_folder), done.failures)


def embed(
    dataset: Dataset,
    requests: Sequence[FeatureRequest],
    where: Where = Where(),
    *,
    retry_failed: bool = False,
    meanwhile: Callable[[], object] | None = None,
) -> Embedded:
    """Bring every picture of a dataset into the store, for all requests in one pass.

    Parameters
    ----------
    dataset : Dataset
    requests : sequence of FeatureRequest
        Networks of one size share the decoding, outputs of one network the forward pass.
    where : Where
    retry_failed : bool
        Try pictures again that could not be decoded before.
    meanwhile : callable, optional
        Done in a thread once the first network is open, where any picture is to be embedded; it
        is over before this returns, and its errors are not heard.

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
    store, watch = FeatureStore(where.cache_folder), where.watch
    for warning in dict.fromkeys(request.weights.warning for request in requests):
        if warning:
            watch.note(warning)
    watch.doing(f"looking up {dataset.name} in the store")
    first = {sample.digest: sample for sample in reversed(dataset.samples)}
    digests = list(dict.fromkeys(sample.digest for sample in dataset.samples))
    groups = _missing_networks(requests, digests, store, retry_failed, watch)
    _check_disk(groups, store)
    wanted_by = [
        [first[d] for d in digests if any(network.wants(d) for network in networks)]
        for networks in groups
    ]
    of_groups = zip(groups, wanted_by, strict=True)
    before, every = 0, sum(len(networks) * len(wanted) for networks, wanted in of_groups)
    failures: dict[str, str] = {}
    tried: set[str] = set()
    with clustered(where):  # one for all groups
        for networks, wanted in zip(groups, wanted_by, strict=True):
            tried.update(sample.digest for sample in wanted)
            failures |= embed_pictures(
                dataset, wanted, networks, where, steps=(before, every), meanwhile=meanwhile
            )
            before += len(networks) * len(wanted)
            meanwhile = None
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
            seen = (request.size, request.settings.rule)
            key = (seen, request.backbone.name, request.weights.digest, request.settings.precision)
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
            missing = entry.missing(digests, retry_failed=retry_failed, check=True)
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
