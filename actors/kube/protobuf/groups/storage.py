"""storage.k8s.io/v1, in the notation of `tables.py`.

Field numbers and names as published: k8s.io/api/storage/v1/generated.proto, Kubernetes 1.37.
"""

TABLE = """
CSIDriver: 1 metadata meta.ObjectMeta, 2 spec CSIDriverSpec
CSIDriverSpec: 1 attachRequired bool!, 2 podInfoOnMount bool!, 3 volumeLifecycleModes [str],
  4 storageCapacity bool!, 5 fsGroupPolicy str!, 6 tokenRequests [TokenRequest],
  7 requiresRepublish bool!, 8 seLinuxMount bool!, 9 nodeAllocatableUpdatePeriodSeconds int64!,
  10 serviceAccountTokenInSecrets bool!, 11 preventPodSchedulingIfMissing bool!
CSINode: 1 metadata meta.ObjectMeta, 2 spec CSINodeSpec, 3 status CSINodeStatus
CSINodeDriver: 1 name str!, 2 nodeID str!, 3 topologyKeys [str], 4 allocatable VolumeNodeResources
CSINodeSpec: 1 drivers [CSINodeDriver]
CSINodeStatus: 1 storageHealth [StorageHealth]
StorageHealth: 1 name str!, 2 healthConditions [StorageHealthCondition]
StorageHealthCondition: 1 status str!, 2 reason str!, 3 message str, 4 accessMode str!,
  5 volumeMode str!, 6 lastTransitionTime meta.Time
TokenRequest: 1 audience str!, 2 expirationSeconds int64!
VolumeNodeResources: 1 count int32!
"""
