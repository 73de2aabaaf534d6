"""The HTTP door: routes parse, call one verb, and answer."""
