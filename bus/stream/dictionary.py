"""What most small frames are made of: both ends compress them against it.

Names of headers, of members and values as Kubernetes' clients and servers write them. Changing it
is a change of the protocol: a frame that was made with another one cannot be read (it is noticed).
"""

from __future__ import annotations

DICTIONARY = (
    b"X-Kubernetes-Pf-Flowschema-Uid X-Kubernetes-Pf-Prioritylevel-Uid Audit-Id Retry-After 1 "
    b"Kubectl-Command kubectl Kubectl-Session Mozilla/5.0 Atoll-Brief 1 Atoll-Mirror Impersona"
    b"te-User system:node:system:nodes system:kube-proxy system:serviceaccount:kube-system:cor"
    b"edns strict fieldManager=kubectl-client-side-apply&fieldValidation=Strict&force=false la"
    b"belSelector=%21service.kubernetes.io%2Fheadless&fieldSelector=metadata.name%3Dspec.nodeN"
    b"ame%3DallowWatchBookmarks=true&resourceVersion=0&resourceVersionMatch=NotOlderThan&sendI"
    b"nitialEvents=true&timeout=7m53s&timeoutSeconds=473&watch=true&limit=500 /apis/apps/v1/na"
    b"mespaces/default/deployments/ /apis/discovery.k8s.io/v1/endpointslices /apis/storage.k8s"
    b".io/v1/csinodes/ /apis/node.k8s.io/v1/runtimeclasses /apis/events.k8s.io/v1/namespaces/d"
    b"efault/events /api/v1/namespaces/kube-system/pods/ /api/v1/namespaces/default/serviceacc"
    b"ounts/default/token /api/v1/namespaces/default/configmaps/ /api/v1/namespaces/default/se"
    b"crets/ /api/v1/namespaces/default/events /api/v1/nodes/node-1/status?timeout=10s /api/v1"
    b'/namespaces/default/pods/app-0/status {"kind":"Status","apiVersion":"v1","metadata":{},"'
    b'status":"Failure","message":"not found","reason":"NotFound","details":{"name":"","kind":'
    b'"pods"},"code":404}{"kind":"Event","apiVersion":"v1","metadata":{"name":"app","namespace'
    b'":"default","creationTimestamp":null},"involvedObject":{"kind":"Pod","namespace":"defaul'
    b't","name":"app","uid":"","apiVersion":"v1","resourceVersion":"","fieldPath":"spec.contai'
    b'ners{app}"},"reason":"Pulled","message":"Successfully pulled image in 1.2s","source":{"c'
    b'omponent":"kubelet","host":"node-1"},"firstTimestamp":"2026-01-01T00:00:00Z","lastTimest'
    b'amp":"2026-01-01T00:00:00Z","count":1,"type":"Normal","eventTime":null,"reportingCompone'
    b'nt":"kubelet","reportingInstance":"node-1"}{"status":{"$setElementOrder/conditions":[{"t'
    b'ype":"MemoryPressure"},{"type":"DiskPressure"},{"type":"PIDPressure"},{"type":"Ready"}],'
    b'"conditions":[{"lastHeartbeatTime":"2026-01-01T00:00:00Z","lastTransitionTime":"2026-01-'
    b'01T00:00:00Z","type":"Initialized","status":"True"},{"type":"PodReadyToStartContainers"}'
    b',{"type":"ContainersReady"},{"type":"PodScheduled","reason":"KubeletReady","message":"ku'
    b'belet is posting ready status"}],"phase":"Running","podIP":"10.0.0.1","podIPs":[{"ip":"1'
    b'0.0.0.1"}],"hostIP":"","startTime":"","containerStatuses":[{"name":"app","ready":true,"r'
    b'estartCount":0,"image":"","imageID":"sha256:","containerID":"containerd://","started":tr'
    b'ue,"state":{"running":{"startedAt":""}},"lastState":{}}]}}Accept-Encoding identity gzip '
    b"Connection keep-alive Date Wed, 01 Jan 2026 00:00:00 GMT Server Python/3.11 aiohttp/3 X-"
    b"Content-Type-Options nosniff Vary Accept ETag Warning 299 Content-Length Transfer-Encodi"
    b"ng chunked Content-Type application/apply-patch+yaml application/json-patch+json applica"
    b"tion/merge-patch+json application/strategic-merge-patch+json application/vnd.kubernetes."
    b"protobuf;stream=watch Cache-Control no-cache, private Host 127.0.0.1:10261 Atoll-Coding "
    b"zstd Atoll-Body-Coding zstd User-Agent kube-proxy/v1.36.2 (linux/amd64) kubernetes/98b35"
    b"19 User-Agent kubelet/v1.36.2 (linux/amd64) kubernetes/98b3519 Accept application/vnd.ku"
    b'bernetes.protobuf,application/json, */* PATCH POST DELETE GET PUT {"kind":"Lease","apiVe'
    b'rsion":"coordination.k8s.io/v1","metadata":{"name":"node-1","namespace":"kube-node-lease'
    b'","uid":"","resourceVersion":"1","creationTimestamp":"2026-01-01T00:00:00Z","ownerRefere'
    b'nces":[{"apiVersion":"v1","kind":"Node","name":"node-1","uid":""}],"managedFields":[{"ma'
    b'nager":"kubelet","operation":"Update","apiVersion":"coordination.k8s.io/v1","time":"2026'
    b'-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:ownerReferences":'
    b'{".":{},"k:{\\"uid\\":\\"\\"}":{}}},"f:spec":{"f:holderIdentity":{},"f:leaseDurationSecond'
    b's":{},"f:renewTime":{}}}}]},"spec":{"holderIdentity":"node-1","leaseDurationSeconds":40,'
    b'"renewTime":"2026-01-01T00:00:00.000000Z"}}/apis/coordination.k8s.io/v1/namespaces/kube-'
    b"node-lease/leases/node-1?timeout=10sContent-Type application/json open head data accept"
)
