"""From the bytes of a request to parameters as JSON has them. Pure; memory is bounded by the request's size."""
