"""What is in `third_party` is a package of its own: it is tested where it is installed."""

collect_ignore = ["third_party"]
