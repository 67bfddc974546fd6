"""networking.k8s.io/v1, in the notation of `tables.py`.

Field numbers and names as published: k8s.io/api/networking/v1/generated.proto, Kubernetes 1.33.
"""

TABLE = """
ServiceCIDR: 1 metadata meta.ObjectMeta, 2 spec ServiceCIDRSpec, 3 status ServiceCIDRStatus
ServiceCIDRSpec: 1 cidrs [str]
ServiceCIDRStatus: 1 conditions [meta.Condition]
"""
