"""The API as data: actions, shapes and error codes of ``spec/``, and the validation made from them. Pure."""
