"""rbac.authorization.k8s.io/v1, in the notation of `tables.py`.

Field numbers and names as published: k8s.io/api/rbac/v1/generated.proto, Kubernetes 1.35.
"""

TABLE = """
AggregationRule: 1 clusterRoleSelectors [meta.LabelSelector]
ClusterRole: 1 metadata meta.ObjectMeta, 2 rules [PolicyRule], 3 aggregationRule AggregationRule
ClusterRoleBinding: 1 metadata meta.ObjectMeta, 2 subjects [Subject], 3 roleRef RoleRef
PolicyRule: 1 verbs [str], 2 apiGroups [str], 3 resources [str], 4 resourceNames [str],
  5 nonResourceURLs [str]
Role: 1 metadata meta.ObjectMeta, 2 rules [PolicyRule]
RoleBinding: 1 metadata meta.ObjectMeta, 2 subjects [Subject], 3 roleRef RoleRef
RoleRef: 1 apiGroup str!, 2 kind str!, 3 name str!
Subject: 1 kind str!, 2 apiGroup str, 3 name str!, 4 namespace str
"""
