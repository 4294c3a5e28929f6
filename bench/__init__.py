"""The benchmarks of Rhapsode: ratios and limits, from one run on one machine."""
