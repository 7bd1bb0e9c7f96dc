"""Which addresses may be called when they were entered on the page: a policy, no network.

Whoever can open the page must not be able to make this machine call its cloud's metadata service,
its own servers, or anything that is not HTTP. Loopback and private networks are allowed: that is
where Ollama and a colleague's vLLM live.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from bot.errors import AddressRefused

_CURE = "Enter the http or https address of a model server, such as http://127.0.0.1:11434/v1."

_METADATA_NAMES = {
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
}
_REFUSED_NETWORKS = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "169.254.0.0/16",  # link-local: AWS, Azure, Google and others answer at 169.254.169.254
        "100.100.100.200/32",  # Alibaba's metadata service
        "168.63.129.16/32",  # Azure's host agent
        "192.0.0.192/32",  # Oracle's metadata service
        "224.0.0.0/4",
        "255.255.255.255/32",
        "::/128",
        "fe80::/10",
        "fd00:ec2::254/128",  # AWS
        "fd20:ce::254/128",  # Google
        "ff00::/8",
    )
)
_NAT64 = ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What may be called at an address that a visitor entered.

    Args:
        own_ports: loopback ports of this program: its page and its child servers.
    """

    own_ports: frozenset[int] = frozenset()

    def check_url(self, url: str) -> None:
        """Refuse a URL that is wrong before any name of it is looked up.

        Raises:
            AddressRefused: its scheme, its form or its host is not allowed.
        """
        if any(sign <= " " or sign in '\\"<>`{}|^' or not sign.isprintable() for sign in url):
            raise AddressRefused("The address has signs that no address has.", cure=_CURE)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise AddressRefused("This is not an address.", cure=_CURE) from error
        if parts.scheme not in ("http", "https"):
            raise AddressRefused(
                f"An address that begins with “{parts.scheme[:20]}:” is not called."
                if parts.scheme
                else "The address does not begin with http:// or https://.",
                cure=_CURE,
            )
        if not host:
            raise AddressRefused("The address names no server.", cure=_CURE)
        if "@" in parts.netloc:
            raise AddressRefused(
                "The address carries a name or a password.",
                cure="Leave them out; keys stand in the environment.",
            )
        if host.rstrip(".").lower() in _METADATA_NAMES:
            raise AddressRefused(f"{host} is a metadata service of a cloud.", cure=_CURE)
        try:
            address = ip_address(host)
        except ValueError:
            return  # a name: what it stands for is checked when it is connected to
        self.check_address(str(address), port or (443 if parts.scheme == "https" else 80))

    def check_address(self, address: str, port: int) -> None:
        """Refuse an IP address, and a port of this program on it.

        Raises:
            AddressRefused: it is not allowed.
        """
        meant = _meant(ip_address(address.partition("%")[0]))
        if any(
            meant in network for network in _REFUSED_NETWORKS if network.version == meant.version
        ):
            raise AddressRefused(
                f"{meant} is an address for machines to talk about themselves, not of a model.",
                cure=_CURE,
            )
        if meant.is_loopback and port in self.own_ports:
            raise AddressRefused(
                f"Port {port} of this machine belongs to Triptych itself.",
                cure="Enter the address of another model server.",
            )


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for, else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    tunnelled = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or tunnelled or address
