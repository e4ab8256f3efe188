"""Clusters."""

from toolbox.lab.ecs.actions.paging import page
from toolbox.lab.ecs.containers import pairs
from toolbox.lab.ecs.core import Core
from toolbox.lab.ecs.describe import cluster_answer
from toolbox.lab.ecs.state import Cluster, Document


def create_cluster(core: Core, request: Document, principal: str) -> Document:
    """CreateCluster; an existing one is answered as it is."""
    name = request.get("clusterName", "default")
    cluster = core.state.clusters.get(name)
    if cluster is None:
        tags = pairs(request.get("tags", []), "key")
        settings = {key: value for key, value in request.items() if key not in ("clusterName", "tags")}
        cluster = Cluster(name, core.state.arn(f"cluster/{name}"), settings, tags)
        core.state.clusters[name] = cluster
    return {"cluster": cluster_answer(cluster, tags=True)}


def update_cluster(core: Core, request: Document, principal: str) -> Document:
    """UpdateCluster: what is given replaces what was."""
    cluster = core.cluster(request["cluster"])
    cluster.settings |= {key: value for key, value in request.items() if key != "cluster"}
    return {"cluster": cluster_answer(cluster, tags=True)}


def describe_clusters(core: Core, request: Document, principal: str) -> Document:
    """DescribeClusters; unknown ones are failures."""
    found, failures = [], []
    for reference in request.get("clusters") or ["default"]:
        cluster = core.state.clusters.get(reference.rpartition("/")[2])
        if cluster is None:
            arn = reference if reference.startswith("arn:") else core.state.arn(f"cluster/{reference}")
            failures.append({"arn": arn, "reason": "MISSING"})
        else:
            found.append(cluster_answer(cluster, tags="TAGS" in request.get("include", [])))
    return {"clusters": found, "failures": failures}


def list_clusters(core: Core, request: Document, principal: str) -> Document:
    """ListClusters."""
    return page([cluster.arn for cluster in core.state.clusters.values()], request, "clusterArns")
