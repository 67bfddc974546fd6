"""node.k8s.io/v1, in the notation of `tables.py`.

Field numbers and names as published: k8s.io/api/node/v1/generated.proto, Kubernetes 1.33.
"""

TABLE = """
Overhead: 1 podFixed {meta.Quantity}
RuntimeClass: 1 metadata meta.ObjectMeta, 2 handler str!, 3 overhead Overhead,
  4 scheduling Scheduling
Scheduling: 1 nodeSelector {str}, 2 tolerations [core.Toleration]
"""
