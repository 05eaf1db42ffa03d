import pytest

from rtcloud.accounts.entities import AccountSettings
from rtcloud.accounts.networks import may_call
from rtcloud.errors import ServiceError

ALLOWED, DENIED, BOTH = (
    AccountSettings(allowed_networks=("192.0.2.0/24", "2001:db8::/32")),
    AccountSettings(denied_networks=("192.0.2.0/24", "2001:db8::/32")),
    AccountSettings(allowed_networks=("192.0.2.0/24",), denied_networks=("192.0.2.7",)),
)


@pytest.mark.parametrize(
    ("settings", "address", "code"),
    [
        (AccountSettings(), "203.0.113.1", None),
        (AccountSettings(), "", None),
        (ALLOWED, "192.0.2.255", None),
        (ALLOWED, "2001:db8::1", None),
        (ALLOWED, "2001:db8::1%eth0", None),
        (ALLOWED, "::ffff:192.0.2.1", None),
        (ALLOWED, "192.0.3.0", "IpNotInWhitelist"),
        (ALLOWED, "2001:db9::", "IpNotInWhitelist"),
        (ALLOWED, "", "IpNotInWhitelist"),
        (ALLOWED, "testclient", "IpNotInWhitelist"),
        (DENIED, "192.0.2.1", "IpInBlacklist"),
        (DENIED, "::ffff:192.0.2.1", "IpInBlacklist"),
        (DENIED, "2001:db8::1", "IpInBlacklist"),
        (DENIED, "203.0.113.1", None),
        (DENIED, "", None),
        (BOTH, "192.0.2.7", "IpInBlacklist"),
        (BOTH, "192.0.2.8", None),
        (BOTH, "203.0.113.1", "IpNotInWhitelist"),
    ],
)
def test_from_where_an_account_may_be_used(settings: AccountSettings, address: str, code: str | None) -> None:
    if code is None:
        may_call(settings, address)
        return
    with pytest.raises(ServiceError) as caught:
        may_call(settings, address)
    assert caught.value.code == code
