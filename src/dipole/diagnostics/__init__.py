"""What vectors look like: one function a diagnostic, tensors in, numbers out. ``docs/diagnostics.md`` lists them all."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dipole.diagnostics.analogies import offset_parallelism as offset_parallelism
    from dipole.diagnostics.analogies import pairing_consistency as pairing_consistency
    from dipole.diagnostics.association import weat as weat
    from dipole.diagnostics.augmentation import alignment_failure as alignment_failure
    from dipole.diagnostics.augmentation import class_divergence as class_divergence
    from dipole.diagnostics.augmentation import concentration_cost as concentration_cost
    from dipole.diagnostics.augmentation import sigma_delta as sigma_delta
    from dipole.diagnostics.collapse import batches_bind as batches_bind
    from dipole.diagnostics.collapse import lowest_supcon as lowest_supcon
    from dipole.diagnostics.collapse import neural_collapse as neural_collapse
    from dipole.diagnostics.cosines import cosine_gap as cosine_gap
    from dipole.diagnostics.cosines import similarities as similarities
    from dipole.diagnostics.cosines import token_isotropy as token_isotropy
    from dipole.diagnostics.dense import dense_alignment as dense_alignment
    from dipole.diagnostics.dense import dense_uniformity as dense_uniformity
    from dipole.diagnostics.dense import nearest_places as nearest_places
    from dipole.diagnostics.dense import places_of_crops as places_of_crops
    from dipole.diagnostics.estimate import Estimate as Estimate
    from dipole.diagnostics.gap import modality_gap as modality_gap
    from dipole.diagnostics.gap import modality_separability as modality_separability
    from dipole.diagnostics.gap import separability as separability
    from dipole.diagnostics.generalisation import generalisation_gap as generalisation_gap
    from dipole.diagnostics.generalisation import sup_norm_slope as sup_norm_slope
    from dipole.diagnostics.geometry import alignment as alignment
    from dipole.diagnostics.geometry import anisotropy as anisotropy
    from dipole.diagnostics.geometry import tolerance as tolerance
    from dipole.diagnostics.geometry import uniformity as uniformity
    from dipole.diagnostics.hubs import hubness as hubness
    from dipole.diagnostics.hubs import occurrences as occurrences
    from dipole.diagnostics.isotropy import isotropy as isotropy
    from dipole.diagnostics.isotropy import partition_isotropy as partition_isotropy
    from dipole.diagnostics.latent_classes import class_deviation as class_deviation
    from dipole.diagnostics.latent_classes import collision_probability as collision_probability
    from dipole.diagnostics.latent_classes import mean_classifier as mean_classifier
    from dipole.diagnostics.layers import concept_depth as concept_depth
    from dipole.diagnostics.layers import layer_map as layer_map
    from dipole.diagnostics.models import cka as cka
    from dipole.diagnostics.models import mutual_neighbours as mutual_neighbours
    from dipole.diagnostics.negatives import eci as eci
    from dipole.diagnostics.negatives import eci_of_scores as eci_of_scores
    from dipole.diagnostics.negatives import false_negatives_by_ids as false_negatives_by_ids
    from dipole.diagnostics.negatives import false_negatives_by_teacher as false_negatives_by_teacher
    from dipole.diagnostics.spectrum import effective_rank as effective_rank
    from dipole.diagnostics.spectrum import energy_rank as energy_rank
    from dipole.diagnostics.spectrum import isotropic_rank as isotropic_rank
    from dipole.diagnostics.spectrum import isotropic_spectrum as isotropic_spectrum
    from dipole.diagnostics.spectrum import rank_peak as rank_peak
    from dipole.diagnostics.spectrum import singular_values as singular_values
    from dipole.diagnostics.spectrum import stable_rank as stable_rank
    from dipole.diagnostics.sufficiency import information as information
    from dipole.diagnostics.sufficiency import information_bound as information_bound
    from dipole.diagnostics.sufficiency import information_lost as information_lost
    from dipole.diagnostics.sufficiency import sufficiency_gap as sufficiency_gap
    from dipole.diagnostics.surface import length_bias as length_bias
    from dipole.diagnostics.surface import overlap_bias as overlap_bias
    from dipole.diagnostics.surface import word_overlap as word_overlap
    from dipole.diagnostics.temperature import gradient_share as gradient_share
    from dipole.diagnostics.temperature import gradient_share_of_queries as gradient_share_of_queries
    from dipole.diagnostics.temperature import temperature_sensitivity as temperature_sensitivity

HOMES = {
    "Estimate": "estimate",
    "alignment": "geometry",
    "alignment_failure": "augmentation",
    "anisotropy": "geometry",
    "batches_bind": "collapse",
    "cka": "models",
    "class_deviation": "latent_classes",
    "class_divergence": "augmentation",
    "collision_probability": "latent_classes",
    "concentration_cost": "augmentation",
    "concept_depth": "layers",
    "cosine_gap": "cosines",
    "dense_alignment": "dense",
    "dense_uniformity": "dense",
    "eci": "negatives",
    "eci_of_scores": "negatives",
    "effective_rank": "spectrum",
    "energy_rank": "spectrum",
    "false_negatives_by_ids": "negatives",
    "false_negatives_by_teacher": "negatives",
    "generalisation_gap": "generalisation",
    "gradient_share": "temperature",
    "gradient_share_of_queries": "temperature",
    "hubness": "hubs",
    "information": "sufficiency",
    "information_bound": "sufficiency",
    "information_lost": "sufficiency",
    "isotropic_rank": "spectrum",
    "isotropic_spectrum": "spectrum",
    "isotropy": "isotropy",
    "layer_map": "layers",
    "length_bias": "surface",
    "lowest_supcon": "collapse",
    "mean_classifier": "latent_classes",
    "modality_gap": "gap",
    "modality_separability": "gap",
    "mutual_neighbours": "models",
    "nearest_places": "dense",
    "neural_collapse": "collapse",
    "occurrences": "hubs",
    "offset_parallelism": "analogies",
    "overlap_bias": "surface",
    "pairing_consistency": "analogies",
    "partition_isotropy": "isotropy",
    "places_of_crops": "dense",
    "rank_peak": "spectrum",
    "separability": "gap",
    "sigma_delta": "augmentation",
    "similarities": "cosines",
    "singular_values": "spectrum",
    "stable_rank": "spectrum",
    "sufficiency_gap": "sufficiency",
    "sup_norm_slope": "generalisation",
    "temperature_sensitivity": "temperature",
    "token_isotropy": "cosines",
    "tolerance": "geometry",
    "uniformity": "geometry",
    "weat": "association",
    "word_overlap": "surface",
}


def __getattr__(name: str) -> Any:
    if name in HOMES:
        found = globals()[name] = getattr(importlib.import_module(f"dipole.diagnostics.{HOMES[name]}"), name)
        return found
    raise AttributeError(f"module 'dipole.diagnostics' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *HOMES])
