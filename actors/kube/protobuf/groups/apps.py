"""apps/v1, in the notation of `tables.py`.

Field numbers and names as published: k8s.io/api/apps/v1/generated.proto, Kubernetes 1.33.
"""

TABLE = """
DaemonSet: 1 metadata meta.ObjectMeta, 2 spec DaemonSetSpec, 3 status DaemonSetStatus
DaemonSetCondition: 1 type str!, 2 status str!, 3 lastTransitionTime meta.Time, 4 reason str,
  5 message str
DaemonSetSpec: 1 selector meta.LabelSelector, 2 template core.PodTemplateSpec,
  3 updateStrategy DaemonSetUpdateStrategy, 4 minReadySeconds int32, 6 revisionHistoryLimit int32!
DaemonSetStatus: 1 currentNumberScheduled int32!, 2 numberMisscheduled int32!,
  3 desiredNumberScheduled int32!, 4 numberReady int32!, 5 observedGeneration int64,
  6 updatedNumberScheduled int32, 7 numberAvailable int32, 8 numberUnavailable int32,
  9 collisionCount int32!, 10 conditions [DaemonSetCondition]
DaemonSetUpdateStrategy: 1 type str, 2 rollingUpdate RollingUpdateDaemonSet
Deployment: 1 metadata meta.ObjectMeta, 2 spec DeploymentSpec, 3 status DeploymentStatus
DeploymentCondition: 1 type str!, 2 status str!, 4 reason str, 5 message str,
  6 lastUpdateTime meta.Time, 7 lastTransitionTime meta.Time
DeploymentSpec: 1 replicas int32!, 2 selector meta.LabelSelector, 3 template core.PodTemplateSpec,
  4 strategy DeploymentStrategy, 5 minReadySeconds int32, 6 revisionHistoryLimit int32!,
  7 paused bool, 9 progressDeadlineSeconds int32!
DeploymentStatus: 1 observedGeneration int64, 2 replicas int32, 3 updatedReplicas int32,
  4 availableReplicas int32, 5 unavailableReplicas int32, 6 conditions [DeploymentCondition],
  7 readyReplicas int32, 8 collisionCount int32!, 9 terminatingReplicas int32!
DeploymentStrategy: 1 type str, 2 rollingUpdate RollingUpdateDeployment
ReplicaSet: 1 metadata meta.ObjectMeta, 2 spec ReplicaSetSpec, 3 status ReplicaSetStatus
ReplicaSetCondition: 1 type str!, 2 status str!, 3 lastTransitionTime meta.Time, 4 reason str,
  5 message str
ReplicaSetSpec: 1 replicas int32!, 2 selector meta.LabelSelector, 3 template core.PodTemplateSpec,
  4 minReadySeconds int32
ReplicaSetStatus: 1 replicas int32!, 2 fullyLabeledReplicas int32, 3 observedGeneration int64,
  4 readyReplicas int32, 5 availableReplicas int32, 6 conditions [ReplicaSetCondition],
  7 terminatingReplicas int32!
RollingUpdateDaemonSet: 1 maxUnavailable meta.IntOrString, 2 maxSurge meta.IntOrString
RollingUpdateDeployment: 1 maxUnavailable meta.IntOrString, 2 maxSurge meta.IntOrString
RollingUpdateStatefulSetStrategy: 1 partition int32!, 2 maxUnavailable meta.IntOrString
StatefulSet: 1 metadata meta.ObjectMeta, 2 spec StatefulSetSpec, 3 status StatefulSetStatus
StatefulSetCondition: 1 type str!, 2 status str!, 3 lastTransitionTime meta.Time, 4 reason str,
  5 message str
StatefulSetOrdinals: 1 start int32!
StatefulSetPersistentVolumeClaimRetentionPolicy: 1 whenDeleted str, 2 whenScaled str
StatefulSetSpec: 1 replicas int32!, 2 selector meta.LabelSelector, 3 template core.PodTemplateSpec,
  4 volumeClaimTemplates [core.PersistentVolumeClaim], 5 serviceName str!,
  6 podManagementPolicy str, 7 updateStrategy StatefulSetUpdateStrategy,
  8 revisionHistoryLimit int32!, 9 minReadySeconds int32,
  10 persistentVolumeClaimRetentionPolicy StatefulSetPersistentVolumeClaimRetentionPolicy,
  11 ordinals StatefulSetOrdinals
StatefulSetStatus: 1 observedGeneration int64, 2 replicas int32!, 3 readyReplicas int32,
  4 currentReplicas int32, 5 updatedReplicas int32, 6 currentRevision str, 7 updateRevision str,
  9 collisionCount int32!, 10 conditions [StatefulSetCondition], 11 availableReplicas int32!
StatefulSetUpdateStrategy: 1 type str, 2 rollingUpdate RollingUpdateStatefulSetStrategy
"""
