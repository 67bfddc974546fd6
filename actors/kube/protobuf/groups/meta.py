"""What all groups share, in the notation of `tables.py`. `Unknown` is the envelope.

Field numbers and names as published: k8s.io/apimachinery, Kubernetes 1.33, generated.proto of
pkg/apis/meta/v1, pkg/api/resource, pkg/util/intstr and pkg/runtime.
"""

TABLE = """
Condition: 1 type str!, 2 status str!, 3 observedGeneration int64, 4 lastTransitionTime Time,
  5 reason str!, 6 message str!
DeleteOptions: 1 gracePeriodSeconds int64!, 2 preconditions Preconditions,
  3 orphanDependents bool!, 4 propagationPolicy str!, 5 dryRun [str],
  6 ignoreStoreReadErrorWithClusterBreakingPotential bool!
FieldSelectorRequirement: 1 key str!, 2 operator str!, 3 values [str]
FieldsV1: 1 Raw raw
IntOrString: 1 type int32, 2 intVal int32, 3 strVal str
LabelSelector: 1 matchLabels {str}, 2 matchExpressions [LabelSelectorRequirement]
LabelSelectorRequirement: 1 key str!, 2 operator str!, 3 values [str]
ListMeta: 1 selfLink str, 2 resourceVersion str, 3 continue str, 4 remainingItemCount int64!
ManagedFieldsEntry: 1 manager str, 2 operation str, 3 apiVersion str, 4 time Time,
  6 fieldsType str, 7 fieldsV1 FieldsV1, 8 subresource str
MicroTime: 1 seconds int64!, 2 nanos int32!
ObjectMeta: 1 name str, 2 generateName str, 3 namespace str, 4 selfLink str, 5 uid str,
  6 resourceVersion str, 7 generation int64, 8 creationTimestamp Time, 9 deletionTimestamp Time,
  10 deletionGracePeriodSeconds int64!, 11 labels {str}, 12 annotations {str},
  13 ownerReferences [OwnerReference], 14 finalizers [str], 17 managedFields [ManagedFieldsEntry]
OwnerReference: 1 kind str!, 3 name str!, 4 uid str!, 5 apiVersion str!, 6 controller bool!,
  7 blockOwnerDeletion bool!
Preconditions: 1 uid str!, 2 resourceVersion str!
Quantity: 1 string str
Status: 1 metadata ListMeta, 2 status str, 3 message str, 4 reason str, 5 details StatusDetails,
  6 code int32
StatusCause: 1 reason str, 2 message str, 3 field str
StatusDetails: 1 name str, 2 group str, 3 kind str, 4 causes [StatusCause],
  5 retryAfterSeconds int32, 6 uid str
Time: 1 seconds int64!, 2 nanos int32!
TypeMeta: 1 apiVersion str, 2 kind str
Unknown: 1 typeMeta TypeMeta, 2 raw raw!, 3 contentEncoding str, 4 contentType str
"""
