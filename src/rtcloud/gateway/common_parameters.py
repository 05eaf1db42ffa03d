"""The documents' common parameters: in headers for TC3, among the others for v1. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rtcloud.apimodel.model import Action
from rtcloud.errors import ServiceError
from rtcloud.gateway.decoding.fields import Field

#: Of v1, in the documents' order; the others are optional.
REQUIRED = ("Action", "Timestamp", "Nonce", "SecretId", "Signature", "Version")
NAMES = frozenset((*REQUIRED, "Region", "SignatureMethod", "Token", "Language", "RequestClient"))
_NONCE = re.compile(r"\d{1,20}", re.ASCII)


@dataclass(frozen=True, slots=True)
class CommonParameters:
    """What says which action is meant. ``prefix``: how this request spells their names."""

    prefix: str
    action: str
    version: str
    region: str

    def missing(self, name: str) -> ServiceError:
        return ServiceError("MissingParameter", f"{self.prefix}{name} is required")


def of_headers(headers: Mapping[str, str]) -> CommonParameters:
    return CommonParameters(
        "X-TC-", headers.get("x-tc-action", ""), headers.get("x-tc-version", ""), headers.get("x-tc-region", "")
    )


def of_fields(fields: Mapping[str, Field]) -> CommonParameters:
    """All that v1 requires are there, and the nonce is a number (the Node SDK draws from 0 on)."""
    for name in REQUIRED:
        if not text_of(fields, name):
            raise ServiceError("MissingParameter", f"{name} is required")
    if _NONCE.fullmatch(fields["Nonce"].text) is None:
        raise ServiceError("InvalidParameterValue", "Nonce must be a positive integer")
    return CommonParameters("", fields["Action"].text, fields["Version"].text, text_of(fields, "Region"))


def text_of(fields: Mapping[str, Field], name: str) -> str:
    field = fields.get(name)
    return field.text if field is not None else ""


def without_common(fields: Mapping[str, Field], action: Action) -> Iterable[Field]:
    """The action's own parameters; one may have the name of a common one (TextToSpeech's Language)."""
    return [field for name, field in fields.items() if name not in NAMES or name in action.input]
