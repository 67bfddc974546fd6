"""events.k8s.io/v1, in the notation of `tables.py`.

Field numbers and names as published: k8s.io/api/events/v1/generated.proto, Kubernetes 1.33.
"""

TABLE = """
Event: 1 metadata meta.ObjectMeta, 2 eventTime meta.MicroTime, 3 series EventSeries,
  4 reportingController str, 5 reportingInstance str, 6 action str, 7 reason str,
  8 regarding core.ObjectReference, 9 related core.ObjectReference, 10 note str, 11 type str,
  12 deprecatedSource core.EventSource, 13 deprecatedFirstTimestamp meta.Time,
  14 deprecatedLastTimestamp meta.Time, 15 deprecatedCount int32
EventSeries: 1 count int32!, 2 lastObservedTime meta.MicroTime
"""
