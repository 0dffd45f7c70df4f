from __future__ import annotations

import pytest

from cni_provision.cni.types import DNS, CNIError


def test_an_error_reads_like_its_message_and_details() -> None:
    assert str(CNIError(7, "bad config")) == "bad config"
    assert str(CNIError(7, "bad config", "key x")) == "bad config; key x"


@pytest.mark.parametrize("dns", [DNS(("1.1.1.1",)), DNS(domain="d"), DNS(search=("s",)), DNS(options=("o",))])
def test_dns_is_true_when_it_says_something(dns: DNS) -> None:
    assert dns
    assert not DNS()
