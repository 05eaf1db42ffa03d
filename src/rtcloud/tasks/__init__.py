"""Long-running work asked for by the API: lifecycle, the work queue, and the processes that do it."""
