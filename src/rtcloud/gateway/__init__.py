"""The cloud API over HTTP: signature, common parameters, validation, limits, envelope."""
