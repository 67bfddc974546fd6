"""batch/v1, in the notation of `tables.py`.

Field numbers and names as published: k8s.io/api/batch/v1/generated.proto, Kubernetes 1.33.
"""

TABLE = """
Job: 1 metadata meta.ObjectMeta, 2 spec JobSpec, 3 status JobStatus
JobCondition: 1 type str!, 2 status str!, 3 lastProbeTime meta.Time,
  4 lastTransitionTime meta.Time, 5 reason str, 6 message str
JobSpec: 1 parallelism int32!, 2 completions int32!, 3 activeDeadlineSeconds int64!,
  4 selector meta.LabelSelector, 5 manualSelector bool!, 6 template core.PodTemplateSpec,
  7 backoffLimit int32!, 8 ttlSecondsAfterFinished int32!, 9 completionMode str!, 10 suspend bool!,
  11 podFailurePolicy PodFailurePolicy, 12 backoffLimitPerIndex int32!, 13 maxFailedIndexes int32!,
  14 podReplacementPolicy str!, 15 managedBy str!, 16 successPolicy SuccessPolicy
JobStatus: 1 conditions [JobCondition], 2 startTime meta.Time, 3 completionTime meta.Time,
  4 active int32, 5 succeeded int32, 6 failed int32, 7 completedIndexes str,
  8 uncountedTerminatedPods UncountedTerminatedPods, 9 ready int32!, 10 failedIndexes str!,
  11 terminating int32!
PodFailurePolicy: 1 rules [PodFailurePolicyRule]
PodFailurePolicyOnExitCodesRequirement: 1 containerName str!, 2 operator str!, 3 values [int32]
PodFailurePolicyOnPodConditionsPattern: 1 type str!, 2 status str!
PodFailurePolicyRule: 1 action str!, 2 onExitCodes PodFailurePolicyOnExitCodesRequirement,
  3 onPodConditions [PodFailurePolicyOnPodConditionsPattern]
SuccessPolicy: 1 rules [SuccessPolicyRule]
SuccessPolicyRule: 1 succeededIndexes str!, 2 succeededCount int32!
UncountedTerminatedPods: 1 succeeded [str], 2 failed [str]
"""
