"""Who asks, and may he? Bearer tokens at the hub's ports; rights to what the hub itself answers.

`reviews.py` asks the API server (TokenReview, SubjectAccessReview), as the node; `remembered.py`
holds its answers, bounded and on disk. `port.py` is the TLS listener for pods, `certificates.py`
its certificate.

* TLS port: every request needs a token (401), but for probes. Loopback port: who has a service
  account's token is that account, everybody else is who the site file says.
* The API server's own answers are by the token itself, which is passed on as it came. What is
  answered here (feeds, mirrors, single objects offline, /pods) is reviewed for its user.
* Offline the last known answer holds, also after a restart: a token until its `exp` (one without
  is not let in), a right until somebody can be asked. What was never asked is 503, not 403: nobody
  said no.

A pod needs the hub's address as its API server (the filters `serviceenvupdater` and `masterservice`
give it that) and, as its CA, `hub-ca.crt` of the node's state directory: mount it, or put it into
the ConfigMap that pods trust. Where the site file names a certificate of the cluster's own CA
(`nodes[].secure_tls`), pods' own `ca.crt` will do; its names have to be those by which pods reach
the hub: the address of `nodes[].secure`, or kubernetes.default.svc and its short forms.
"""
