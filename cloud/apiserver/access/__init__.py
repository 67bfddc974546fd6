"""Who may do what on the embedded API server: RBAC, service accounts' tokens, reviews.

Open first: `policy.py` (pure: does a rule allow this?), then `authorizer.py` (which asks it),
`tokens.py` and `accounts.py` (service accounts), `reviews.py` (answers to those who ask).
"""
