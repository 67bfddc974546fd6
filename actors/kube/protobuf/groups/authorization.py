"""authorization.k8s.io/v1, in the notation of `tables.py`.

Field numbers and names as published: k8s.io/api/authorization/v1/generated.proto, Kubernetes 1.35.
"""

TABLE = """
ExtraValue: 1 items [str]
FieldSelectorAttributes: 1 rawSelector str, 2 requirements [meta.FieldSelectorRequirement]
LabelSelectorAttributes: 1 rawSelector str, 2 requirements [meta.LabelSelectorRequirement]
LocalSubjectAccessReview: 1 metadata meta.ObjectMeta, 2 spec SubjectAccessReviewSpec,
  3 status SubjectAccessReviewStatus
NonResourceAttributes: 1 path str, 2 verb str
NonResourceRule: 1 verbs [str], 2 nonResourceURLs [str]
ResourceAttributes: 1 namespace str, 2 verb str, 3 group str, 4 version str, 5 resource str,
  6 subresource str, 7 name str, 8 fieldSelector FieldSelectorAttributes,
  9 labelSelector LabelSelectorAttributes
ResourceRule: 1 verbs [str], 2 apiGroups [str], 3 resources [str], 4 resourceNames [str]
SelfSubjectAccessReview: 1 metadata meta.ObjectMeta, 2 spec SelfSubjectAccessReviewSpec,
  3 status SubjectAccessReviewStatus
SelfSubjectAccessReviewSpec: 1 resourceAttributes ResourceAttributes,
  2 nonResourceAttributes NonResourceAttributes
SelfSubjectRulesReview: 1 metadata meta.ObjectMeta, 2 spec SelfSubjectRulesReviewSpec,
  3 status SubjectRulesReviewStatus
SelfSubjectRulesReviewSpec: 1 namespace str
SubjectAccessReview: 1 metadata meta.ObjectMeta, 2 spec SubjectAccessReviewSpec,
  3 status SubjectAccessReviewStatus
SubjectAccessReviewSpec: 1 resourceAttributes ResourceAttributes,
  2 nonResourceAttributes NonResourceAttributes, 3 user str, 4 groups [str], 5 extra {ExtraValue},
  6 uid str
SubjectAccessReviewStatus: 1 allowed bool!, 2 reason str, 3 evaluationError str, 4 denied bool
SubjectRulesReviewStatus: 1 resourceRules [ResourceRule], 2 nonResourceRules [NonResourceRule],
  3 incomplete bool!, 4 evaluationError str
"""
