"""The service as its own OpenAPI document describes it, fuzzed by Schemathesis as everybody who may come in or not."""
