"""The API's actions: one module per group, one short function per action. They know nothing of HTTP."""
