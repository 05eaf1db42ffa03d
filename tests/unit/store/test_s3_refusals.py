"""What a refusal of an S3 server is told as."""

import pytest

from rtcloud.store.s3 import explain

HEAD = "Generic S3 error: Error performing PUT https://s3.example/b/k in 3ms - "
DEBUG = "\n\nDebug source:\nGeneric {\n <Code>NotThis</Code> }"


def answered(status: str, body: str) -> str:
    return f"{HEAD}Server returned non-2xx status code: {status}: {body}{DEBUG}"


XML = '<?xml version="1.0"?>\n<Error><Code>{}</Code><Message>{}</Message><AWSAccessKeyId>AKID</AWSAccessKeyId></Error>'


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (
            answered("403 Forbidden", XML.format("AccessDenied", "No &lt;way&gt;\n here")),
            "AccessDenied",
            "No <way> here",
        ),
        (answered("404 Not Found", "<Error><Code>NoSuchBucket</Code></Error>"), "NoSuchBucket", "NoSuchBucket"),
        (answered("503 Service Unavailable", "busy"), "Http503", "the store answered 503 Service Unavailable"),
        (answered("307 Temporary Redirect", ""), "Http307", "the store answered 307 Temporary Redirect"),
        (
            f"{HEAD}HTTP error: error sending request{DEBUG}",
            "Unreachable",
            "there is no connection to the store, or it broke",
        ),
        (
            f"{HEAD}HTTP error: error sending request\n\nDebug source:\n TimedOut",
            "RequestTimeout",
            "the store did not answer in time",
        ),
        (
            f"{HEAD}HTTP error: error sending request\n\nDebug source:\n error: InvalidCertificate(\n UnknownIssuer",
            "CertificateRefused",
            "the store's certificate is not one to trust for its address",
        ),
        (
            f"{HEAD}HTTP error: error sending request\n\nDebug source:\n InvalidMessage(\n InvalidContentType",
            "Unreachable",
            "there is no TLS at the store's address",
        ),
        ("something else\nmore", "Generic", "something else"),
    ],
)
def test_the_stores_own_code_and_words_are_told(text: str, code: str, message: str) -> None:
    assert explain("GenericError", text) == (code, message)


def test_what_is_told_is_bounded() -> None:
    code, message = explain("GenericError", answered("400 Bad Request", XML.format("C" * 100, "m" * 10_000)))
    assert len(code) <= 100
    assert len(message) <= 500
