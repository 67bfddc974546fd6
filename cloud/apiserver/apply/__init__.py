"""Server-side apply and `metadata.managedFields`: who owns which field of an object. Pure.

Open first: `fieldsets.py` (sets of fields), then `structure.py` (how a schema says that lists and
maps merge), `typed.py` (what is merged, compared, removed), `ownership.py` (the rules), and
`config.py` (what a client may apply). `writer.py` joins it to the requests.

Source: KEP 555 and sigs.k8s.io/structured-merge-diff.
"""
