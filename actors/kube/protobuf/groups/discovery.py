"""discovery.k8s.io/v1, in the notation of `tables.py`.

Field numbers and names as published: k8s.io/api/discovery/v1/generated.proto, Kubernetes 1.33.
"""

TABLE = """
Endpoint: 1 addresses [str], 2 conditions EndpointConditions, 3 hostname str!,
  4 targetRef core.ObjectReference, 5 deprecatedTopology {str}, 6 nodeName str!, 7 zone str!,
  8 hints EndpointHints
EndpointConditions: 1 ready bool!, 2 serving bool!, 3 terminating bool!
EndpointHints: 1 forZones [ForZone], 2 forNodes [ForNode]
EndpointPort: 1 name str!, 2 protocol str!, 3 port int32!, 4 appProtocol str!
EndpointSlice: 1 metadata meta.ObjectMeta, 2 endpoints [Endpoint], 3 ports [EndpointPort],
  4 addressType str!
ForNode: 1 name str!
ForZone: 1 name str!
"""
