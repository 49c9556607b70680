"""Reads a scrape on stdin with Prometheus' own Python parser, and prints its samples: name, labels, value, type of the family."""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

samples = []
for family in text_string_to_metric_families(sys.stdin.read()):
    if not family.documentation:
        sys.exit(f"{family.name} has no help")
    samples += [[one.name, one.labels, one.value, family.type] for one in family.samples]
json.dump(samples, sys.stdout)
