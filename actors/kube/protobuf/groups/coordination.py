"""coordination.k8s.io/v1, in the notation of `tables.py`.

Field numbers and names as published: k8s.io/api/coordination/v1/generated.proto, Kubernetes 1.33.
"""

TABLE = """
Lease: 1 metadata meta.ObjectMeta, 2 spec LeaseSpec
LeaseSpec: 1 holderIdentity str!, 2 leaseDurationSeconds int32!, 3 acquireTime meta.MicroTime,
  4 renewTime meta.MicroTime, 5 leaseTransitions int32!, 6 strategy str!, 7 preferredHolder str!
"""
