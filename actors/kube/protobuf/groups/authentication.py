"""authentication.k8s.io/v1, in the notation of `tables.py`.

Field numbers and names as published: k8s.io/api/authentication/v1/generated.proto, Kubernetes 1.35.
"""

TABLE = """
BoundObjectReference: 1 kind str, 2 apiVersion str, 3 name str, 4 uid str
ExtraValue: 1 items [str]
SelfSubjectReview: 1 metadata meta.ObjectMeta, 2 status SelfSubjectReviewStatus
SelfSubjectReviewStatus: 1 userInfo UserInfo
TokenRequest: 1 metadata meta.ObjectMeta, 2 spec TokenRequestSpec, 3 status TokenRequestStatus
TokenRequestSpec: 1 audiences [str], 3 boundObjectRef BoundObjectReference,
  4 expirationSeconds int64!
TokenRequestStatus: 1 token str!, 2 expirationTimestamp meta.Time
TokenReview: 1 metadata meta.ObjectMeta, 2 spec TokenReviewSpec, 3 status TokenReviewStatus
TokenReviewSpec: 1 token str, 2 audiences [str]
TokenReviewStatus: 1 authenticated bool, 2 user UserInfo, 3 error str, 4 audiences [str]
UserInfo: 1 username str, 2 uid str, 3 groups [str], 4 extra {ExtraValue}
"""
