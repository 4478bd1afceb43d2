from __future__ import annotations

import pytest

from core.errdefs import InvalidArgument
from cri.container.spec.classes import BLOCKIO, RDT, class_of
from rig.specs import V1, facts, source, spec

PODS = {"rdt.resources.beta.kubernetes.io/pod": "pod", "rdt.resources.beta.kubernetes.io/container.app": "app"}


def test_the_nearest_annotation_names_the_class() -> None:
    assert class_of(source(), RDT) == ""
    assert class_of(source(pod={"annotations": {**PODS}}), RDT) == "app"
    assert class_of(source({"metadata": {"name": "other"}}, pod={"annotations": PODS}), RDT) == "pod"
    own = {"annotations": {"io.kubernetes.cri.rdt-class": "own"}}
    assert class_of(source(own, pod={"annotations": PODS}), RDT) == "own"
    assert class_of(source(own), BLOCKIO) == ""


@pytest.mark.parametrize("kind", ["rdt", "blockio"])
def test_a_class_that_the_node_has_not_is_refused(kind: str) -> None:
    pod = {"annotations": {f"{kind}.resources.beta.kubernetes.io/pod": "gold"}}
    with pytest.raises(InvalidArgument, match="class 'gold'"):
        spec(source(pod=pod, facts=facts(V1)))
