"""A Ray cluster of two CPUs on this machine; prints its address and ends when its standard input does."""

import sys

if __name__ == "__main__":
    from ray.cluster_utils import Cluster

    settings = {"num_cpus": 2, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=settings)
    print(cluster.address, flush=True)
    sys.stdin.read()
    cluster.shutdown()
